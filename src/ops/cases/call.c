/* call - memory, fills and runs of cases */
#include "ops/cases/call.h"

#include "base/half.h"
#include "base/quant.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64, GUARD_BYTE = 0xA5, GARBAGE_BYTE = 0xFF }; /* bytes of 0xFF are NaN */

static const ms_operand *operands(const ms_call *call, int *count)
{
    return ms_op_operands(call->c.op, count);
}

static ms_tensor *operand(ms_call *call, int i)
{
    return ms_args_operand(&call->c.args, call->c.op, i);
}

/* -- dispatch by number, ORDER OPS ----------------------------------------------------------- */

static void run(ms_queue *q, ms_op o, const ms_any_args *args)
{
    switch (o) {
#define RUN(name)                                                                                  \
    case MS_OP_##name: ms_run_##name(q, &args->name); break;
        MS_OPS(RUN)
#undef RUN
    case MS_OP_COUNT: break;
    }
}

ms_status ms_args_check(const ms_device *d, ms_op o, const ms_any_args *args, ms_error *err)
{
    switch (o) {
#define CHECK(name)                                                                                \
    case MS_OP_##name: return ms_check_##name(d, &args->name, err);
        MS_OPS(CHECK)
#undef CHECK
    case MS_OP_COUNT: break;
    }
    return ms_fail(err, MS_INPUT, "no such op");
}

/* -- memory ---------------------------------------------------------------------------------- */

static void place(ms_call *call, int shift)
{
    int count;
    size_t end = sizeof(ms_step);

    operands(call, &count);
    MS_ASSERT(count <= MS_CASE_OPERANDS);
    for (int i = 0; i < count; i++) {
        ms_tensor *t = operand(call, i);

        if (!ms_present(*t)) continue;
        if (t->dtype == MS_F32) t->dtype = call->queue.device->real;
        call->at[i] = (end + MS_CALL_GUARD_BYTES + ALIGN - 1) / ALIGN * ALIGN +
                      (size_t)shift * ms_dtype_bytes(t->dtype);
        call->bytes[i] = ms_tensor_bytes(*t);
        end = call->at[i] + call->bytes[i];
    }
    call->size_bytes = end + MS_CALL_GUARD_BYTES;
}

ms_status ms_call_open(ms_call *call, const ms_case *c, ms_device *d, int shift, ms_error *err)
{
    void *block;
    int count;

    *call = (ms_call){.c = *c, .queue = {.device = d, .bf16 = c->bf16}};
    operands(call, &count);
    place(call, shift);
    MS_TRY(ms_device_alloc(d, call->size_bytes, &block, err));
    call->block = block;
    call->queue.step = block;
    for (int i = 0; i < count; i++)
        if (call->bytes[i] > 0) operand(call, i)->data = call->block + call->at[i];
    call->image = malloc(call->size_bytes);
    call->result = malloc(call->size_bytes);
    if (!call->image || !call->result)
        return ms_fail(err, MS_MEMORY, "out of memory: %zu bytes", call->size_bytes);
    return MS_OK;
}

void ms_call_close(ms_call *call)
{
    if (call->queue.device) ms_device_free(call->queue.device, call->block, call->size_bytes);
    free(call->image);
    free(call->result);
    *call = (ms_call){0};
}

double ms_call_real(const ms_call *call, const char *host, int i, size_t element)
{
    const char *p = host + call->at[i];
    double x;
    float f;

    if (call->queue.device->real == MS_F64) {
        memcpy(&x, p + element * sizeof x, sizeof x);
        return x;
    }
    memcpy(&f, p + element * sizeof f, sizeof f);
    return f;
}

void ms_call_put(ms_call *call, char *host, int i, size_t element, double x)
{
    char *p = host + call->at[i];
    float f = (float)x;

    if (call->queue.device->real == MS_F64)
        memcpy(p + element * sizeof x, &x, sizeof x);
    else
        memcpy(p + element * sizeof f, &f, sizeof f);
}

/* -- roles and names ------------------------------------------------------------------------- */

static bool is_real(const ms_call *call, int i)
{
    return ms_args_operand((ms_any_args *)&call->c.args, call->c.op, i)->dtype ==
           call->queue.device->real;
}

/* Whether a gradient that may accumulate does not: the contracts' "= unless accumulate". */
static bool replaced(const ms_case *c, int i)
{
    if (i != 0) return false;
    switch (c->op) {
    case MS_OP_norm_bwd: return !c->args.norm_bwd.accumulate;
    case MS_OP_add_norm_bwd: return !c->args.add_norm_bwd.accumulate;
    case MS_OP_linear_bwd: return !c->args.linear_bwd.accumulate;
    case MS_OP_loss_sum: return !c->args.loss_sum.accumulate;
    default: return false;
    }
}

bool ms_call_overwrites(const ms_case *c, int i)
{
    int count;
    ms_role role = ms_op_operands(c->op, &count)[i].role;

    return role == MS_ROLE_out || role == MS_ROLE_out_opt || role == MS_ROLE_work || replaced(c, i);
}

static bool named(const ms_call *call, int i, const char *name)
{
    int count;

    return strcmp(operands(call, &count)[i].name, name) == 0;
}

static int find(const ms_call *call, const char *name)
{
    int count;

    operands(call, &count);
    for (int i = 0; i < count; i++)
        if (named(call, i, name)) return i;
    return -1;
}

/* -- fills ----------------------------------------------------------------------------------- */

const char *ms_fill_name(ms_fill fill)
{
    static const char *const names[] = {"normal",      "zeros", "ones",   "large", "tiny",
                                        "alternating", "spike", "unread", "nan"};

    return names[fill];
}

bool ms_fill_applies(ms_fill fill, const ms_case *c)
{
    int count;
    const ms_operand *o = ms_op_operands(c->op, &count);
    bool sequences = false;

    for (int i = 0; i < count; i++) sequences = sequences || strcmp(o[i].name, "seq") == 0;
    switch (fill) {
    case MS_FILL_UNREAD: return sequences;
    case MS_FILL_NAN: return c->op == MS_OP_global_norm || c->op == MS_OP_adamw;
    default: return c->op != MS_OP_zero || fill == MS_FILL_NORMAL;
    }
}

/* Squares of gradients below the least normal number are lost by contract. */
static double least(ms_op o)
{
    return o == MS_OP_global_norm ? 1e-15 : 1e-30;
}

static double value(const ms_call *call, ms_fill fill, ms_rng *r, size_t i, size_t columns)
{
    switch (fill) {
    case MS_FILL_ZEROS: return 0;
    case MS_FILL_ONES: return 1;
    case MS_FILL_LARGE: return ms_rng_normal(r) * 1e4;
    case MS_FILL_TINY: return ms_rng_normal(r) * least(call->c.op);
    case MS_FILL_ALTERNATING: return i % 2 ? -1 : 1;
    case MS_FILL_SPIKE:
        if (i % columns == (3 * (i / columns) + 1) % columns) return 1e7;
        return ms_rng_normal(r);
    default: return ms_rng_normal(r);
    }
}

static void fill_reals(ms_call *call, ms_fill fill, int i)
{
    ms_tensor t = *operand(call, i);
    size_t n = ms_count(t), columns = (size_t)t.dim[t.rank - 1];
    ms_rng r = ms_rng_new((uint64_t)fill, (uint32_t)i, MS_SITE_TEST);
    bool square = call->c.op == MS_OP_adamw && named(call, i, "v");

    for (size_t k = 0; k < n; k++) {
        double x = value(call, fill, &r, k, columns);

        if (square) x *= x;
        ms_call_put(call, call->image, i, k, (float)x);
    }
}

/* A block of a type that is only read: random bits, and scales that are none too large. */
static void fill_block(char *to, ms_dtype dtype, ms_rng *r)
{
    static const struct {
        ms_dtype dtype;
        int scale, scales; /* where halves stand, how many */
    } halves[] = {{MS_Q2_K, 80, 2}, {MS_Q3_K, 108, 1}, {MS_Q5_K, 0, 2}};

    for (size_t k = 0; k < ms_dtype_bytes(dtype); k++) to[k] = (char)ms_rng_below(r, 256);
    for (size_t h = 0; h < sizeof halves / sizeof *halves; h++)
        for (int k = 0; k < halves[h].scales && halves[h].dtype == dtype; k++) {
            uint16_t half = ms_f16_from_float((float)ms_rng_normal(r) / 64);

            memcpy(to + halves[h].scale + 2 * k, &half, sizeof half);
        }
}

/* Cosine and sine of some angle each, as any table of rotations has them. */
static void fill_rotations(ms_call *call, int i)
{
    size_t n = ms_count(*operand(call, i));
    ms_rng r = ms_rng_new(0, (uint32_t)i, MS_SITE_TEST);

    for (size_t k = 0; k + 1 < n; k += 2) {
        double angle = 100 * ms_rng_uniform(&r);

        ms_call_put(call, call->image, i, k, (float)cos(angle));
        ms_call_put(call, call->image, i, k + 1, (float)sin(angle));
    }
}

static int32_t id_of(const ms_call *call, ms_fill fill, ms_rng *r, size_t k)
{
    int32_t last = call->c.id_limit - 1;

    if (call->c.ignore_some && k % 3 == 1) return -1;
    switch (fill) {
    case MS_FILL_ZEROS: return 0;
    case MS_FILL_ONES: return last;
    case MS_FILL_ALTERNATING: return k % 2 ? last : 0;
    default: return (int32_t)ms_rng_below(r, (uint32_t)call->c.id_limit);
    }
}

static void fill_ids(const ms_call *call, ms_fill fill, char *to, size_t n)
{
    ms_rng r = ms_rng_new((uint64_t)fill, 99, MS_SITE_TEST);

    for (size_t k = 0; k < n; k++) {
        int32_t id = id_of(call, fill, &r, k);

        memcpy(to + k * sizeof id, &id, sizeof id);
    }
}

static void fill_how(ms_call *call, char *to, int B)
{
    for (int b = 0; b < B; b++) {
        ms_how how = call->c.how;

        how.position = (uint32_t)b;
        how.stream = 17 + (uint32_t)b;
        memcpy(to + (size_t)b * sizeof how, &how, sizeof how);
    }
}

static void fill_ints(ms_call *call, ms_fill fill, int i)
{
    char *to = call->image + call->at[i];
    ms_tensor t = *operand(call, i);

    if (named(call, i, "seq"))
        memcpy(to, call->c.seq, call->bytes[i]);
    else if (named(call, i, "how"))
        fill_how(call, to, t.dim[0]);
    else
        fill_ids(call, fill, to, ms_count(t));
}

/* Floats that the block types can hold, stored as the type: scales are halves. */
static void fill_stored(ms_call *call, ms_fill fill, int i)
{
    ms_tensor t = *operand(call, i);
    int block = ms_dtype_block(t.dtype);
    size_t n = ms_count(t), bytes = ms_dtype_bytes(t.dtype);
    ms_rng r = ms_rng_new((uint64_t)fill, (uint32_t)i, MS_SITE_TEST);
    char *to = call->image + call->at[i];

    for (size_t k = 0; k < n; k += (size_t)block, to += bytes) {
        float x[256];

        for (int j = 0; j < block; j++) {
            double v = value(call, fill, &r, k + (size_t)j, (size_t)t.dim[t.rank - 1]);

            x[j] = (float)fmin(v, 1e4);
        }
        if (ms_can_quantize(t.dtype))
            ms_quantize(t.dtype, x, to, (size_t)block);
        else
            fill_block(to, t.dtype, &r);
    }
}

/* -- what a forward saves -------------------------------------------------------------------- */

/* Runs the forward on operands of the block, results of the backward standing in for what is not
 * kept, and names in `saved` what it wrote for the backward ("a b"). */
static const char *run_forward(ms_call *call)
{
    ms_queue *q = &call->queue;
    const ms_any_args *a = &call->c.args;

    switch (call->c.op) {
    case MS_OP_norm_bwd:
        op(q, norm_fwd, .y = a->norm_bwd.dx, .stat = a->norm_bwd.stat, .x = a->norm_bwd.x,
           .eps = 1e-5, .rms = a->norm_bwd.rms);
        return "stat";
    case MS_OP_add_norm_bwd:
        op(q, norm_fwd, .y = a->add_norm_bwd.dr, .stat = a->add_norm_bwd.stat,
           .x = a->add_norm_bwd.r, .eps = 1e-5, .rms = a->add_norm_bwd.rms);
        return "stat";
    case MS_OP_linear_bwd:
        if (a->linear_bwd.act == MS_ACT_NONE || !ms_present(a->linear_bwd.x)) return "";
        op(q, act_fwd, .y = a->linear_bwd.x, .u = a->linear_bwd.u, .act = a->linear_bwd.act);
        return "x";
    case MS_OP_rope_bwd:
        if (!a->rope_bwd.qk_norm) return "";
        op(q, rope_fwd, .q = a->rope_bwd.dq, .k = a->rope_bwd.dk, .v = a->rope_bwd.dv,
           .stat = a->rope_bwd.stat, .qkv = a->rope_bwd.qkv, .seq = a->rope_bwd.seq, .eps = 1e-6,
           .qk_norm = true);
        return "stat";
    case MS_OP_attention_bwd:
        op(q, attention_fwd, .y = a->attention_bwd.y, .lse = a->attention_bwd.lse,
           .q = a->attention_bwd.q, .k = a->attention_bwd.k, .v = a->attention_bwd.v,
           .seq = a->attention_bwd.seq, .scale = a->attention_bwd.scale,
           .drop = a->attention_bwd.drop);
        return "y lse";
    case MS_OP_adamw: op(q, global_norm, .norm = a->adamw.norm, .x = a->adamw.g); return "norm";
    default: return "";
    }
}

static ms_status derive(ms_call *call, ms_error *err)
{
    const char *saved;

    MS_TRY(ms_call_start(call, err));
    saved = run_forward(call);
    ms_queue_download(&call->queue, call->result, call->block, call->size_bytes);
    MS_TRY(ms_queue_finish(&call->queue, err));
    while (*saved) {
        char name[16] = {0};
        size_t length = strcspn(saved, " ");
        int i;

        memcpy(name, saved, length);
        i = find(call, name);
        for (size_t k = 0; k < ms_count(*operand(call, i)); k++)
            ms_call_put(call, call->image, i, k, (float)ms_call_real(call, call->result, i, k));
        saved += length + (saved[length] == ' ');
    }
    return MS_OK;
}

/* -- what nothing reads ---------------------------------------------------------------------- */

/* By op: operands with a row for each row of the batch, and caches; of those all rows up to the
 * last visible one are read ("seen"), or only the rows of this pass ("own"), which may stand at the
 * start ("first"). */
static const struct {
    ms_op op;
    const char *rows, *seen, *own, *first;
} unread[] = {
    {MS_OP_embed_bwd, " dy ", "", "", ""},
    {MS_OP_rope_fwd, " qkv ", "", "", ""},
    {MS_OP_rope_bwd, " dq qkv stat ", "", " dk dv ", ""},
    {MS_OP_cache_append, "", "", "", " k_new v_new "},
    {MS_OP_attention_fwd, " q ", " k v ", "", ""},
    {MS_OP_attention_bwd, " dy y lse q ", " k v ", "", ""},
    {MS_OP_gather_last, " x ", "", "", ""},
};

static bool in_list(const char *list, const char *name)
{
    const char *at = list;
    size_t n = strlen(name);

    while ((at = strstr(at, name)) != NULL) {
        if (at > list && at[-1] == ' ' && at[n] == ' ') return true;
        at += n;
    }
    return false;
}

/* Bytes of 0xFF are NaN in every type that caches are of; as the scale of a block too. */
static void spoil(ms_call *call, int i, size_t row, size_t columns)
{
    ms_tensor t = *operand(call, i);

    if (!is_real(call, i)) {
        size_t bytes = columns / (size_t)ms_dtype_block(t.dtype) * ms_dtype_bytes(t.dtype);

        memset(call->image + call->at[i] + row * bytes, GARBAGE_BYTE, bytes);
        return;
    }
    for (size_t k = 0; k < columns; k++) ms_call_put(call, call->image, i, row * columns + k, NAN);
}

static void spoil_rows(ms_call *call, int i, int B)
{
    ms_tensor t = *operand(call, i);
    int T = t.dim[0] / B;

    for (int n = 0; n < t.dim[0]; n++)
        if (n % T >= call->c.seq[n / T].length)
            spoil(call, i, (size_t)n, ms_count(t) / (size_t)t.dim[0]);
}

typedef enum { SEEN, OWN, FIRST } read_rows;

static bool is_read(read_rows which, ms_seq s, int row)
{
    if (which == FIRST) return row < s.length;
    return s.length > 0 && row < s.start + s.length && (which == SEEN || row >= s.start);
}

static void spoil_cache(ms_call *call, int i, read_rows which)
{
    ms_tensor t = *operand(call, i);
    size_t S = (size_t)t.dim[2];

    for (size_t head = 0; head < (size_t)(t.dim[0] * t.dim[1]); head++) {
        ms_seq s = call->c.seq[head / (size_t)t.dim[1]];

        for (int row = 0; row < t.dim[2]; row++)
            if (!is_read(which, s, row)) spoil(call, i, head * S + (size_t)row, (size_t)t.dim[3]);
    }
}

static void spoil_unread(ms_call *call)
{
    int count, B = 1;
    const ms_operand *o = operands(call, &count);

    for (int i = 0; i < count; i++)
        if (named(call, i, "seq")) B = operand(call, i)->dim[0];
    for (size_t u = 0; u < sizeof unread / sizeof *unread; u++) {
        if (unread[u].op != call->c.op) continue;
        for (int i = 0; i < count; i++) {
            if (call->bytes[i] == 0) continue;
            if (in_list(unread[u].rows, o[i].name)) spoil_rows(call, i, B);
            if (in_list(unread[u].seen, o[i].name)) spoil_cache(call, i, SEEN);
            if (in_list(unread[u].own, o[i].name)) spoil_cache(call, i, OWN);
            if (in_list(unread[u].first, o[i].name)) spoil_cache(call, i, FIRST);
        }
    }
}

/* -- the image ------------------------------------------------------------------------------- */

static void fill_operand(ms_call *call, ms_fill fill, int i)
{
    if (ms_call_overwrites(&call->c, i))
        memset(call->image + call->at[i], GARBAGE_BYTE, call->bytes[i]);
    else if (!is_real(call, i) && operand(call, i)->dtype != MS_I32)
        fill_stored(call, fill, i);
    else if (!is_real(call, i))
        fill_ints(call, fill, i);
    else if (named(call, i, "rot"))
        fill_rotations(call, i);
    else
        fill_reals(call, fill, i);
}

ms_status ms_call_fill(ms_call *call, ms_fill fill, ms_error *err)
{
    int count;

    operands(call, &count);
    memset(call->image, GUARD_BYTE, call->size_bytes);
    memcpy(call->image, &call->c.step, sizeof call->c.step);
    for (int i = 0; i < count; i++)
        if (call->bytes[i] > 0) fill_operand(call, fill, i);
    if (fill == MS_FILL_NAN) {
        int i = find(call, call->c.op == MS_OP_adamw ? "g" : "x");

        ms_call_put(call, call->image, i, ms_count(*operand(call, i)) / 2, NAN);
    }
    MS_TRY(derive(call, err));
    if (fill == MS_FILL_UNREAD) spoil_unread(call);
    return MS_OK;
}

void ms_call_copy(ms_call *to, const ms_call *from)
{
    int count;

    operands(to, &count);
    memset(to->image, GUARD_BYTE, to->size_bytes);
    memcpy(to->image, &to->c.step, sizeof to->c.step);
    for (int i = 0; i < count; i++) {
        size_t n = ms_count(*operand(to, i));

        if (ms_call_overwrites(&to->c, i))
            memset(to->image + to->at[i], GARBAGE_BYTE, to->bytes[i]);
        else if (!is_real(to, i))
            memcpy(to->image + to->at[i], from->image + from->at[i], to->bytes[i]);
        else
            for (size_t k = 0; k < n; k++)
                ms_call_put(to, to->image, i, k, ms_call_real(from, from->image, i, k));
    }
}

/* -- runs ------------------------------------------------------------------------------------ */

ms_status ms_call_start(ms_call *call, ms_error *err)
{
    ms_queue_upload(&call->queue, call->block, call->image, call->size_bytes);
    return ms_queue_finish(&call->queue, err);
}

ms_status ms_call_step(ms_call *call, const ms_any_args *args, ms_error *err)
{
    run(&call->queue, call->c.op, args ? args : &call->c.args);
    return ms_queue_finish(&call->queue, err);
}

ms_status ms_call_run(ms_call *call, const ms_any_args *args, ms_error *err)
{
    MS_TRY(ms_call_start(call, err));
    MS_TRY(ms_call_step(call, args, err));
    ms_queue_download(&call->queue, call->result, call->block, call->size_bytes);
    return ms_queue_finish(&call->queue, err);
}
