/* conformance - the runs of a case on a device, and what each must leave */
#include "conformance.h"
#include "contracts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Above this work a case takes only the fill that is not extreme. */
static const double many_flops = 3e6, many_bytes = 3e6;

/* -- reports --------------------------------------------------------------------------------- */

void trial_fail(trial *t, const char *format, ...)
{
    char text[256];
    va_list list;
    int n = t->result->failures++;

    if (n >= CONFORM_MESSAGES) return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(t->result->message[n], CONFORM_MESSAGE_BYTES, "%s on %s, %s, %s: %s",
             ms_op_name(t->got.c.op), t->setup->device[0]->name, t->got.c.label,
             ms_fill_name(t->fill), text);
}

bool trial_over(const trial *t)
{
    return t->setup->first_only && t->result->failures > 0;
}

/* -- what a run should leave ----------------------------------------------------------------- */

/* Names the place of a byte: an element of an operand, or what lies between operands. */
static void report_byte(trial *t, const ms_call *call, size_t offset, const char *what)
{
    const char *behind = "the step block";

    for (int i = 0; i < operand_count(call->c.op); i++) {
        size_t size =
            ms_dtype_bytes(operand_of((ms_any_args *)&call->c.args, call->c.op, i)->dtype);

        if (call->bytes[i] == 0 || offset < call->at[i]) continue;
        behind = operand_name(call->c.op, i);
        if (offset >= call->at[i] + call->bytes[i]) continue;
        trial_fail(t, "%s: %s[%zu] differs", what, behind, (offset - call->at[i]) / size);
        return;
    }
    trial_fail(t, "%s: guard behind %s is damaged", what, behind);
}

static void compare(trial *t, const ms_call *call, const char *what)
{
    size_t i = 0;

    if (memcmp(call->result, t->expected, call->size_bytes) == 0) return;
    while (call->result[i] == t->expected[i]) i++;
    report_byte(t, call, i, what);
}

/* At the address of an operand of these args: the bits of the first run, from a row on; of work:
 * anything. */
static void expect(trial *t, const ms_call *call, const ms_any_args *args, int i, size_t skip_bytes)
{
    ms_tensor a = *operand_of((ms_any_args *)args, call->c.op, i);
    size_t at, bytes = ms_tensor_bytes(a);

    if (!ms_present(a)) return;
    at = (size_t)((char *)a.data - call->block);
    if (operand_work(call->c.op, i)) memcpy(t->expected + at, call->result + at, bytes);
    if (operand_written(call->c.op, i))
        memcpy(t->expected + at, t->bits + t->got.at[i] + skip_bytes, bytes);
}

/* Runs with args (NULL: the call's own) and demands the bits of the first run where they belong and
 * no change anywhere else. */
static void run_again(trial *t, ms_call *call, const ms_any_args *args, const char *what)
{
    ms_error err;

    if (trial_over(t)) return;
    t->result->runs++;
    if (ms_call_run(call, args, &err)) {
        trial_fail(t, "%s: %s", what, err.message);
        return;
    }
    memcpy(t->expected, call->image, call->size_bytes);
    for (int i = 0; i < operand_count(call->c.op); i++)
        expect(t, call, args ? args : &call->c.args, i, 0);
    compare(t, call, what);
}

/* -- runs ------------------------------------------------------------------------------------ */

/* The first run gives the bits that all others must give; outside of them nothing changes. */
static void first_run(trial *t)
{
    ms_error err;

    t->result->runs++;
    if (ms_call_run(&t->got, NULL, &err)) {
        trial_fail(t, "%s", err.message);
        return;
    }
    memcpy(t->bits, t->got.result, t->got.size_bytes);
    judge(t);
    memcpy(t->expected, t->got.image, t->got.size_bytes);
    for (int i = 0; i < operand_count(t->got.c.op); i++) expect(t, &t->got, &t->got.c.args, i, 0);
    compare(t, &t->got, "after the run");
}

/* Outputs hold NaN before the first run; now zeros. */
static void from_other_garbage(trial *t)
{
    for (int i = 0; i < operand_count(t->got.c.op); i++)
        if (ms_call_overwrites(&t->got.c, i))
            memset(t->got.image + t->got.at[i], 0, t->got.bytes[i]);
    run_again(t, &t->got, NULL, "from zeroed outputs");
    ms_call_copy(&t->got, &t->ref);
}

static void with_aliases(trial *t)
{
    int pair[ALIAS_PAIRS][2], pairs;

    for (int n = 0; (pairs = alias_set(&t->got.c, n, pair)) >= 0; n++) {
        ms_any_args args = t->got.c.args;
        char what[64] = "alias";

        for (int i = 0; i < pairs; i++) {
            size_t used = strlen(what);

            snprintf(what + used, sizeof what - used, " %s=%s",
                     operand_name(t->got.c.op, pair[i][0]), operand_name(t->got.c.op, pair[i][1]));
            operand_of(&args, t->got.c.op, pair[i][0])->data =
                operand_of(&args, t->got.c.op, pair[i][1])->data;
        }
        if (pairs > 0) run_again(t, &t->got, &args, what);
    }
}

/* The same case elsewhere: on another number of threads, or at odd addresses. */
static void elsewhere(trial *t, ms_device *d, int shift, const char *what)
{
    ms_call call = {0};
    ms_error err;

    if (!d || trial_over(t)) return;
    if (ms_call_open(&call, &t->got.c, d, shift, &err)) {
        trial_fail(t, "%s: %s", what, err.message);
    } else {
        ms_call_copy(&call, &t->got);
        run_again(t, &call, NULL, what);
    }
    ms_call_close(&call);
}

/* -- rows alone ------------------------------------------------------------------------------ */

/* Runs the op on `rows` rows from row n on, of the operands that are listed as having rows. */
static void rows_alone(trial *t, ms_any_args *args, int n, int rows, const char *what)
{
    ms_op o = t->got.c.op;
    const char *list = contract_of(o)->rows;
    size_t skip[MS_CASE_OPERANDS] = {0};
    ms_error err;

    for (int i = 0; i < operand_count(o); i++) {
        ms_tensor *a = operand_of(args, o, i);

        if (!ms_present(*a) || !word_in(list, operand_name(o, i))) continue;
        skip[i] = ms_tensor_bytes(*a) / (size_t)a->dim[0] * (size_t)n;
        *a = ms_rows(*a, n, rows);
    }
    t->result->runs++;
    if (ms_call_run(&t->got, args, &err)) {
        trial_fail(t, "%s %d: %s", what, n, err.message);
        return;
    }
    memcpy(t->expected, t->got.image, t->got.size_bytes);
    for (int i = 0; i < operand_count(o); i++) expect(t, &t->got, args, i, skip[i]);
    compare(t, &t->got, what);
}

/* First, middle and last. */
static void some_rows_alone(trial *t)
{
    int N = operand_of(&t->got.c.args, t->got.c.op, 0)->dim[0];
    int some[] = {0, N / 2, N - 1};

    for (int i = 0; i < 3 && !trial_over(t); i++) {
        ms_any_args args = t->got.c.args;

        if (N > 1 && (i == 0 || some[i] != some[i - 1]))
            rows_alone(t, &args, some[i], 1, "row alone");
    }
}

/* Attention: a sequence without the others, and its last row without the rows before it, as a step
 * of decoding does. */
static void sequences_alone(trial *t)
{
    const ms_attention_fwd_args *all = &t->got.c.args.attention_fwd;
    int B = all->seq.dim[0], T = all->q.dim[0] / B;
    size_t seq_at = t->got.at[operand_named(MS_OP_attention_fwd, "seq")];

    for (int b = 0; b < B && !trial_over(t); b++) {
        ms_any_args args = t->got.c.args;
        ms_seq s = t->got.c.seq[b], last = {s.start + s.length - 1, 1};

        args.attention_fwd.k = ms_rows(all->k, b, 1);
        args.attention_fwd.v = ms_rows(all->v, b, 1);
        args.attention_fwd.seq = ms_rows(all->seq, b, 1);
        if (B > 1) {
            ms_any_args copy = args;

            rows_alone(t, &copy, b * T, T, "sequence alone");
        }
        if (T == 1 || s.length == 0 || trial_over(t)) continue;
        memcpy(t->got.image + seq_at + (size_t)b * sizeof s, &last, sizeof last);
        rows_alone(t, &args, b * T + s.length - 1, 1, "last row alone");
        memcpy(t->got.image + seq_at + (size_t)b * sizeof s, &s, sizeof s);
    }
}

/* The mask of dropout belongs to a row's place in the batch. */
static void alone(trial *t)
{
    const ms_any_args *a = &t->got.c.args;

    switch (t->got.c.op) {
    case MS_OP_add_norm_fwd:
        if (a->add_norm_fwd.drop.p > 0) return;
        break;
    case MS_OP_attention_fwd:
        if (a->attention_fwd.drop.p == 0) sequences_alone(t);
        return;
    default:
        if (!*contract_of(t->got.c.op)->rows) return;
    }
    some_rows_alone(t);
}

/* -- cases ----------------------------------------------------------------------------------- */

/* exact values, then error scales (left in ref.result) */
static ms_status run_ref(trial *t, ms_error *err)
{
    MS_TRY(ms_call_fill(&t->ref, t->fill, err));
    MS_TRY(ms_call_run(&t->ref, NULL, err));
    memcpy(t->exact, t->ref.result, t->ref.size_bytes);
    t->ref.queue.magnitude = true;
    MS_TRY(ms_call_run(&t->ref, NULL, err));
    t->ref.queue.magnitude = false;
    ms_call_copy(&t->got, &t->ref);
    return MS_OK;
}

static void try_fill(trial *t)
{
    ms_error err;

    if (run_ref(t, &err)) {
        trial_fail(t, "reference: %s", err.message);
        return;
    }
    first_run(t);
    from_other_garbage(t);
    with_aliases(t);
    elsewhere(t, t->setup->device[0], 1, "at odd addresses");
    elsewhere(t, t->setup->device[1], 0, "with other threads");
    elsewhere(t, t->setup->device[2], 0, "with other threads");
    alone(t);
    if (t->fill == MS_FILL_NORMAL) refuse(t);
}

static ms_status open_trial(trial *t, const ms_case *c, ms_error *err)
{
    MS_TRY(ms_call_open(&t->ref, c, t->setup->ref, 0, err));
    MS_TRY(ms_call_open(&t->got, c, t->setup->device[0], 0, err));
    t->exact = malloc(t->ref.size_bytes);
    t->bits = malloc(t->got.size_bytes);
    t->expected = malloc(t->got.size_bytes + MS_CALL_GUARD_BYTES * MS_CASE_OPERANDS);
    if (!t->exact || !t->bits || !t->expected) return ms_fail(err, MS_MEMORY, "out of memory");
    return MS_OK;
}

static void try_case(const conform_setup *s, const ms_case *c, conform_result *r)
{
    trial t = {.setup = s, .result = r};
    bool large = c->flops > many_flops || c->bytes > many_bytes;
    ms_error err;

    r->cases++;
    if (open_trial(&t, c, &err)) {
        t.got.c = *c;
        trial_fail(&t, "%s", err.message);
    } else {
        for (t.fill = (ms_fill)0; t.fill < MS_FILL_COUNT && !trial_over(&t); t.fill++)
            if (ms_fill_applies(t.fill, c) && (!large || t.fill == MS_FILL_NORMAL)) try_fill(&t);
    }
    ms_call_close(&t.ref);
    ms_call_close(&t.got);
    free(t.exact);
    free(t.bits);
    free(t.expected);
}

void conform_op(const conform_setup *s, ms_op o, conform_result *r)
{
    ms_case c;

    memset(r, 0, sizeof *r);
    for (int i = 0; ms_case_get(o, i, &c); i++) {
        if ((c.slow && !s->slow) || (c.bench && s->small)) continue;
        if (s->first_only && r->failures > 0) return;
        try_case(s, &c, r);
    }
}
