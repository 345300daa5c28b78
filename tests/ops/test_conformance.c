/* Every op on every device against ref: one test for each pair.
 *
 *   test_conformance [-v] [--slow | --small] [--device NAME] [OP...]   ops with a word in the name
 *   test_conformance --bench [--slow] [--device NAME] [OP]    times of the same rows */
#include "conformance.h"

#include "ops/bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DEVICES = 16, TESTS = DEVICES * MS_OP_COUNT };

typedef struct {
    const conform_setup *setup;
    ms_op op;
    bool verbose;
    char name[64];
} job;

typedef struct {
    bool verbose, slow, small, bench;
    const char *device;
    char **word; /* parts of names of ops */
    int words;
} options;

static void conforms(void **state)
{
    const job *j = *state;
    conform_result r;

    conform_op(j->setup, j->op, &r);
    if (j->verbose && r.elements > 0)
        printf("%s: %d cases, %d runs, %zu elements, %d refusals; error over bound: largest %.3f, "
               "mean %.4f\n",
               j->name, r.cases, r.runs, r.elements, r.refusals, r.worst,
               r.sum / (double)r.elements);
    for (int i = 0; i < r.failures && i < CONFORM_MESSAGES; i++) print_error("%s\n", r.message[i]);
    if (r.failures > CONFORM_MESSAGES) print_error("and %d more\n", r.failures - CONFORM_MESSAGES);
    assert_int_equal(r.failures, 0);
    assert_true(r.cases > 0 && r.refusals > 0);
}

/* -- devices --------------------------------------------------------------------------------- */

static void open_or_stop(ms_device **d, const char *name, int threads)
{
    ms_device_options o = {.threads = threads};
    ms_error err;

    if (ms_device_open(d, name, &o, &err)) {
        fprintf(stderr, "%s: %s\n", name, err.message);
        exit(1);
    }
}

/* One device for each number of threads; a back end without threads is opened once. */
static void open_setup(conform_setup *s, const char *name, ms_device *ref, const options *o)
{
    *s = (conform_setup){.ref = ref, .slow = o->slow, .small = o->small};
    open_or_stop(&s->device[0], name, 1);
    for (int i = 1; i < CONFORM_DEVICES && s->device[0]->pool; i++)
        open_or_stop(&s->device[i], name, i + 1);
}

static void close_setup(conform_setup *s)
{
    for (int i = 0; i < CONFORM_DEVICES; i++) ms_device_close(s->device[i]);
}

/* -- bench ----------------------------------------------------------------------------------- */

static void print_row(void *data, const ms_bench_row *r)
{
    double rate = *(double *)data;

    printf("%-14s %-44s %10.1f us %9.1f GFLOP/s %8.1f GB/s", ms_op_name(r->op), r->label,
           r->median_s * 1e6, r->flops / r->median_s * 1e-9, r->bytes / r->median_s * 1e-9);
    if (rate > 0) printf(" %5.0f %%", 100 * r->bytes / r->median_s / rate);
    printf("\n");
}

static int bench(const options *o)
{
    ms_bench_options b = {.filter = o->words > 0 ? o->word[0] : NULL, .slow = o->slow};
    ms_device *d;
    ms_error err;
    ms_status s;
    double rate;

    open_or_stop(&d, o->device ? o->device : "auto", 0);
    s = ms_bench_read_rate(d, &rate, &err);
    printf("%s: %s; reads memory at %.1f GB/s (the share in the last column)\n", d->name, d->about,
           rate * 1e-9);
    if (!s) s = ms_bench_ops(d, &b, print_row, &rate, &err);
    if (s) fprintf(stderr, "%s\n", err.message);
    ms_device_close(d);
    return s != MS_OK;
}

/* -- program --------------------------------------------------------------------------------- */

static bool wanted(const options *o, ms_op k)
{
    for (int i = 0; i < o->words; i++)
        if (strstr(ms_op_name(k), o->word[i])) return true;
    return o->words == 0;
}

static int conformance(const options *o)
{
    static struct CMUnitTest tests[TESTS];
    static job jobs[TESTS];
    static conform_setup setups[DEVICES];
    ms_device *ref;
    const char *name;
    size_t n = 0;
    int devices = 0, failed;

    open_or_stop(&ref, "ref", 1);
    for (int i = 0; i < DEVICES && (name = ms_device_list(i)); i++) {
        if (o->device && strcmp(o->device, name) != 0) continue;
        open_setup(&setups[devices], name, ref, o);
        for (ms_op k = (ms_op)0; k < MS_OP_COUNT; k++) {
            if (!wanted(o, k)) continue;
            jobs[n] = (job){.setup = &setups[devices], .op = k, .verbose = o->verbose};
            snprintf(jobs[n].name, sizeof jobs[n].name, "%s on %s", ms_op_name(k), name);
            tests[n] = (struct CMUnitTest){
                .name = jobs[n].name, .test_func = conforms, .initial_state = &jobs[n]};
            n++;
        }
        devices++;
    }
    failed = _cmocka_run_group_tests("conformance", tests, n, NULL, NULL);
    for (int i = 0; i < devices; i++) close_setup(&setups[i]);
    ms_device_close(ref);
    return failed;
}

int main(int argc, char **argv)
{
    options o = {0};

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0)
            o.verbose = true;
        else if (strcmp(argv[i], "--slow") == 0)
            o.slow = true;
        else if (strcmp(argv[i], "--small") == 0)
            o.small = true;
        else if (strcmp(argv[i], "--bench") == 0)
            o.bench = true;
        else if (strcmp(argv[i], "--device") == 0 && i + 1 < argc)
            o.device = argv[++i];
        else if (o.words == 0) {
            o.word = &argv[i];
            o.words = argc - i;
            break;
        }
    }
    return o.bench ? bench(&o) : conformance(&o);
}
