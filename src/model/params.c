/* params - places, names and owns the parameters of the lists in params.h */
#include "model/params.h"

#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows of the packed projections. */
#define MS_PACKED_SIZES                                                                            \
    const int Q = (c->heads + 2 * c->kv_heads) * c->head_dim;                                      \
    const int U = c->act == MS_ACT_SWIGLU ? 2 * c->ffn : c->ffn;

static void place_matrices(ms_params *p, const ms_config *c, ms_dtype real, ms_arena *a)
{
    MS_PACKED_SIZES
    char name[40];

#define PLACE_TOP(field, present, start, ...)                                                      \
    p->field = (present) ? MS_TAKE(a, #field, real, __VA_ARGS__) : MS_ABSENT;
#define PLACE_LAYER(field, present, start, ...)                                                    \
    snprintf(name, sizeof name, "%s.%d", #field, l);                                               \
    p->layer[l].field = (present) ? MS_TAKE(a, name, real, __VA_ARGS__) : MS_ABSENT;

    MS_TOP_MATRICES(PLACE_TOP)
    for (int l = 0; l < c->layers; l++) {
        MS_LAYER_MATRICES(PLACE_LAYER)
    }
}

static void place_vectors(ms_params *p, const ms_config *c, ms_dtype real, ms_arena *a)
{
    MS_PACKED_SIZES
    char name[40];

    MS_TOP_VECTORS(PLACE_TOP)
    for (int l = 0; l < c->layers; l++) {
        MS_LAYER_VECTORS(PLACE_LAYER)
    }
}

void ms_params_place(ms_params *p, const ms_config *c, ms_dtype real, ms_arena *a)
{
    size_t size = ms_dtype_bytes(real);
    size_t first = a->used_bytes, decayed;

    p->layers = c->layers;
    place_matrices(p, c, real, a);
    decayed = a->used_bytes - first;
    place_vectors(p, c, real, a);
    p->decayed = decayed / size;
    p->flat =
        MS_TENSOR(a->base ? a->base + first : NULL, real, (int)((a->used_bytes - first) / size));
}

void ms_params_place_vectors(ms_params *p, const ms_config *c, ms_dtype real, ms_arena *a)
{
    p->layers = c->layers;
    if (c->positions == MS_POS_LEARNED) p->pos = MS_TAKE(a, "pos", real, c->context, c->width);
    place_vectors(p, c, real, a);
}

ms_tensor *ms_params_get(ms_params *p, const ms_config *c, int i, char *name, ms_start *start)
{
#define GET_TOP(field, present, how, ...)                                                          \
    if ((present) && i-- == 0) {                                                                   \
        snprintf(name, 40, "%s", #field);                                                          \
        *start = MS_START_##how;                                                                   \
        return &p->field;                                                                          \
    }
#define GET_LAYER(field, present, how, ...)                                                        \
    if ((present) && i-- == 0) {                                                                   \
        snprintf(name, 40, "%s.%d", #field, l);                                                    \
        *start = MS_START_##how;                                                                   \
        return &p->layer[l].field;                                                                 \
    }
    MS_TOP_MATRICES(GET_TOP)
    for (int l = 0; l < c->layers; l++) {
        MS_LAYER_MATRICES(GET_LAYER)
    }
    MS_TOP_VECTORS(GET_TOP)
    for (int l = 0; l < c->layers; l++) {
        MS_LAYER_VECTORS(GET_LAYER)
    }
    return NULL;
}

typedef void place_fn(ms_params *p, const ms_config *c, ms_dtype real, ms_arena *a);

static ms_status plan(ms_params_block *out, ms_device *d, const ms_config *c, place_fn *place,
                      ms_error *err)
{
    ms_params_block b = {0};

    b.p.layer = calloc((size_t)c->layers, sizeof *b.p.layer);
    b.arena = calloc(1, sizeof *b.arena);
    if (!b.p.layer || !b.arena) {
        ms_params_block_free(&b, d);
        return ms_fail(err, MS_MEMORY, "out of memory for a list of %d layers", c->layers);
    }
    ms_arena_init(b.arena, NULL, 0, d->host_memory, 0);
    place(&b.p, c, d->real, b.arena);
    *out = b;
    return MS_OK;
}

static ms_status make(ms_params_block *out, ms_device *d, const ms_config *c, place_fn *place,
                      ms_error *err)
{
    ms_params_block b;
    size_t bytes;
    ms_status s;

    MS_TRY(plan(&b, d, c, place, err));
    bytes = b.arena->used_bytes;
    s = ms_device_alloc(d, bytes, &b.block, err);
    if (s) {
        ms_params_block_free(&b, d);
        return s;
    }
    b.block_bytes = bytes;
    ms_arena_init(b.arena, b.block, bytes, d->host_memory, 0);
    place(&b.p, c, d->real, b.arena);
    *out = b;
    return MS_OK;
}

ms_status ms_params_block_plan(ms_params_block *out, ms_device *d, const ms_config *c,
                               ms_error *err)
{
    return plan(out, d, c, ms_params_place, err);
}

ms_status ms_params_block_new(ms_params_block *out, ms_device *d, const ms_config *c, ms_error *err)
{
    return make(out, d, c, ms_params_place, err);
}

ms_status ms_params_block_vectors(ms_params_block *out, ms_device *d, const ms_config *c,
                                  ms_error *err)
{
    return make(out, d, c, ms_params_place_vectors, err);
}

void ms_params_block_free(ms_params_block *b, ms_device *d)
{
    ms_device_free(d, b->block, b->block_bytes);
    free(b->p.layer);
    free(b->arena);
    *b = (ms_params_block){0};
}

bool ms_params_nonfinite(ms_queue *q, ms_params *p, const ms_config *c, char name[40])
{
    enum { CHUNK = 4096 };
    float value[CHUNK];
    ms_start start;
    ms_tensor *t;

    for (int i = 0; (t = ms_params_get(p, c, i, name, &start)); i++) {
        size_t n = ms_count(*t);

        for (size_t at = 0; at < n; at += CHUNK) {
            int m = (int)(n - at < CHUNK ? n - at : CHUNK);
            char *data = (char *)t->data + at * ms_dtype_bytes(t->dtype);

            ms_read_floats(q, MS_TENSOR(data, t->dtype, m), value);
            for (int j = 0; j < m; j++)
                if (!isfinite(value[j])) return true;
        }
    }
    return false;
}
