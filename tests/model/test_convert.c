/* Models between folders and GGUF files: what goes there and back is the same to the bit; weights
 * that stay as their file has them give the logits of expanded ones; shards are one model. */
#include "../base/scratch.h"

#include "formats/tensors.h"
#include "model/arch.h"
#include "model/convert.h"
#include "model/folder.h"
#include "model/rope.h"

static const char *const PRESET[] = {"gpt2", "llama", "mistral", "qwen2", "qwen3", "smollm"};
enum { PRESETS = COUNT(PRESET), TOKENS = 9, VOCAB = 64 };

typedef struct {
    ms_device *device;
    ms_model *model;
} made;

/* A model with random weights as a folder; widths that every block type takes when `wide`. */
static void make(void **state, const char *device, const char *preset, bool wide)
{
    ms_device_options o = {.threads = 1};
    ms_error err;
    ms_config c;
    made m;

    must(ms_config_preset(&c, preset, &err), &err);
    ms_config_reshape(&c, &(ms_config){.vocab = VOCAB,
                                       .context = 16,
                                       .layers = 2,
                                       .width = wide ? 256 : 32,
                                       .heads = 4,
                                       .ffn = wide ? 512 : 40});
    c.bos = -1;
    c.eos = 3;
    must(ms_device_open(&m.device, device, &o, &err), &err);
    must(ms_model_new(&m.model, m.device, &c, &err), &err);
    must(ms_model_init(m.model, MS_INIT_XAVIER, 11, &err), &err);
    ms_queue q = {.device = m.device};
    must(ms_folder_make(in(state, "model"), &err), &err);
    must(ms_model_save(m.model, &q, in(state, "model"), &err), &err);
    ms_model_free(m.model);
    ms_device_close(m.device);
}

static void to_gguf(const char *from, const char *out, ms_dtype type)
{
    ms_gguf_head *h = ms_gguf_head_new();
    ms_error err;

    must(ms_convert_to_gguf(from, h, out, type, &err), &err);
    ms_gguf_head_free(h);
}

/* Logits of some tokens (test_malloc), by the model as it is opened or as it is loaded. */
static float *logits_by(const char *device, const char *path, bool open, bool bf16, bool *stored)
{
    ms_device_options o = {.threads = 2};
    int32_t id[TOKENS];
    ms_seq seq = {0, TOKENS};
    double *all = test_malloc(TOKENS * VOCAB * sizeof *all);
    float *out = test_malloc(TOKENS * VOCAB * sizeof *out);
    ms_pass_options po = {.batch = 1, .rows = TOKENS, .bf16 = bf16};
    ms_pass *pass;
    ms_error err;
    made m;

    for (int i = 0; i < TOKENS; i++) id[i] = (7 * i + 3) % VOCAB;
    must(ms_device_open(&m.device, device, &o, &err), &err);
    must((open ? ms_model_open : ms_model_load)(&m.model, m.device, path, &err), &err);
    must(ms_pass_new(&pass, m.model, &po, &err), &err);
    must(ms_pass_logits_all(pass, TOKENS, id, &seq, all, &err), &err);
    for (int i = 0; i < TOKENS * VOCAB; i++) out[i] = (float)all[i];
    if (stored) *stored = m.model->stored != NULL;
    test_free(all);
    ms_pass_free(pass);
    ms_model_free(m.model);
    assert_int_equal(m.device->allocated_bytes, 0);
    ms_device_close(m.device);
    return out;
}

static float *logits(const char *device, const char *path, bool open, bool *stored)
{
    return logits_by(device, path, open, false, stored);
}

static double difference(const float *a, const float *b)
{
    double worst = 0;

    for (int i = 0; i < TOKENS * VOCAB; i++) worst = fmax(worst, fabs((double)a[i] - b[i]));
    return worst;
}

static void same_file(const char *a, const char *b)
{
    ms_map x, y;
    ms_error err;

    must(ms_map_open(&x, a, &err), &err);
    must(ms_map_open(&y, b, &err), &err);
    assert_int_equal(x.size_bytes, y.size_bytes);
    assert_memory_equal(x.data, y.data, x.size_bytes);
    ms_map_close(&x);
    ms_map_close(&y);
}

static void there_and_back_is_the_same(void **state)
{
    ms_error err;

    for (int i = 0; i < PRESETS; i++) {
        make(state, "cpu", PRESET[i], false);
        to_gguf(in(state, "model"), in(state, "x.gguf"), MS_F32);
        must(ms_convert_to_folder(in(state, "x.gguf"), in(state, "back"), MS_F32, &err), &err);
        same_file(in(state, "model/model.safetensors"), in(state, "back/model.safetensors"));
        to_gguf(in(state, "back"), in(state, "y.gguf"), MS_F32);
        if (strcmp(PRESET[i], "mistral") != 0) same_file(in(state, "x.gguf"), in(state, "y.gguf"));
    }
}

static void a_gguf_file_gives_the_logits_of_the_folder(void **state)
{
    for (int i = 0; i < PRESETS; i++) {
        bool stored;

        make(state, "ref", PRESET[i], false);
        to_gguf(in(state, "model"), in(state, "x.gguf"), MS_F32);
        float *a = logits("ref", in(state, "model"), false, NULL);
        float *b = logits("ref", in(state, "x.gguf"), true, &stored);
        assert_false(stored); /* nothing is smaller than what the device would make of it */
        assert_memory_equal(a, b, TOKENS * VOCAB * sizeof *a);
        test_free(a);
        test_free(b);
    }
}

static void stored_weights_give_the_logits_of_expanded_ones(void **state)
{
    static const ms_dtype type[] = {MS_F16,  MS_BF16, MS_Q8_0, MS_Q4_0, MS_Q4_1,
                                    MS_Q5_0, MS_Q5_1, MS_Q4_K, MS_Q6_K};
    static const char *const device[] = {"ref", "cpu"};

    for (int d = 0; d < 2; d++)
        for (int p = 0; p < 2; p++) {
            make(state, device[d], PRESET[p], true);
            for (size_t i = 0; i < COUNT(type); i++) {
                bool stored;

                to_gguf(in(state, "model"), in(state, "x.gguf"), type[i]);
                bool bf16 = type[i] == MS_BF16;
                float *a = logits_by(device[d], in(state, "x.gguf"), false, bf16, &stored);
                assert_false(stored);
                float *b = logits(device[d], in(state, "x.gguf"), true, &stored);
                assert_true(stored);
                double worst = difference(a, b), limit = d ? 2e-5 : 1e-6;
                if (ms_rounds_factor(type[i])) limit = 0.08; /* x in int8: as weights in q8_0 */
                if (bf16 && d) limit = 0.02; /* what differs in f32 may fall to either side */
                if (worst > limit)
                    fail_msg("%s %s %s: logits differ by %g", device[d], PRESET[p],
                             ms_dtype_name(type[i]), worst);
                test_free(a);
                test_free(b);
            }
        }
}

/* How far the logits of a type may be from those of f32. */
static void types_lose_what_they_may(void **state)
{
    static const struct {
        ms_dtype type;
        double limit;
    } row[] = {{MS_F16, 0.01}, {MS_BF16, 0.08}, {MS_Q8_0, 0.08}, {MS_Q6_K, 0.25}, {MS_Q5_1, 0.8},
               {MS_Q5_0, 0.8}, {MS_Q4_K, 0.8},  {MS_Q4_1, 0.9},  {MS_Q4_0, 1.0}};

    make(state, "cpu", "llama", true);
    float *exact = logits("cpu", in(state, "model"), false, NULL);
    for (size_t i = 0; i < COUNT(row); i++) {
        to_gguf(in(state, "model"), in(state, "x.gguf"), row[i].type);
        float *got = logits("cpu", in(state, "x.gguf"), true, NULL);
        double worst = difference(exact, got);
        if (!(worst > 0 && worst < row[i].limit))
            fail_msg("%s: logits differ by %g", ms_dtype_name(row[i].type), worst);
        test_free(got);
    }
    test_free(exact);
}

static void folders_of_halves_stay_mapped(void **state)
{
    static const ms_dtype type[] = {MS_F16, MS_BF16};
    ms_error err;

    make(state, "cpu", "qwen2", false);
    for (int i = 0; i < 2; i++) {
        bool stored;

        must(ms_convert_to_folder(in(state, "model"), in(state, "half"), type[i], &err), &err);
        float *a = logits("cpu", in(state, "half"), true, &stored);
        assert_true(stored);
        float *b = logits_by("cpu", in(state, "half"), false, type[i] == MS_BF16, &stored);
        assert_true(difference(a, b) < (type[i] == MS_BF16 ? 0.02 : 2e-5));
        test_free(a);
        test_free(b);
    }
}

static void stored_weights_are_not_trained(void **state)
{
    ms_pass_options po = {.batch = 1, .rows = 4, .train = true};
    ms_pass *pass = NULL;
    ms_error err;
    made m;

    make(state, "cpu", "llama", true);
    to_gguf(in(state, "model"), in(state, "x.gguf"), MS_Q8_0);
    must(ms_device_open(&m.device, "cpu", NULL, &err), &err);
    must(ms_model_open(&m.model, m.device, in(state, "x.gguf"), &err), &err);
    must_fail("train", ms_pass_new(&pass, m.model, &po, &err), MS_UNSUPPORTED, &err, "trained");
    ms_model_free(m.model);
    ms_device_close(m.device);
}

/* -- shards ---------------------------------------------------------------------------------- */

/* Splits the model's file in two, and writes an index. */
static void split(void **state, const char *index)
{
    ms_st_entry part[2][64];
    char map[8192] = "{\"weight_map\":{";
    int count[2] = {0, 0};
    ms_tensors *t;
    ms_error err;

    must(ms_tensors_open_folder(&t, in(state, "model"), &err), &err);
    for (int i = 0; i < ms_tensors_count(t); i++) {
        int which = i % 2;
        size_t used = strlen(map);

        part[which][count[which]++] = *ms_tensors_at(t, i);
        snprintf(map + used, sizeof map - used, "%s\"%s\":\"part-%d.safetensors\"", i ? "," : "",
                 ms_tensors_at(t, i)->name, which);
    }
    strcat(map, "}}");
    for (int w = 0; w < 2; w++)
        must(ms_safetensors_write(
                 in(state, w ? "model/part-1.safetensors" : "model/part-0.safetensors"), part[w],
                 count[w], NULL, NULL, NULL, &err),
             &err);
    ms_tensors_close(t);
    put_text(in(state, "model/model.safetensors.index.json"), index ? index : map);
    remove(in(state, "model/model.safetensors"));
}

static void shards_are_one_model(void **state)
{
    make(state, "ref", "llama", false);
    float *a = logits("ref", in(state, "model"), false, NULL);
    split(state, NULL);
    float *b = logits("ref", in(state, "model"), false, NULL);
    assert_memory_equal(a, b, TOKENS * VOCAB * sizeof *a);
    test_free(a);
    test_free(b);
}

static void bad_indices_are_refused(void **state)
{
    static const struct {
        const char *index;
        ms_status status;
        const char *text;
    } row[] = {
        {"", MS_FORMAT, "JSON"},
        {"[]", MS_FORMAT, "JSON object"},
        {"{}", MS_FORMAT, "\"weight_map\": expected an object"},
        {"{\"weight_map\":[]}", MS_FORMAT, "\"weight_map\": expected an object"},
        {"{\"weight_map\":{}}", MS_FORMAT, "is empty"},
        {"{\"weight_map\":{\"a\":1}}", MS_FORMAT, "\"a\": expected the name of a file"},
        {"{\"weight_map\":{\"a\":\"\"}}", MS_FORMAT, "a file beside"},
        {"{\"weight_map\":{\"a\":\"..\"}}", MS_FORMAT, "a file beside"},
        {"{\"weight_map\":{\"a\":\"../part-0.safetensors\"}}", MS_FORMAT, "a file beside"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", MS_FORMAT, "a file beside"},
        {"{\"weight_map\":{\"a\":\"nowhere.safetensors\"}}", MS_IO, "No such file"},
        {"{\"weight_map\":{\"a\":\"config.json\"}}", MS_FORMAT, "header"},
        {"{\"weight_map\":{\"a\":\"part-0.safetensors\"}}", MS_FORMAT, "tensor a is not in"},
        {"{\"weight_map\":{\"model.embed_tokens.weight\":\"part-0.safetensors\"}}", MS_FORMAT,
         "1 tensors, their files have"},
        {"{\"weight_map\":{\"model.embed_tokens.weight\":\"part-1.safetensors\"}}", MS_FORMAT,
         "is not in part-1"},
    };
    ms_tensors *t = NULL;
    ms_error err;

    make(state, "cpu", "llama", false);
    split(state, NULL);
    for (size_t i = 0; i < COUNT(row); i++) {
        put_text(in(state, "model/model.safetensors.index.json"), row[i].index);
        must_fail(row[i].index, ms_tensors_open_folder(&t, in(state, "model"), &err), row[i].status,
                  &err, row[i].text);
    }
}

/* -- what cannot be converted ------------------------------------------------------------------ */

static void what_a_format_lacks_is_refused(void **state)
{
    ms_gguf_head *h = ms_gguf_head_new();
    ms_error err;

    make(state, "cpu", "nano", false);
    must_fail("nano", ms_convert_to_gguf(in(state, "model"), h, in(state, "x.gguf"), MS_F32, &err),
              MS_UNSUPPORTED, &err, "GGUF has no family for nano");
    make(state, "cpu", "llama", false);
    must_fail("q2_k", ms_convert_to_gguf(in(state, "model"), h, in(state, "x.gguf"), MS_Q2_K, &err),
              MS_UNSUPPORTED, &err, "type q2_k cannot be written");
    must_fail("q8_0", ms_convert_to_folder(in(state, "model"), in(state, "y"), MS_Q8_0, &err),
              MS_UNSUPPORTED, &err, "only f32, f16 and bf16");
    must_fail("nowhere", ms_convert_to_folder(in(state, "no"), in(state, "y"), MS_F32, &err), MS_IO,
              &err, "is not a model folder");
    ms_gguf_head_free(h);
}

/* -- rotary positions -------------------------------------------------------------------------- */

/* Against values of transformers 4.44 (Llama 3.1: theta 500000, D 128; yarn: theta 10000, D 64). */
static void scaled_frequencies_are_those_of_transformers(void **state)
{
    ms_config c = {.head_dim = 128, .rope_theta = 500000, .context = 131072};
    double f[64];

    (void)state;
    c.rope = (ms_rope_scaling){MS_ROPE_LLAMA3, 8, 8192, 1, 4, 0, 0, 0};
    assert_true(ms_rope_frequencies(&c, f) == 1);
    assert_true(fabs(f[0] - 1) < 1e-12);                                  /* a short wave is left */
    assert_true(fabs(f[63] * 8 / pow(500000, -126.0 / 128) - 1) < 1e-12); /* a long one stretched */
    for (int j = 1; j < 64; j++) assert_true(f[j] < f[j - 1]);
    c = (ms_config){.head_dim = 64, .rope_theta = 10000, .context = 8192};
    c.rope = (ms_rope_scaling){MS_ROPE_YARN, 4, 2048, 0, 0, 32, 1, 0};
    assert_true(fabs(ms_rope_frequencies(&c, f) - (0.1 * log(4) + 1)) < 1e-12);
    assert_true(f[0] == 1);
    assert_true(fabs(f[31] * 4 / pow(10000, -62.0 / 64) - 1) < 1e-12);
    c.rope = (ms_rope_scaling){.kind = MS_ROPE_LINEAR, .factor = 2};
    ms_rope_frequencies(&c, f);
    assert_true(f[0] == 0.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(there_and_back_is_the_same),
        SCRATCH_TEST(a_gguf_file_gives_the_logits_of_the_folder),
        SCRATCH_TEST(stored_weights_give_the_logits_of_expanded_ones),
        SCRATCH_TEST(types_lose_what_they_may),
        SCRATCH_TEST(folders_of_halves_stay_mapped),
        SCRATCH_TEST(stored_weights_are_not_trained),
        SCRATCH_TEST(shards_are_one_model),
        SCRATCH_TEST(bad_indices_are_refused),
        SCRATCH_TEST(what_a_format_lacks_is_refused),
        cmocka_unit_test(scaled_frequencies_are_those_of_transformers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
