/* Beam search: all sequences when the beams are wide enough, greedy with one, and in between what a
 * search without any cache finds. */
#include "tiny.h"

#include "infer/beam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 4, EOS = 4, MOST = 8 };

typedef struct {
    int32_t id[MOST];
    int count;
    double log_probability, score;
} path;

static const int32_t PROMPT[] = {0, 3, 1, 2, 2};
enum { KEYS = sizeof PROMPT / sizeof *PROMPT };

/* Log probabilities of what follows a path, computed from nothing each time. */
static void after(ms_session *s, const path *p, double out[TINY_VOCAB])
{
    const float *z;
    ms_error err;

    must(ms_session_rewind(s, 0, &err), &err);
    must(ms_session_append(s, PROMPT, KEYS, &z, &err), &err);
    for (int i = 0; i < p->count; i++) must(ms_session_append(s, &p->id[i], 1, &z, &err), &err);
    log_softmax(z, TINY_VOCAB, out);
}

static path extended(const path *p, int32_t id, double log_probability)
{
    path longer = *p;

    longer.id[longer.count++] = id;
    longer.log_probability += log_probability;
    return longer;
}

static void keep_better(path *best, path p, double penalty)
{
    p.score = p.log_probability / pow(p.count, penalty);
    if (best->count == 0 || p.score > best->score) *best = p;
}

/* Every sequence that ends with EOS or is `length` long. */
static void brute_force(ms_session *s, const path *p, int length, double penalty, path *best)
{
    double log_probability[TINY_VOCAB];

    after(s, p, log_probability);
    for (int32_t id = 0; id < TINY_VOCAB; id++) {
        path longer = extended(p, id, log_probability[id]);

        if (id == EOS || longer.count == length)
            keep_better(best, longer, penalty);
        else
            brute_force(s, &longer, length, penalty, best);
    }
}

static int by_log_probability(const void *a, const void *b)
{
    const path *x = a, *y = b;

    return (x->log_probability < y->log_probability) - (x->log_probability > y->log_probability);
}

/* The same search as beam.h states, without cache, tree, or early end. */
static path plain_beams(ms_session *s, int width, int length, double penalty)
{
    path live[16] = {{.count = 0}}, next[16 * TINY_VOCAB], best = {.count = 0};
    int lives = 1;

    for (int t = 0; t < length && lives; t++) {
        int nexts = 0;

        for (int i = 0; i < lives; i++) {
            double log_probability[TINY_VOCAB];

            after(s, &live[i], log_probability);
            for (int32_t id = 0; id < TINY_VOCAB; id++)
                next[nexts++] = extended(&live[i], id, log_probability[id]);
        }
        qsort(next, (size_t)nexts, sizeof *next, by_log_probability);
        if (nexts > width) nexts = width;
        lives = 0;
        for (int i = 0; i < nexts; i++) {
            if (next[i].id[t] == EOS) {
                keep_better(&best, next[i], penalty);
                width--;
            } else {
                live[lives++] = next[i];
            }
        }
    }
    for (int i = 0; i < lives; i++) keep_better(&best, live[i], penalty);
    return best;
}

static bool never(void *data)
{
    (void)data;
    return false;
}

static path beams(ms_model *m, int width, int length, double penalty)
{
    ms_beam_options o = {
        .limit = length, .length_penalty = penalty, .eos = EOS, .stop = never, .data = NULL};
    path found = {.count = 0};
    ms_beam_result r = {.ids = found.id};
    ms_engine e;
    ms_error err;

    must(ms_engine_new(&e, m, width, KEYS + length, &err), &err);
    must(ms_engine_append(&e, 0, PROMPT, KEYS, &err), &err);
    must(ms_beam_search(&e, KEYS, &o, &r, &err), &err);
    ms_engine_free(&e);
    found.count = (int)r.count;
    found.log_probability = r.log_probability;
    assert_int_equal(r.ended, found.id[found.count - 1] == EOS);
    assert_false(r.stopped);
    return found;
}

static void same(const path *a, const path *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->id, b->id, sizeof *a->id * (size_t)a->count);
    assert_true(fabs(a->log_probability - b->log_probability) < 1e-9);
}

static const double PENALTY[] = {0, 0.6, 1, 2, -0.5};
enum { PENALTIES = sizeof PENALTY / sizeof *PENALTY };

static void wide_beams_equal_brute_force(void **state)
{
    int ended = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        tiny t = tiny_new(seed % 2 ? "ref" : "cpu", "llama", true, seed);
        ms_session *s;
        ms_error err;

        must(ms_session_new(&s, t.model, KEYS + LENGTH, &err), &err);
        for (int i = 0; i < PENALTIES; i++) {
            path none = {.count = 0}, best = {.count = 0};

            brute_force(s, &none, LENGTH, PENALTY[i], &best);
            path found = beams(t.model, 256, LENGTH, PENALTY[i]);
            same(&found, &best);
            ended += found.id[found.count - 1] == EOS;
        }
        ms_session_free(s);
        tiny_free(&t);
    }
    assert_in_range(ended, 1, 4 * PENALTIES - 1); /* both kinds of end were seen */
}

static void narrow_beams_equal_a_search_without_cache(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        tiny t = tiny_new(seed % 2 ? "cpu" : "ref", seed % 3 ? "llama" : "original", true, seed);
        ms_session *s;
        ms_error err;

        must(ms_session_new(&s, t.model, KEYS + MOST, &err), &err);
        for (int width = 1; width <= 7; width++)
            for (int i = 0; i < PENALTIES; i++) {
                path best = plain_beams(s, width, MOST, PENALTY[i]);
                path found = beams(t.model, width, MOST, PENALTY[i]);

                same(&found, &best);
            }
        ms_session_free(s);
        tiny_free(&t);
    }
}

/* With equal logits everywhere the lower id wins at every step. */
static void ties_go_to_the_lower_id(void **state)
{
    tiny t = tiny_new("cpu", "llama", true, 1);
    ms_queue q = {.device = t.device};
    ms_error err;

    (void)state;
    ms_tensor flat = t.model->weights.p.flat;
    float *zero = test_calloc(ms_count(flat), sizeof *zero);
    ms_write_floats(&q, flat, zero);
    must(ms_queue_finish(&q, &err), &err);
    for (int width = 1; width <= 4; width++) {
        path found = beams(t.model, width, 3, 0);

        assert_int_equal(found.count, 3);
        for (int i = 0; i < 3; i++) assert_int_equal(found.id[i], 0);
    }
    test_free(zero);
    tiny_free(&t);
}

static int steps;

static bool after_three(void *data)
{
    (void)data;
    return ++steps > 3;
}

static void a_search_can_be_stopped(void **state)
{
    tiny t = tiny_new("cpu", "llama", true, 2);
    ms_beam_options o = {.limit = 20, .length_penalty = 1, .eos = -1, .stop = after_three};
    int32_t id[20];
    ms_beam_result r = {.ids = id};
    ms_engine e;
    ms_error err;

    (void)state;
    must(ms_engine_new(&e, t.model, 4, KEYS + 20, &err), &err);
    must(ms_engine_append(&e, 0, PROMPT, KEYS, &err), &err);
    must(ms_beam_search(&e, KEYS, &o, &r, &err), &err);
    assert_true(r.stopped);
    assert_int_equal(r.count, 3);
    assert_true(r.log_probability < 0);
    steps = 3;
    must(ms_engine_append(&e, 0, PROMPT, KEYS, &err), &err);
    must(ms_beam_search(&e, KEYS, &o, &r, &err), &err);
    assert_true(r.stopped);
    assert_int_equal(r.count, 0);
    ms_engine_free(&e);
    tiny_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wide_beams_equal_brute_force),
        cmocka_unit_test(narrow_beams_equal_a_search_without_cache),
        cmocka_unit_test(ties_go_to_the_lower_id),
        cmocka_unit_test(a_search_can_be_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
