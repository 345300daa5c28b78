/* model - weights on a device; passes over them: forward, loss, backward, decode with a cache
 *
 * A model is weights and tables, shared by any number of passes.  A pass owns what one computation
 * needs besides: saved activations, scratch, key-value cache, gradients, all planned before its
 * first step; nothing allocates in a step.  One pass is used by one thread at a time, and passes of
 * one device do not run at the same time. */
#ifndef MS_MODEL_MODEL_H
#define MS_MODEL_MODEL_H

#include "model/config.h"
#include "model/params.h"

/* Rows of one weight as a file has them: up to three tensors, of types of their own. */
typedef struct {
    ms_tensor part[3];
} ms_weight;
typedef struct {
    ms_weight wqkv, wo, w_up, w_down;
} ms_stored_layer;

typedef struct {
    ms_config config;
    ms_device *device;       /* lent */
    ms_params_block weights; /* of a stored model: vectors and learned positions only */

    /* A stored model, for inference only: matrices as the file has them, where it has them or kept
     * by the device (ms_device_keep), all but embed. */
    ms_stored_layer *stored; /* (L); NULL: all weights are in the block above */
    ms_tensor embed, head;   /* (V, C); head absent: embed is read */
    void *kept;              /* memory of the kept ones; NULL: none are */
    size_t kept_bytes;
    void *file; /* what stays mapped, and who closes it */
    void (*close)(void *file);
    ms_tensor *copy; /* (copies) rows that had to be put in another order, on the device */
    int copies;

    double *frequency; /* (D/2) of rotary positions (rope.h) */
    double amplitude;
    ms_dtype cache;     /* of the keys and values that passes keep (ms_model_set_cache) */
    ms_tensor rot;      /* (context, D/2, 2) cos and sin; with rotary positions */
    ms_tensor sinusoid; /* (context, C); with sinusoidal positions */
    void *tables;       /* block of the two */
    size_t tables_bytes;
} ms_model;

/* Weights are zeros until initialised or loaded.  The device outlives the model. */
ms_status ms_model_new(ms_model **out, ms_device *d, const ms_config *c, ms_error *err);
/* The same without memory for matrices: the caller fills stored, embed and head. */
ms_status ms_model_new_stored(ms_model **out, ms_device *d, const ms_config *c, ms_error *err);
/* Fills the tables of positions again, from other frequencies. */
ms_status ms_model_tables(ms_model *m, ms_error *err);
void ms_model_free(ms_model *m);

/* The type in which passes made from now on keep keys and values: "f32" (as the device computes;
 * what a new model has), "f16", "bf16", or "q8_0", which needs heads of whole blocks of 32. */
ms_status ms_model_set_cache(ms_model *m, const char *type, ms_error *err);

/* Normal: deviation 0.02, matrices in front of a residual add divided by sqrt(2 L) (GPT-2).
 * Xavier: uniform in +-sqrt(6 / (fan in + fan out)) (Glorot & Bengio 2010).
 * The same seed gives the same weights on every device. */
typedef enum { MS_INIT_NORMAL, MS_INIT_XAVIER } ms_init;
ms_status ms_model_init(ms_model *m, ms_init kind, uint64_t seed, ms_error *err);

typedef struct {
    int batch;      /* B: sequences */
    int rows;       /* largest T of one pass */
    int keys;       /* S: rows of the cache, of the model's type for it; 0: the same as rows */
    bool train;     /* gradients and saved activations */
    bool recompute; /* keep only the input of each layer, recompute the rest in backward */
    bool bf16;      /* products with weights round their factors to bf16 (ops/device.h); those with
                       stored weights of bf16 do so anyway where the device can */
    float dropout;  /* embedding, residual and attention dropout of ms_pass_train */
    int head_rows;  /* rows of logits at a time in loss; 0: chosen so that they take some MB */
} ms_pass_options;

typedef struct ms_pass ms_pass;

/* MS_INPUT when rows, keys or batch do not fit the model's context, MS_UNSUPPORTED when the device
 * has no products of bf16. */
ms_status ms_pass_new(ms_pass **out, ms_model *m, const ms_pass_options *o, ms_error *err);
void ms_pass_free(ms_pass *p);

/* Bytes the pass holds on the device, by kind. */
typedef struct {
    size_t gradients, saved, scratch, cache;
} ms_pass_memory;
ms_pass_memory ms_pass_bytes(const ms_pass *p);

ms_queue *ms_pass_queue(ms_pass *p);
ms_params *ms_pass_gradients(ms_pass *p); /* train passes; NULL otherwise */

/* Forward and backward over B full sequences of `rows` tokens from position 0; gradients are added.
 * id and target: (B, T) on the host; target -1 is ignored.  step: seed, counter, grad_scale are
 * read. *loss_sum: sum of the losses of the targets that count, not averaged. Ids out of range:
 * MS_INPUT with the position. */
ms_status ms_pass_train(ms_pass *p, const int32_t *id, const int32_t *target, const ms_step *step,
                        double *loss_sum, ms_error *err);

/* Uploads a step block's values for ops that the caller gives to the pass's queue (adamw). */
void ms_pass_set_step(ms_pass *p, const ms_step *step);

/* Forward only, no dropout: row_loss (B*T) gets the loss of each row, 0 where ignored.
 * length (B): valid rows of each sequence, NULL: all. */
ms_status ms_pass_loss(ms_pass *p, int rows, const int32_t *id, const int32_t *target,
                       const int32_t *length, float *row_loss, ms_error *err);

/* Runs `rows` tokens of each sequence behind what is in the cache and appends them: sequence b
 * takes seq[b].length tokens (0 .. rows) of id[b*rows ...] at positions seq[b].start ... .
 * The logits after the last token of each sequence stay on the device for the functions below. */
ms_status ms_pass_forward(ms_pass *p, int rows, const int32_t *id, const ms_seq *seq,
                          ms_error *err);

/* Logits (B, V) of the last token of each sequence; a row of a sequence with length 0 is
 * meaningless. */
ms_status ms_pass_logits(ms_pass *p, float *logits, ms_error *err);

/* Draws the next token of each sequence from those logits (ops.h, sample). */
ms_status ms_pass_sample(ms_pass *p, const ms_how *how, int32_t *id, ms_error *err);

/* All rows: logits (B, rows, V) as doubles, for tests and conversions; like ms_pass_forward
 * otherwise. */
ms_status ms_pass_logits_all(ms_pass *p, int rows, const int32_t *id, const ms_seq *seq,
                             double *logits, ms_error *err);

/* Copies the first `keys` cached rows of sequence `from` to sequence `to` in every layer (beams).
 */
ms_status ms_pass_copy_cache(ms_pass *p, int from, int to, int keys, ms_error *err);

/* The same from sequence `from` of another pass over the same model: a prompt that was run apart
 * takes its place in a batch. */
ms_status ms_pass_take_cache(ms_pass *p, int to, const ms_pass *source, int from, int keys,
                             ms_error *err);

/* Name of the first parameter (or gradient) tensor that holds a NaN or Inf; false when all are
 * finite. */
bool ms_params_nonfinite(ms_queue *q, ms_params *p, const ms_config *c, char name[40]);

#endif
