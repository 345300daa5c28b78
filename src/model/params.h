/* params - the lists of parameters: they declare, size, place, name and initialise
 *
 * All parameters of a model lie in one flat tensor, matrices (which decay) first, then vectors:
 *
 *   | embed | pos | head | layer 0: wqkv wo w_up w_down | layer 1 ... | norms and biases |
 *   0                                                                 decayed          total
 *
 * Gradients and moments use the same layout, so one optimizer pass covers all (ops.h, adamw).
 * Gaps between tensors are zeros and stay zeros. */
#ifndef MS_MODEL_PARAMS_H
#define MS_MODEL_PARAMS_H

#include "base/arena.h"
#include "model/config.h"

/* How a tensor starts: normal or Xavier values, those scaled down on the residual stream, one,
 * zero. */
typedef enum { MS_START_NORMAL, MS_START_RESIDUAL, MS_START_ONE, MS_START_ZERO } ms_start;

/* With c the config, U = F, or 2F for SwiGLU (gate rows, then up rows), Q = (H + 2K) D:
 *    field      present when                     start     shape */
#define MS_TOP_MATRICES(X)                                                                         \
    X(embed, true, NORMAL, c->vocab, c->width)                                                     \
    X(pos, c->positions == MS_POS_LEARNED, NORMAL, c->context, c->width)                           \
    X(head, !c->tied, NORMAL, c->vocab, c->width)
#define MS_TOP_VECTORS(X)                                                                          \
    X(norm_w, c->norm_weights, ONE, c->width)                                                      \
    X(norm_b, c->norm_weights && !c->rms, ZERO, c->width)                                          \
    X(head_b, c->head_bias, ZERO, c->vocab)
#define MS_LAYER_MATRICES(X)                                                                       \
    X(wqkv, true, NORMAL, Q, c->width)                                                             \
    X(wo, true, RESIDUAL, c->width, c->heads * c->head_dim)                                        \
    X(w_up, true, NORMAL, U, c->width)                                                             \
    X(w_down, true, RESIDUAL, c->width, c->ffn)
#define MS_LAYER_VECTORS(X)                                                                        \
    X(norm1_w, c->norm_weights, ONE, c->width)                                                     \
    X(norm1_b, c->norm_weights && !c->rms, ZERO, c->width)                                         \
    X(bqkv, c->qkv_bias, ZERO, Q)                                                                  \
    X(q_norm, c->qk_norm && c->norm_weights, ONE, c->head_dim)                                     \
    X(k_norm, c->qk_norm && c->norm_weights, ONE, c->head_dim)                                     \
    X(bo, c->bias, ZERO, c->width)                                                                 \
    X(norm2_w, c->norm_weights, ONE, c->width)                                                     \
    X(norm2_b, c->norm_weights && !c->rms, ZERO, c->width)                                         \
    X(b_up, c->bias, ZERO, U)                                                                      \
    X(b_down, c->bias, ZERO, c->width)

#define MS_PARAM_FIELD(name, present, start, ...) ms_tensor name;
typedef struct {
    MS_LAYER_MATRICES(MS_PARAM_FIELD)
    MS_LAYER_VECTORS(MS_PARAM_FIELD)
} ms_layer;

typedef struct {
    MS_TOP_MATRICES(MS_PARAM_FIELD)
    MS_TOP_VECTORS(MS_PARAM_FIELD)
    ms_layer *layer; /* L of them, owned */
    int layers;
    ms_tensor flat; /* (P) everything */
    size_t decayed; /* elements of flat that decay */
} ms_params;

/* Lays the parameters out in the arena (dry or real).  p->layer must hold c->layers structs. */
void ms_params_place(ms_params *p, const ms_config *c, ms_dtype real, ms_arena *a);
/* The same without matrices, but for learned positions. */
void ms_params_place_vectors(ms_params *p, const ms_config *c, ms_dtype real, ms_arena *a);

/* The i-th present tensor in the order of the file above; its name ("wqkv.3", "embed") goes to name
 * (at least 40 bytes).  NULL past the end. */
ms_tensor *ms_params_get(ms_params *p, const ms_config *c, int i, char *name, ms_start *start);

/* A params struct on its own device memory; for weights, gradients and moments alike. */
typedef struct {
    ms_params p;
    void *block;
    size_t block_bytes;
    ms_arena *arena; /* kept for its guards in debug builds */
} ms_params_block;
/* The shapes alone: no device memory, no data. */
ms_status ms_params_block_plan(ms_params_block *out, ms_device *d, const ms_config *c,
                               ms_error *err);
ms_status ms_params_block_new(ms_params_block *out, ms_device *d, const ms_config *c,
                              ms_error *err);
/* Vectors alone: what a stored model keeps on the device. */
ms_status ms_params_block_vectors(ms_params_block *out, ms_device *d, const ms_config *c,
                                  ms_error *err);
void ms_params_block_free(ms_params_block *b, ms_device *d); /* accepts a zeroed one */

#endif
