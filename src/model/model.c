/* model - makes a model: weights, their initial values, tables of positions */
#include "model/model.h"

#include "base/rng.h"
#include "model/rope.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* -- tables of positions ----------------------------------------------------------------------- */

/* cos and sin of the angles of a position, in double, then rounded. */
static void fill_rotary(const ms_model *m, double *row, int position)
{
    for (int j = 0; j < m->config.head_dim / 2; j++) {
        double angle = position * m->frequency[j];

        row[2 * j] = m->amplitude * cos(angle);
        row[2 * j + 1] = m->amplitude * sin(angle);
    }
}

/* Vaswani et al. 2017, section 3.5: sine in even columns, cosine in odd ones. */
static void fill_sinusoid(const ms_config *c, double *row, int position)
{
    for (int j = 0; j < c->width; j++) {
        double angle = position * pow(10000.0, -(double)(j - j % 2) / c->width);

        row[j] = j % 2 ? cos(angle) : sin(angle);
    }
}

ms_status ms_model_tables(ms_model *m, ms_error *err)
{
    const ms_config *c = &m->config;
    bool rotary = c->positions == MS_POS_ROTARY;
    int columns = rotary ? c->head_dim / 2 * 2 : c->width;
    size_t bytes = (size_t)c->context * (size_t)columns * ms_dtype_bytes(m->device->real);
    ms_queue q = {.device = m->device};
    double *row;

    if (c->positions == MS_POS_LEARNED) return MS_OK;
    if (!m->tables) MS_TRY(ms_device_alloc(m->device, bytes, &m->tables, err));
    m->tables_bytes = bytes;
    row = calloc((size_t)columns, sizeof *row);
    if (!row) return ms_fail(err, MS_MEMORY, "out of memory for a table of positions");
    ms_tensor table = MS_TENSOR(m->tables, m->device->real, c->context, columns);
    for (int p = 0; p < c->context; p++) {
        if (rotary)
            fill_rotary(m, row, p);
        else
            fill_sinusoid(c, row, p);
        ms_write_reals(&q, ms_rows(table, p, 1), row);
    }
    free(row);
    if (rotary)
        m->rot = MS_VIEW(table, c->context, c->head_dim / 2, 2);
    else
        m->sinusoid = table;
    return ms_queue_finish(&q, err);
}

/* -- life of a model --------------------------------------------------------------------------- */

/* All but the memory of the weights. */
static ms_status start(ms_model **out, ms_device *d, const ms_config *c, ms_error *err)
{
    ms_model *m;

    MS_TRY(ms_config_check(c, err));
    m = calloc(1, sizeof *m);
    if (!m) return ms_fail(err, MS_MEMORY, "out of memory for a model");
    m->config = *c;
    m->device = d;
    m->cache = d->real;
    m->amplitude = 1;
    *out = m;
    if (c->positions != MS_POS_ROTARY) return MS_OK;
    m->frequency = malloc((size_t)c->head_dim * sizeof *m->frequency);
    if (!m->frequency) return ms_fail(err, MS_MEMORY, "out of memory for a model");
    m->amplitude = ms_rope_frequencies(c, m->frequency);
    return MS_OK;
}

static ms_status finish(ms_model **out, ms_model *m, ms_status s)
{
    if (s)
        ms_model_free(m);
    else
        *out = m;
    return s;
}

ms_status ms_model_new(ms_model **out, ms_device *d, const ms_config *c, ms_error *err)
{
    ms_model *m = NULL;
    ms_status s = start(&m, d, c, err);

    if (!s) s = ms_params_block_new(&m->weights, d, c, err);
    if (!s) s = ms_model_tables(m, err);
    return finish(out, m, s);
}

ms_status ms_model_new_stored(ms_model **out, ms_device *d, const ms_config *c, ms_error *err)
{
    ms_model *m = NULL;
    ms_status s = start(&m, d, c, err);

    if (!s) s = ms_params_block_vectors(&m->weights, d, c, err);
    if (!s) s = ms_model_tables(m, err);
    if (!s) {
        m->stored = calloc((size_t)c->layers, sizeof *m->stored);
        if (!m->stored) s = ms_fail(err, MS_MEMORY, "out of memory for %d layers", c->layers);
    }
    return finish(out, m, s);
}

void ms_model_free(ms_model *m)
{
    if (!m) return;
    ms_params_block_free(&m->weights, m->device);
    ms_device_free(m->device, m->tables, m->tables_bytes);
    for (int i = 0; i < m->copies; i++)
        ms_device_free(m->device, m->copy[i].data, ms_tensor_bytes(m->copy[i]));
    ms_device_free(m->device, m->kept, m->kept_bytes);
    free(m->copy);
    free(m->stored);
    free(m->frequency);
    if (m->close) m->close(m->file);
    free(m);
}

ms_status ms_model_set_cache(ms_model *m, const char *type, ms_error *err)
{
    static const ms_dtype known[] = {MS_F16, MS_BF16, MS_Q8_0};

    m->cache = m->device->real;
    if (!strcmp(type, "f32")) return MS_OK;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(type, ms_dtype_name(known[i]))) {
            int D = m->config.head_dim, block = ms_dtype_block(known[i]);

            if (D % block != 0)
                return ms_fail(
                    err, MS_INPUT,
                    "cache type %s: heads of width %d are no multiple of its block of %d", type, D,
                    block);
            m->cache = known[i];
            return MS_OK;
        }
    return ms_fail(err, MS_INPUT, "cache type: expected f32, f16, bf16 or q8_0, got %s", type);
}

/* -- initial values ---------------------------------------------------------------------------- */

/* Half-width of the uniform distribution of Glorot & Bengio 2010, eq. 16. */
static double xavier_limit(ms_tensor t)
{
    return sqrt(6.0 / ((double)t.dim[0] + t.dim[1]));
}

static double start_value(ms_rng *r, ms_init kind, ms_start start, ms_tensor t, int layers)
{
    switch (start) {
    case MS_START_ONE: return 1;
    case MS_START_ZERO: return 0;
    case MS_START_NORMAL:
    case MS_START_RESIDUAL:
        if (kind == MS_INIT_XAVIER) return xavier_limit(t) * (2 * ms_rng_uniform(r) - 1);
        return ms_rng_normal(r) * (start == MS_START_RESIDUAL ? 0.02 / sqrt(2.0 * layers) : 0.02);
    }
    return 0;
}

ms_status ms_model_init(ms_model *m, ms_init kind, uint64_t seed, ms_error *err)
{
    enum { CHUNK = 4096 };
    ms_queue q = {.device = m->device};
    char name[40];
    ms_start start;
    ms_tensor *t;
    double *value = malloc(CHUNK * sizeof *value);

    if (!value) return ms_fail(err, MS_MEMORY, "out of memory for initial values");
    for (int i = 0; (t = ms_params_get(&m->weights.p, &m->config, i, name, &start)); i++) {
        ms_rng r = ms_rng_new(seed, (uint32_t)i, MS_SITE_INIT);
        size_t n = ms_count(*t);

        for (size_t at = 0; at < n; at += CHUNK) {
            int k = (int)(n - at < CHUNK ? n - at : CHUNK);
            char *data = (char *)t->data + at * ms_dtype_bytes(t->dtype);

            for (int j = 0; j < k; j++) /* rounded to float: every device starts from the same */
                value[j] = (float)start_value(&r, kind, start, *t, m->config.layers);
            ms_write_reals(&q, MS_TENSOR(data, t->dtype, k), value);
        }
    }
    free(value);
    return ms_queue_finish(&q, err);
}
