/* tiny - small models with random weights for the tests of infer/ */
#include "tiny.h"

#include <math.h>
#include <string.h>

void must(ms_status status, const ms_error *err)
{
    if (status) fail_msg("%s: %s", ms_status_text(status), err->message);
}

static void make_tokenizer(tiny *t, bool letters, ms_error *err)
{
    ms_chars *chars;

    if (!letters) {
        must(ms_tokenizer_bytes(&t->tokenizer, err), err);
        return;
    }
    must(ms_chars_new(&chars, err), err);
    must(ms_chars_add(chars, "abcde", TINY_VOCAB, err), err);
    must(ms_chars_finish(chars, &t->tokenizer, err), err);
    assert_int_equal(ms_tokenizer_vocab(t->tokenizer), TINY_VOCAB);
}

/* Initial weights make nearly flat distributions; the tests need some that have a shape. */
static void sharpen(ms_model *m, float factor, ms_error *err)
{
    ms_queue q = {.device = m->device};
    ms_params *p = &m->weights.p;
    ms_tensor t = ms_present(p->head) ? p->head : p->embed;
    float *value = test_malloc(ms_count(t) * sizeof *value);

    ms_read_floats(&q, t, value);
    for (size_t i = 0; i < ms_count(t); i++) value[i] *= factor;
    ms_write_floats(&q, t, value);
    must(ms_queue_finish(&q, err), err);
    test_free(value);
}

tiny tiny_new(const char *device, const char *preset, bool letters, uint64_t seed)
{
    ms_device_options o = {.threads = 2};
    ms_config c;
    ms_error err;
    tiny t = {0};

    make_tokenizer(&t, letters, &err);
    must(ms_device_open(&t.device, device, &o, &err), &err);
    must(ms_config_preset(&c, preset, &err), &err);
    c.vocab = ms_tokenizer_vocab(t.tokenizer);
    c.context = 320;
    c.layers = 2;
    c.width = 16;
    c.heads = 4;
    c.kv_heads = strcmp(preset, "llama") == 0 ? 2 : 4;
    if (strcmp(preset, "gpt2") == 0) c.head_dim = 0;
    c.ffn = 24;
    c.bos = c.eos = -1;
    ms_config_derive(&c);
    must(ms_model_new(&t.model, t.device, &c, &err), &err);
    must(ms_model_init(t.model, MS_INIT_XAVIER, seed, &err), &err);
    sharpen(t.model, 3, &err);
    return t;
}

void tiny_free(tiny *t)
{
    ms_model_free(t->model);
    ms_tokenizer_free(t->tokenizer);
    ms_device_close(t->device);
    *t = (tiny){0};
}

void log_softmax(const float *z, int vocab, double *out)
{
    double top = z[0], sum = 0;

    for (int i = 1; i < vocab; i++) top = z[i] > top ? z[i] : top;
    for (int i = 0; i < vocab; i++) sum += exp(z[i] - top);
    for (int i = 0; i < vocab; i++) out[i] = z[i] - top - log(sum);
}
