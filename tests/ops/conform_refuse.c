/* conform_refuse - calls that contracts forbid: each must fail in check, and write nothing
 *
 * Made from a valid call by one change at a time: a dimension, a rank, a type, an absent operand,
 * an overlap, a scalar. */
#include "conformance.h"
#include "contracts.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Larger blocks cost more to compare than their refusals teach. */
enum { BLOCK_MAX_BYTES = 1 << 16 };

static void demand(trial *t, const ms_any_args *args, const char *what, const char *name)
{
    ms_op o = t->got.c.op;
    ms_error err = {0};
    ms_status s = ms_args_check(t->got.queue.device, o, args, &err);

    t->result->refusals++;
    if (s != MS_SHAPE && s != MS_INPUT) {
        trial_fail(t, "not refused: %s of %s", what, name);
        return;
    }
    if (err.status != s || strncmp(err.message, ms_op_name(o), strlen(ms_op_name(o))) != 0) {
        trial_fail(t, "refused without the op's name: %s of %s: \"%s\"", what, name, err.message);
        return;
    }
    if (ms_call_step(&t->got, args, &err) != s)
        trial_fail(t, "run in spite of %s of %s", what, name);
}

/* -- one operand ----------------------------------------------------------------------------- */

/* How often a letter stands for a dimension in the operands that are present. */
static int uses(trial *t, char letter)
{
    ms_op o = t->got.c.op;
    char word[WORD_BYTES];
    int n = 0;

    for (int i = 0; word_at(contract_of(o)->words, ' ', i, word, sizeof word); i++)
        for (const char *w = word; *w && t->got.bytes[i] > 0; w++) n += *w == letter;
    return n;
}

static void wrong_dimensions(trial *t, int i, const char *word)
{
    ms_op o = t->got.c.op;
    ms_tensor was = *operand_of(&t->got.c.args, o, i);

    for (int k = 0; k < was.rank; k++) {
        bool bound =
            word[k] <= '9' || uses(t, word[k]) > 1 || strchr(contract_of(o)->tied, word[k]) != NULL;
        int bad[] = {0, -1, was.dim[k] + 1, was.dim[k] - 1};

        for (int n = 0; n < (bound ? 4 : 2); n++) {
            ms_any_args args = t->got.c.args;

            operand_of(&args, o, i)->dim[k] = bad[n];
            demand(t, &args, "a dimension", operand_name(o, i));
        }
    }
}

static void wrong_rank(trial *t, int i)
{
    ms_op o = t->got.c.op;
    ms_any_args args = t->got.c.args;
    ms_tensor *a = operand_of(&args, o, i);

    if (a->rank > 1) {
        a->rank--;
        demand(t, &args, "the rank", operand_name(o, i));
        a->rank++;
    }
    if (a->rank == MS_MAX_RANK) return;
    a->dim[a->rank++] = 1;
    demand(t, &args, "the rank", operand_name(o, i));
}

/* Whether an operand whose word begins with `prefix` may be of type d (ops.h, Types). */
static bool type_allowed(trial *t, char prefix, ms_dtype d)
{
    if (prefix != 'q' && prefix != 'c') return false;
    if (d == t->got.queue.device->real) return true;
    if (prefix == 'c') return d == MS_F16 || d == MS_BF16 || d == MS_Q8_0;
    return ms_dtype_is_real(d) && d != MS_F64;
}

/* Types whose rows would not be whole blocks are refused for that. */
static void wrong_type(trial *t, int i, char prefix)
{
    ms_op o = t->got.c.op;
    ms_any_args args = t->got.c.args;
    ms_tensor *a = operand_of(&args, o, i);
    ms_dtype was = a->dtype;

    for (ms_dtype d = (ms_dtype)0; d < MS_DTYPE_COUNT; d++) {
        if (d == was || type_allowed(t, prefix, d)) continue;
        a->dtype = d;
        demand(t, &args, "the type", operand_name(o, i));
    }
}

static void wrong_presence(trial *t, int i)
{
    ms_op o = t->got.c.op;
    ms_any_args args = t->got.c.args;
    int count;
    ms_role role = ms_op_operands(o, &count)[i].role;
    bool needed = role == MS_ROLE_in || role == MS_ROLE_out || role == MS_ROLE_inout ||
                  word_in(needed_operands(&t->got.c), operand_name(o, i));

    operand_of(&args, o, i)->data = NULL;
    demand(t, &args, "the memory", operand_name(o, i));
    *operand_of(&args, o, i) = MS_ABSENT;
    if (needed) demand(t, &args, "the absence", operand_name(o, i));
}

/* -- overlaps -------------------------------------------------------------------------------- */

static bool allowed(trial *t, int a, int b)
{
    int pair[ALIAS_PAIRS][2], pairs;

    for (int n = 0; (pairs = alias_set(&t->got.c, n, pair)) >= 0; n++)
        if (pairs == 1 &&
            ((pair[0][0] == a && pair[0][1] == b) || (pair[0][0] == b && pair[0][1] == a)))
            return true;
    return false;
}

/* Operand a moved over b: onto it, and so that their ends share a byte. */
static void wrong_overlaps(trial *t, int a, int b)
{
    ms_op o = t->got.c.op;
    ms_any_args args = t->got.c.args;
    ms_tensor *moved = operand_of(&args, o, a);
    char *target = operand_of(&args, o, b)->data;
    bool writes =
        operand_written(o, a) || operand_written(o, b) || operand_work(o, a) || operand_work(o, b);

    if (!writes) return;
    moved->data = target;
    if (!allowed(t, a, b)) demand(t, &args, "an overlap", operand_name(o, a));
    moved->data = target + t->got.bytes[b] - 1;
    if (t->got.bytes[b] > 1) demand(t, &args, "an overlap in part", operand_name(o, a));
}

/* -- the whole call -------------------------------------------------------------------------- */

/* Every dimension that a letter names takes a value that does not divide. */
static void wrong_divisors(trial *t)
{
    ms_op o = t->got.c.op;
    char rule[WORD_BYTES], word[WORD_BYTES];

    for (int r = 0; word_at(contract_of(o)->divides, ' ', r, rule, sizeof rule); r++) {
        ms_any_args args = t->got.c.args;
        int whole = 0;

        for (int pass = 0; pass < 2; pass++) { /* first to find, then to replace */
            for (int i = 0; word_at(contract_of(o)->words, ' ', i, word, sizeof word); i++) {
                ms_tensor *a = operand_of(&args, o, i);
                const char *letters = word + (strchr("iqc", word[0]) != NULL);

                for (int k = 0; k < a->rank; k++) {
                    if (letters[k] == rule[0]) whole = a->dim[k];
                    if (pass == 1 && letters[k] == rule[2]) a->dim[k] = whole + 1;
                }
            }
        }
        demand(t, &args, "the divisor", rule);
    }
}

/* Scalars, and values of their kind that no contract takes. */
typedef enum { PROBABILITY, FRACTION, POSITIVE, FINITE, NOT_NEGATIVE, ACT, COLUMN, COUNT } kind;

#define SCALAR(name, field, kind)                                                                  \
    {                                                                                              \
        MS_OP_##name, #field, offsetof(ms_##name##_args, field), kind                              \
    }
static const struct {
    ms_op op;
    const char *name;
    size_t offset;
    kind kind;
} scalars[] = {
    SCALAR(embed_fwd, scale, FINITE),
    SCALAR(embed_fwd, drop.p, PROBABILITY),
    SCALAR(embed_bwd, scale, FINITE),
    SCALAR(embed_bwd, drop.p, PROBABILITY),
    SCALAR(norm_fwd, eps, POSITIVE),
    SCALAR(add_norm_fwd, eps, POSITIVE),
    SCALAR(add_norm_fwd, drop.p, PROBABILITY),
    SCALAR(add_norm_bwd, drop.p, PROBABILITY),
    SCALAR(linear_fwd, act, ACT),
    SCALAR(linear_bwd, act, ACT),
    SCALAR(linear_stored, at, COLUMN),
    SCALAR(attention_fwd, scale, FINITE),
    SCALAR(attention_fwd, drop.p, PROBABILITY),
    SCALAR(attention_bwd, scale, FINITE),
    SCALAR(attention_bwd, drop.p, PROBABILITY),
    SCALAR(act_fwd, act, ACT),
    SCALAR(act_bwd, act, ACT),
    SCALAR(dropout, drop.p, PROBABILITY),
    SCALAR(adamw, beta1, FRACTION),
    SCALAR(adamw, beta2, FRACTION),
    SCALAR(adamw, eps, POSITIVE),
    SCALAR(adamw, weight_decay, NOT_NEGATIVE),
    SCALAR(adamw, decayed, COUNT),
};

static void wrong_scalar(trial *t, size_t offset, kind k, const char *name)
{
    static const double reals[][4] = {{1, -0.25, 7, NAN},
                                      {1, -0.25, 7, NAN},
                                      {0, -1, INFINITY, NAN},
                                      {INFINITY, -INFINITY, NAN, NAN},
                                      {-1, -INFINITY, INFINITY, NAN}};
    static const int acts[] = {MS_ACT_COUNT, -1, 1 << 30, MS_ACT_COUNT + 1};
    static const int columns[] = {-1, 1 << 30, INT_MAX, INT_MIN};

    for (int n = 0; n < 4; n++) {
        ms_any_args args = t->got.c.args;
        char *at = (char *)&args + offset;
        size_t count = ms_count(*operand_of(&args, t->got.c.op, 0)) + 1;
        float p = (float)reals[k == PROBABILITY ? PROBABILITY : 0][n];

        if (k == PROBABILITY)
            memcpy(at, &p, sizeof p);
        else if (k == ACT)
            memcpy(at, &acts[n], sizeof acts[n]);
        else if (k == COLUMN)
            memcpy(at, &columns[n], sizeof columns[n]);
        else if (k == COUNT)
            memcpy(at, &count, sizeof count);
        else
            memcpy(at, &reals[k][n], sizeof reals[k][n]);
        demand(t, &args, "a scalar", name);
    }
}

void refuse(trial *t)
{
    ms_op o = t->got.c.op;
    char word[WORD_BYTES];
    ms_error err;

    if (t->got.size_bytes > BLOCK_MAX_BYTES || trial_over(t)) return;
    if (ms_call_start(&t->got, &err)) trial_fail(t, "%s", err.message);
    for (int i = 0; word_at(contract_of(o)->words, ' ', i, word, sizeof word); i++) {
        if (t->got.bytes[i] == 0) continue;
        wrong_presence(t, i);
        if (word[0] != '*') {
            wrong_dimensions(t, i, word + (strchr("iqc", word[0]) != NULL));
            wrong_rank(t, i);
            wrong_type(t, i, word[0]);
        }
        for (int k = 0; k < operand_count(o); k++)
            if (k != i && t->got.bytes[k] > 0) wrong_overlaps(t, i, k);
    }
    wrong_divisors(t);
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
        if (scalars[i].op == o)
            wrong_scalar(t, scalars[i].offset, scalars[i].kind, scalars[i].name);
    ms_queue_download(&t->got.queue, t->got.result, t->got.block, t->got.size_bytes);
    if (ms_queue_finish(&t->got.queue, &err)) trial_fail(t, "%s", err.message);
    if (memcmp(t->got.result, t->got.image, t->got.size_bytes) != 0)
        trial_fail(t, "a refused call has written");
}
