/* beam - beam search: the best of several continuations kept side by side */
#ifndef MS_INFER_BEAM_H
#define MS_INFER_BEAM_H

#include "infer/engine.h"

typedef struct {
    int limit;                /* tokens at most, >= 1 */
    double length_penalty;    /* score = log probability / length^penalty */
    int eos;                  /* ends a hypothesis and counts as one of its tokens; -1: none */
    bool (*stop)(void *data); /* asked before each step; true ends the search */
    void *data;
} ms_beam_options;

typedef struct {
    int32_t *ids; /* lent by the caller: room for limit tokens */
    size_t count;
    double log_probability;
    bool ended;   /* by eos */
    bool stopped; /* by stop: the best so far */
} ms_beam_result;

/* Continues the `keys` tokens that the engine's prompt pass just appended, with e->slots beams.
 *
 * Each step takes the most probable continuations of all live hypotheses (ties: the better
 * parent, then the lower id); one that ends keeps its place among the beams, so every hypothesis
 * competes with the same number of others and one beam is greedy decoding.  The result has the best
 * score of all.
 * Source: Sutskever, Vinyals, Le 2014, section 3.2; length penalty: Wu et al. 2016. */
ms_status ms_beam_search(ms_engine *e, int keys, const ms_beam_options *o, ms_beam_result *out,
                         ms_error *err);

#endif
