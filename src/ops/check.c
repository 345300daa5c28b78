/* check - one check per op: presence, types, shapes, overlaps, scalars
 *
 * Shapes are written as in the contracts, one word per operand in the order of the op's list of
 * tensors (ORDER OPERANDS): "NC N2 iN" is (N, C), (N, 2) and (N) of i32, "qOI"
 * is (O, I) of a stored type, "cBKSD" (B, K, S, D) of a type of caches.  A letter stands for the
 * same number in all words of a call; "*" is any shape and type.  Relations between letters
 * (Y = O/2) are checked behind it, one line each. */
#include "ops/ops.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { LETTERS = 'Z' - 'A' + 1, MAX_OPERANDS = 16, MAX_WORD = 8 };

typedef struct {
    const ms_device *device;
    ms_op op;
    const void *args;
    ms_error *err;
    int dim[LETTERS]; /* what a letter stands for; 0: not met yet */
} call;

static call call_of(const ms_device *d, ms_op op, const void *args, ms_error *err)
{
    return (call){.device = d, .op = op, .args = args, .err = err};
}

static ms_tensor operand(const call *c, const ms_operand *o)
{
    ms_tensor t;

    memcpy(&t, (const char *)c->args + o->offset, sizeof t);
    return t;
}

static int dim(const call *c, char letter)
{
    return c->dim[letter - 'A'];
}

static ms_status fail(const call *c, ms_status status, const char *format, ...) MS_PRINTF(3, 4);
static ms_status fail(const call *c, ms_status status, const char *format, ...)
{
    char text[sizeof c->err->message];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return ms_fail(c->err, status, "%s: %s", ms_op_name(c->op), text);
}

/* -- presence, types, shapes ----------------------------------------------------------------- */

static bool required(ms_role role)
{
    return role == MS_ROLE_in || role == MS_ROLE_out || role == MS_ROLE_inout;
}

/* "(N, 64)": the known letters of a word as numbers. */
static void expected_text(const call *c, const char *word, char *out, size_t out_bytes)
{
    size_t used = (size_t)snprintf(out, out_bytes, "(");

    for (const char *w = word; *w && used < out_bytes; w++) {
        const char *comma = w[1] ? ", " : "";
        int known = *w >= 'A' ? dim(c, *w) : *w - '0';

        used += (size_t)(known ? snprintf(out + used, out_bytes - used, "%d%s", known, comma)
                               : snprintf(out + used, out_bytes - used, "%c%s", *w, comma));
    }
    if (used < out_bytes) snprintf(out + used, out_bytes - used, ")");
}

/* Binds the letters that are met for the first time; false where a shape contradicts its word. */
static bool unify(call *c, const char *word, ms_tensor t)
{
    if (t.rank != (int)strlen(word) || t.rank > MS_MAX_RANK) return false;
    for (int i = 0; i < t.rank; i++) {
        int *known;

        if (t.dim[i] <= 0) return false;
        if (word[i] < 'A') {
            if (t.dim[i] != word[i] - '0') return false;
            continue;
        }
        known = &c->dim[word[i] - 'A'];
        if (*known == 0) *known = t.dim[i];
        if (*known != t.dim[i]) return false;
    }
    return true;
}

/* Any real type, but of 64 bits only where that is the device's; rows of whole blocks. */
static ms_status check_stored(const call *c, const char *name, ms_tensor t)
{
    bool known = (unsigned)t.dtype < MS_DTYPE_COUNT && ms_dtype_is_real(t.dtype);
    int block;

    if (!known || (t.dtype == MS_F64 && c->device->real != MS_F64))
        return fail(c, MS_INPUT, "%s: cannot be of type %s", name, ms_dtype_name(t.dtype));
    block = ms_dtype_block(t.dtype);
    if (t.dim[t.rank - 1] % block == 0) return MS_OK;
    return fail(c, MS_SHAPE, "%s: rows of %d are no multiple of %s's block of %d", name,
                t.dim[t.rank - 1], ms_dtype_name(t.dtype), block);
}

/* What a cache of keys and values may hold. */
static ms_status check_cached(const call *c, const char *name, ms_tensor t)
{
    if (t.dtype == c->device->real || t.dtype == MS_F16 || t.dtype == MS_BF16 || t.dtype == MS_Q8_0)
        return MS_OK;
    return fail(c, MS_INPUT, "%s: a cache cannot be of type %s", name, ms_dtype_name(t.dtype));
}

static ms_status check_operand(call *c, const ms_operand *o, const char *word)
{
    ms_tensor t = operand(c, o);
    bool any = word[0] == '*', integer = word[0] == 'i', cached = word[0] == 'c';
    bool stored = word[0] == 'q' || cached;
    ms_dtype dtype = integer ? MS_I32 : c->device->real;
    char expected[64], got[64];

    if (!ms_present(t)) {
        if (required(o->role)) return fail(c, MS_INPUT, "%s: missing", o->name);
        return MS_OK;
    }
    if (!t.data) return fail(c, MS_INPUT, "%s: has no memory", o->name);
    if (any) return MS_OK;
    if (stored) {
        MS_TRY(check_stored(c, o->name, t));
        if (cached) MS_TRY(check_cached(c, o->name, t));
        dtype = t.dtype;
    }
    if (t.dtype != dtype)
        return fail(c, MS_INPUT, "%s: expected %s, got %s", o->name, ms_dtype_name(dtype),
                    ms_dtype_name(t.dtype));
    word += integer || stored;
    if (unify(c, word, t)) return MS_OK;
    expected_text(c, word, expected, sizeof expected);
    return fail(c, MS_SHAPE, "%s: expected %s, got %s", o->name, expected, ms_shape_text(t, got));
}

/* words: one per operand, in order. */
static ms_status check_operands(call *c, const char *words)
{
    int count;
    const ms_operand *o = ms_op_operands(c->op, &count);

    for (int i = 0; i < count; i++) {
        char word[MAX_WORD + 1];
        size_t length = strcspn(words, " ");

        MS_ASSERT(length > 0 && length <= MAX_WORD);
        memcpy(word, words, length);
        word[length] = 0;
        MS_TRY(check_operand(c, &o[i], word));
        words += length + (words[length] == ' ');
    }
    MS_ASSERT(*words == 0);
    return MS_OK;
}

/* A dimension that follows from others. */
static ms_status check_dim(const call *c, char letter, const char *name, int64_t expected)
{
    if (dim(c, letter) == 0 || dim(c, letter) == expected) return MS_OK;
    return fail(c, MS_SHAPE, "%s: expected width %lld, got %d", name, (long long)expected,
                dim(c, letter));
}

static ms_status check_divides(const call *c, char whole, char part)
{
    if (dim(c, whole) % dim(c, part) == 0) return MS_OK;
    return fail(c, MS_SHAPE, "%c = %d is not a multiple of %c = %d", whole, dim(c, whole), part,
                dim(c, part));
}

/* -- overlaps -------------------------------------------------------------------------------- */

typedef struct {
    const ms_operand *o;
    uintptr_t first, last; /* bytes [first, last) */
} range;

static bool written(ms_role role)
{
    return role != MS_ROLE_in && role != MS_ROLE_in_opt;
}

/* Whether " a=b " or " b=a " stands in a list such as "r=x r=f y=f". */
static bool listed(const char *aliases, const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);

    for (const char *p = aliases; *p; p += strspn(p, " ")) {
        size_t length = strcspn(p, " ");

        if (length == la + lb + 1) {
            if (!strncmp(p, a, la) && p[la] == '=' && !strncmp(p + la + 1, b, lb)) return true;
            if (!strncmp(p, b, lb) && p[lb] == '=' && !strncmp(p + lb + 1, a, la)) return true;
        }
        p += length;
    }
    return false;
}

/* No two operands share bytes when one of them is written, except the listed aliases, exactly. */
static ms_status check_overlap(const call *c, const char *aliases)
{
    int count, n = 0;
    const ms_operand *o = ms_op_operands(c->op, &count);
    range all[MAX_OPERANDS];

    MS_ASSERT(count <= MAX_OPERANDS);
    for (int i = 0; i < count; i++) {
        ms_tensor t = operand(c, &o[i]);
        range r = {&o[i], (uintptr_t)t.data, (uintptr_t)t.data + ms_tensor_bytes(t)};

        if (!ms_present(t)) continue;
        for (int j = 0; j < n; j++) {
            if (r.last <= all[j].first || all[j].last <= r.first) continue;
            if (!written(r.o->role) && !written(all[j].o->role)) continue;
            if (r.first == all[j].first && r.last == all[j].last &&
                listed(aliases, r.o->name, all[j].o->name))
                continue;
            return fail(c, MS_INPUT, "%s overlaps %s", r.o->name, all[j].o->name);
        }
        all[n++] = r;
    }
    return MS_OK;
}

/* -- scalars --------------------------------------------------------------------------------- */

/* Each refuses NaN: comparisons with it are false. */

static ms_status check_positive(const call *c, const char *name, double x)
{
    if (x > 0 && isfinite(x)) return MS_OK;
    return fail(c, MS_INPUT, "%s: expected a positive number, got %g", name, x);
}

static ms_status check_finite(const call *c, const char *name, double x)
{
    if (isfinite(x)) return MS_OK;
    return fail(c, MS_INPUT, "%s: expected a finite number, got %g", name, x);
}

/* [0, 1) */
static ms_status check_fraction(const call *c, const char *name, double x)
{
    if (x >= 0 && x < 1) return MS_OK;
    return fail(c, MS_INPUT, "%s: expected 0 <= %s < 1, got %g", name, name, x);
}

static ms_status check_drop(const call *c, ms_drop drop)
{
    return check_fraction(c, "dropout", drop.p);
}

static ms_status check_act(const call *c, ms_act act)
{
    if ((unsigned)act < MS_ACT_COUNT) return MS_OK;
    return fail(c, MS_INPUT, "act: no such activation: %d", (int)act);
}

static ms_status check_needed(const call *c, const char *name, ms_tensor t, const char *why)
{
    if (ms_present(t)) return MS_OK;
    return fail(c, MS_INPUT, "%s: missing, needed %s", name, why);
}

static ms_status check_unused(const call *c, const char *name, ms_tensor t, const char *why)
{
    if (!ms_present(t)) return MS_OK;
    return fail(c, MS_INPUT, "%s: not used %s", name, why);
}

/* Values in a row of the argument of act for F values of its result. */
static int64_t argument_width(ms_act act, int64_t F)
{
    return act == MS_ACT_SWIGLU ? 2 * F : F;
}

/* -- one function an op, ORDER OPS ----------------------------------------------------------- */

ms_status ms_check_embed_fwd(const ms_device *d, const ms_embed_fwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_embed_fwd, a, err);

    MS_TRY(check_operands(&c, "NC qVC PC iN iB2"));
    MS_TRY(check_divides(&c, 'N', 'B'));
    MS_TRY(check_finite(&c, "scale", a->scale));
    MS_TRY(check_drop(&c, a->drop));
    return check_overlap(&c, "");
}

ms_status ms_check_embed_bwd(const ms_device *d, const ms_embed_bwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_embed_bwd, a, err);

    MS_TRY(check_operands(&c, "VC PC NC iN iB2"));
    MS_TRY(check_divides(&c, 'N', 'B'));
    MS_TRY(check_finite(&c, "scale", a->scale));
    MS_TRY(check_drop(&c, a->drop));
    return check_overlap(&c, "");
}

ms_status ms_check_norm_fwd(const ms_device *d, const ms_norm_fwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_norm_fwd, a, err);

    MS_TRY(check_operands(&c, "NC N2 NC C C"));
    MS_TRY(check_positive(&c, "eps", a->eps));
    return check_overlap(&c, "y=x");
}

ms_status ms_check_norm_bwd(const ms_device *d, const ms_norm_bwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_norm_bwd, a, err);

    MS_TRY(check_operands(&c, "NC C C NC NC N2 C"));
    return check_overlap(&c, a->accumulate ? "" : "dx=dy");
}

ms_status ms_check_add_norm_fwd(const ms_device *d, const ms_add_norm_fwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_add_norm_fwd, a, err);

    MS_TRY(check_operands(&c, "NC NC N2 NC NC C C"));
    MS_TRY(check_positive(&c, "eps", a->eps));
    MS_TRY(check_drop(&c, a->drop));
    return check_overlap(&c, "r=x r=f y=f");
}

ms_status ms_check_add_norm_bwd(const ms_device *d, const ms_add_norm_bwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_add_norm_bwd, a, err);

    MS_TRY(check_operands(&c, "NC NC C C NC NC N2 C"));
    MS_TRY(check_drop(&c, a->drop));
    if (a->drop.p > 0) MS_TRY(check_needed(&c, "df", a->df, "with dropout"));
    return check_overlap(&c, a->accumulate ? "df=dy" : "dr=dy df=dy");
}

ms_status ms_check_linear_fwd(const ms_device *d, const ms_linear_fwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_linear_fwd, a, err);

    MS_TRY(check_act(&c, a->act));
    MS_TRY(check_operands(&c, "NY NO NI OI O NO"));
    MS_TRY(check_dim(&c, 'O', "w", argument_width(a->act, dim(&c, 'Y'))));
    if (a->act == MS_ACT_NONE) MS_TRY(check_unused(&c, "u", a->u, "without an activation"));
    if (a->act == MS_ACT_SWIGLU && !ms_present(a->u))
        MS_TRY(check_needed(&c, "work", a->work, "for swiglu without u"));
    return check_overlap(&c, "");
}

ms_status ms_check_linear_bwd(const ms_device *d, const ms_linear_bwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_linear_bwd, a, err);
    bool swiglu = a->act == MS_ACT_SWIGLU;

    MS_TRY(check_act(&c, a->act));
    MS_TRY(check_operands(&c, "NX OI O NO NI OI NX NI"));
    if (ms_present(a->dw)) MS_TRY(check_needed(&c, "x", a->x, "for dw"));
    if (ms_present(a->dx)) {
        MS_TRY(check_needed(&c, "w", a->w, "for dx"));
        MS_TRY(check_dim(&c, 'X', "dx", argument_width(a->act, dim(&c, 'I'))));
        if (swiglu) MS_TRY(check_needed(&c, "work", a->work, "for dx of swiglu"));
        if (a->act != MS_ACT_NONE) MS_TRY(check_needed(&c, "u", a->u, "for dx of an activation"));
    }
    if (a->act == MS_ACT_NONE) MS_TRY(check_unused(&c, "u", a->u, "without an activation"));
    if (a->act != MS_ACT_NONE && a->accumulate)
        return fail(&c, MS_INPUT, "accumulate: not with an activation");
    return check_overlap(&c, a->act == MS_ACT_NONE || swiglu ? "" : "dx=u");
}

/* What both passes of rope ask of the letters; P is 0 without rot. */
static ms_status check_rope(const call *c, bool has_rot)
{
    int64_t H = dim(c, 'H'), K = dim(c, 'K'), D = dim(c, 'D');

    MS_TRY(check_divides(c, 'N', 'B'));
    MS_TRY(check_divides(c, 'H', 'K'));
    MS_TRY(check_dim(c, 'M', "qkv", (H + 2 * K) * D));
    MS_TRY(check_dim(c, 'J', "stat", H + K));
    if (has_rot && 2 * (int64_t)dim(c, 'R') > D)
        return fail(c, MS_SHAPE, "rot: expected at most %d pairs, got %d", (int)(D / 2),
                    dim(c, 'R'));
    return MS_OK;
}

ms_status ms_check_linear_stored(const ms_device *d, const ms_linear_stored_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_linear_stored, a, err);

    MS_TRY(check_operands(&c, "NY NI qOI O"));
    if (a->at < 0 || a->at > dim(&c, 'Y') - dim(&c, 'O'))
        return fail(&c, MS_SHAPE, "at: %d columns from %d on of y, which has %d", dim(&c, 'O'),
                    a->at, dim(&c, 'Y'));
    if (a->kept && !d->keep)
        return fail(&c, MS_UNSUPPORTED, "kept: backend %s keeps no weights", d->name);
    return check_overlap(&c, "");
}

ms_status ms_check_rope_fwd(const ms_device *d, const ms_rope_fwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_rope_fwd, a, err);

    MS_TRY(check_operands(&c, "NHD BKSD BKSD NJ NM D D PR2 iB2"));
    MS_TRY(check_rope(&c, ms_present(a->rot)));
    if (a->local && dim(&c, 'S') < dim(&c, 'N') / dim(&c, 'B'))
        return fail(&c, MS_SHAPE, "k: expected at least %d rows, got %d",
                    dim(&c, 'N') / dim(&c, 'B'), dim(&c, 'S'));
    if (a->qk_norm) {
        MS_TRY(check_needed(&c, "stat", a->stat, "with qk_norm"));
        MS_TRY(check_positive(&c, "eps", a->eps));
    } else {
        MS_TRY(check_unused(&c, "stat", a->stat, "without qk_norm"));
        MS_TRY(check_unused(&c, "qw", a->qw, "without qk_norm"));
        MS_TRY(check_unused(&c, "kw", a->kw, "without qk_norm"));
    }
    return check_overlap(&c, "");
}

ms_status ms_check_rope_bwd(const ms_device *d, const ms_rope_bwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_rope_bwd, a, err);

    MS_TRY(check_operands(&c, "NM D D NHD BKSD BKSD NM NJ D D PR2 iB2"));
    MS_TRY(check_rope(&c, ms_present(a->rot)));
    if (a->qk_norm) {
        MS_TRY(check_needed(&c, "qkv", a->qkv, "with qk_norm"));
        MS_TRY(check_needed(&c, "stat", a->stat, "with qk_norm"));
    } else {
        MS_TRY(check_unused(&c, "dqw", a->dqw, "without qk_norm"));
        MS_TRY(check_unused(&c, "dkw", a->dkw, "without qk_norm"));
        MS_TRY(check_unused(&c, "qw", a->qw, "without qk_norm"));
        MS_TRY(check_unused(&c, "kw", a->kw, "without qk_norm"));
    }
    return check_overlap(&c, "");
}

static ms_status check_attention(const call *c, double scale, ms_drop drop)
{
    MS_TRY(check_divides(c, 'N', 'B'));
    MS_TRY(check_divides(c, 'H', 'K'));
    if (dim(c, 'D') > MS_MAX_HEAD_DIM)
        return fail(c, MS_SHAPE, "q: expected heads of at most %d, got %d", MS_MAX_HEAD_DIM,
                    dim(c, 'D'));
    MS_TRY(check_positive(c, "scale", scale));
    return check_drop(c, drop);
}

ms_status ms_check_cache_append(const ms_device *d, const ms_cache_append_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_cache_append, a, err);

    MS_TRY(check_operands(&c, "cBKSD cBKSD BKTD BKTD iB2"));
    return check_overlap(&c, "");
}

ms_status ms_check_attention_fwd(const ms_device *d, const ms_attention_fwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_attention_fwd, a, err);

    MS_TRY(check_operands(&c, "NHD NH NHD cBKSD cBKSD iB2"));
    MS_TRY(check_attention(&c, a->scale, a->drop));
    return check_overlap(&c, "y=q");
}

ms_status ms_check_attention_bwd(const ms_device *d, const ms_attention_bwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_attention_bwd, a, err);

    MS_TRY(check_operands(&c, "NHD BKSD BKSD NHD NHD NH NHD BKSD BKSD iB2 NH"));
    MS_TRY(check_attention(&c, a->scale, a->drop));
    MS_TRY(check_needed(&c, "delta", a->delta, "as work"));
    return check_overlap(&c, "dq=dy");
}

ms_status ms_check_act_fwd(const ms_device *d, const ms_act_fwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_act_fwd, a, err);

    MS_TRY(check_act(&c, a->act));
    MS_TRY(check_operands(&c, "NF NU"));
    MS_TRY(check_dim(&c, 'U', "u", argument_width(a->act, dim(&c, 'F'))));
    return check_overlap(&c, a->act == MS_ACT_SWIGLU ? "" : "y=u");
}

ms_status ms_check_act_bwd(const ms_device *d, const ms_act_bwd_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_act_bwd, a, err);

    MS_TRY(check_act(&c, a->act));
    MS_TRY(check_operands(&c, "NU NF NU"));
    MS_TRY(check_dim(&c, 'U', "du", argument_width(a->act, dim(&c, 'F'))));
    return check_overlap(&c, a->act == MS_ACT_SWIGLU ? "du=u" : "du=u du=dy");
}

ms_status ms_check_dropout(const ms_device *d, const ms_dropout_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_dropout, a, err);

    MS_TRY(check_operands(&c, "NC NC NC"));
    MS_TRY(check_drop(&c, a->drop));
    return check_overlap(&c, "y=x y=add");
}

ms_status ms_check_gather_last(const ms_device *d, const ms_gather_last_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_gather_last, a, err);

    MS_TRY(check_operands(&c, "BC NC iB2"));
    MS_TRY(check_divides(&c, 'N', 'B'));
    return check_overlap(&c, "");
}

ms_status ms_check_cross_entropy(const ms_device *d, const ms_cross_entropy_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_cross_entropy, a, err);

    MS_TRY(check_operands(&c, "N NV NV iN"));
    return check_overlap(&c, "dz=z");
}

ms_status ms_check_loss_sum(const ms_device *d, const ms_loss_sum_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_loss_sum, a, err);

    MS_TRY(check_operands(&c, "1 N"));
    return check_overlap(&c, "");
}

ms_status ms_check_zero(const ms_device *d, const ms_zero_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_zero, a, err);

    return check_operands(&c, "*");
}

ms_status ms_check_global_norm(const ms_device *d, const ms_global_norm_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_global_norm, a, err);

    MS_TRY(check_operands(&c, "1 P"));
    return check_overlap(&c, "");
}

ms_status ms_check_adamw(const ms_device *d, const ms_adamw_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_adamw, a, err);

    MS_TRY(check_operands(&c, "P P P P 1"));
    MS_TRY(check_fraction(&c, "beta1", a->beta1));
    MS_TRY(check_fraction(&c, "beta2", a->beta2));
    MS_TRY(check_positive(&c, "eps", a->eps));
    MS_TRY(check_finite(&c, "weight_decay", a->weight_decay));
    if (a->weight_decay < 0) return fail(&c, MS_INPUT, "weight_decay: %g < 0", a->weight_decay);
    if (a->decayed > (size_t)dim(&c, 'P'))
        return fail(&c, MS_SHAPE, "decayed: expected at most %d, got %zu", dim(&c, 'P'),
                    a->decayed);
    return check_overlap(&c, "");
}

ms_status ms_check_sample(const ms_device *d, const ms_sample_args *a, ms_error *err)
{
    call c = call_of(d, MS_OP_sample, a, err);

    MS_TRY(check_operands(&c, "iB BV iB8 iBV BV"));
    MS_TRY(check_needed(&c, "rank", a->rank, "as work"));
    MS_TRY(check_needed(&c, "prob", a->prob, "as work"));
    return check_overlap(&c, "");
}
