/* config.json: what is written is read back; what does not fit is refused with the name of the key;
 * no cut of a file does harm.  Counts of parameters against the two figures of the log. */
#include "model/arch.h"

#include <cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const PRESET[] = {"original", "gpt2",  "llama", "mistral",
                                     "qwen2",    "qwen3", "nano",  "smollm"};

enum { PRESETS = sizeof PRESET / sizeof *PRESET };

static void must(ms_status status, const ms_error *err)
{
    if (status) fail_msg("%s: %s", ms_status_text(status), err->message);
}

static ms_config preset(const char *name)
{
    ms_config c;
    ms_error err;

    must(ms_config_preset(&c, name, &err), &err);
    c.vocab = 61;
    return c;
}

/* -- counting -------------------------------------------------------------------------------- */

static void parameters_are_those_of_the_log(void **state)
{
    static const struct {
        int vocab, width, layers, heads, ffn;
        size_t parameters;
    } row[] = {{100, 64, 2, 4, 256, 112996}, {1000, 256, 4, 8, 1024, 3672552}};

    (void)state;
    for (int i = 0; i < 2; i++) {
        ms_config c = preset("original");

        ms_config_reshape(&c, &(ms_config){.vocab = row[i].vocab,
                                           .width = row[i].width,
                                           .layers = row[i].layers,
                                           .heads = row[i].heads,
                                           .ffn = row[i].ffn});
        assert_int_equal(ms_config_parameters(&c), row[i].parameters);
        c.context = 100000; /* the table of sinusoids is no parameter */
        assert_int_equal(ms_config_parameters(&c), row[i].parameters);
    }
}

/* By hand: V = 10, C = 8, L = 1, H = 2, K = 1, D = 4, F = 12, context 6. */
static void parameters_are_those_counted_by_hand(void **state)
{
    static const struct {
        const char *preset;
        size_t parameters;
    } row[] = {
        /* embed V C, head V C; wq 64, wk 32, wv 32, wo 64; 3 FFN matrices 96; 3 norms of 8 */
        {"llama", 2 * 80 + 192 + 3 * 96 + 3 * 8},
        {"smollm", 80 + 192 + 3 * 96 + 3 * 8},
        {"qwen2", 2 * 80 + 192 + 3 * 96 + 3 * 8 + 16}, /* biases of q 8, k 4, v 4 */
        {"qwen3", 2 * 80 + 192 + 3 * 96 + 3 * 8 + 8},  /* norms of a head of q and of k */
        {"nano", 2 * 80 + 192 + 2 * 96},               /* norms without weights */
        {"gpt2", 80 + 6 * 8 + 256 + 2 * 96 + 3 * 16 + 24 + 8 + 12 + 8}, /* K = H = 2 */
    };

    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        ms_config c = preset(row[i].preset);
        bool gpt2 = !strcmp(row[i].preset, "gpt2");

        ms_config_reshape(&c, &(ms_config){.vocab = 10,
                                           .width = 8,
                                           .layers = 1,
                                           .heads = 2,
                                           .kv_heads = gpt2 ? 2 : 1,
                                           .head_dim = 4,
                                           .ffn = 12,
                                           .context = 6});
        if (ms_config_parameters(&c) != row[i].parameters)
            fail_msg("%s: %zu parameters, by hand %zu", row[i].preset, ms_config_parameters(&c),
                     row[i].parameters);
    }
}

/* -- writing and reading ----------------------------------------------------------------------- */

static void same_config(const char *name, const ms_config *a, const ms_config *b)
{
#define SAME(field)                                                                                \
    if (a->field != b->field)                                                                      \
        fail_msg("%s: %s became %.17g, was %.17g", name, #field, (double)b->field,                 \
                 (double)a->field);
    assert_string_equal(a->arch, b->arch);
    SAME(vocab)
    SAME(context)
    SAME(layers)
    SAME(width)
    SAME(heads)
    SAME(kv_heads)
    SAME(head_dim)
    SAME(ffn)
    SAME(rms)
    SAME(norm_weights)
    SAME(post_norm)
    SAME(norm_eps)
    SAME(positions)
    SAME(rope_theta)
    SAME(act)
    SAME(qk_norm)
    SAME(qkv_bias)
    SAME(bias)
    SAME(head_bias)
    SAME(tied)
    SAME(embed_scale)
    SAME(bos)
    SAME(eos)
#undef SAME
}

/* Writes, reads, compares. */
static void round_trip(const char *name, const ms_config *c)
{
    char path[] = "/tmp/minstrel-config-XXXXXX";
    ms_config back;
    ms_error err;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    must(ms_config_check(c, &err), &err);
    must(ms_config_write(c, path, &err), &err);
    must(ms_config_read(&back, path, &err), &err);
    same_config(name, c, &back);
    unlink(path);
}

static void presets_are_read_as_written(void **state)
{
    (void)state;
    for (int i = 0; i < PRESETS; i++) {
        ms_config c = preset(PRESET[i]);

        round_trip(PRESET[i], &c);
        ms_config_reshape(
            &c, &(ms_config){
                    .vocab = 1000, .context = 77, .layers = 3, .width = 48, .heads = 6, .ffn = 50});
        c.bos = 4;
        c.eos = 999;
        c.norm_eps = 1.0 / 3 * 1e-5; /* no short decimal */
        c.tied = !c.tied;
        if (c.positions == MS_POS_ROTARY) c.rope_theta = 1e6 / 7;
        round_trip(PRESET[i], &c);
        c.bos = -1;
        c.eos = 0;
        round_trip(PRESET[i], &c);
    }
}

/* Shapes that not every family can name in its file. */
static void odd_shapes_are_read_as_written_or_refused(void **state)
{
    static const ms_config wanted[] = {
        {.head_dim = 12}, {.heads = 8, .kv_heads = 2}, {.width = 44, .heads = 4, .head_dim = 6}};

    (void)state;
    for (int i = 0; i < PRESETS; i++)
        for (size_t k = 0; k < sizeof wanted / sizeof *wanted; k++) {
            ms_config c = preset(PRESET[i]);
            ms_error err;

            ms_config_reshape(&c, &wanted[k]);
            if (ms_config_check(&c, &err)) continue;
            round_trip(PRESET[i], &c);
        }
}

/* -- hostile files ----------------------------------------------------------------------------- */

static const char LLAMA[] =
    "{\"model_type\":\"llama\",\"vocab_size\":61,\"hidden_size\":32,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"intermediate_size\":40,"
    "\"max_position_embeddings\":24,\"rms_norm_eps\":1e-5,\"rope_theta\":10000,"
    "\"hidden_act\":\"silu\",\"tie_word_embeddings\":false}";
static const char MISTRAL[] =
    "{\"model_type\":\"mistral\",\"vocab_size\":61,\"hidden_size\":32,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":4,\"intermediate_size\":40,\"max_position_embeddings\":24}";
static const char GPT2[] = "{\"model_type\":\"gpt2\",\"vocab_size\":61,\"n_positions\":24,"
                           "\"n_embd\":32,\"n_layer\":2,\"n_head\":4}";
static const char ORIGINAL[] =
    "{\"model_type\":\"minstrel\",\"arch\":\"original\",\"vocab_size\":61,\"hidden_size\":32,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":40,"
    "\"max_position_embeddings\":24}";

/* Parses a copy that ends where the text ends, so that reading past it shows. */
static ms_status parse(ms_config *c, const char *text, size_t size, ms_error *err)
{
    char *copy = malloc(size ? size : 1);
    ms_status s;

    memcpy(copy, text, size);
    *err = (ms_error){.status = MS_OK};
    s = ms_config_parse(c, copy, size, "hostile/config.json", err);
    free(copy);
    return s;
}

/* Sets a key (text NULL: removes it) of a base text; from malloc. */
static char *edited(const char *base, const char *key, const char *text)
{
    cJSON *o = cJSON_Parse(base);
    char *out;

    assert_non_null(o);
    cJSON_DeleteItemFromObjectCaseSensitive(o, key);
    if (text) assert_non_null(cJSON_AddRawToObject(o, key, text));
    out = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    return out;
}

typedef struct {
    const char *base, *key, *text; /* key NULL: text is the file */
    ms_status status;
    const char *message;
} hostile;

static void refuse_row(const hostile *row)
{
    char *text = row->key ? edited(row->base, row->key, row->text) : strdup(row->text);
    ms_config c, untouched;
    ms_error err;
    ms_status s;

    memset(&c, 0x5a, sizeof c);
    untouched = c;
    s = parse(&c, text, strlen(text), &err);
    if (s != row->status || err.status != s || !strstr(err.message, row->message))
        fail_msg("%s\nexpected %s with %s\n     got %s: %s", text, ms_status_text(row->status),
                 row->message, ms_status_text(s), err.message);
    assert_string_equal(err.path, "hostile/config.json");
    assert_null(strchr(err.message, '\n'));
    assert_memory_equal(&c, &untouched, sizeof c);
    free(text);
}

static void hostile_files_are_refused(void **state)
{
    static const hostile row[] = {
        /* not a file of the kind */
        {NULL, NULL, "", MS_FORMAT, "is not valid JSON"},
        {NULL, NULL, " ", MS_FORMAT, "is not valid JSON"},
        {NULL, NULL, "{", MS_FORMAT, "is not valid JSON"},
        {NULL, NULL, "{\"model_type\":\"llama\"", MS_FORMAT, "is not valid JSON"},
        {NULL, NULL, "{\"vocab_size\":NaN}", MS_FORMAT, "is not valid JSON"},
        {NULL, NULL, "{\"vocab_size\":Infinity}", MS_FORMAT, "is not valid JSON"},
        {NULL, NULL, "{'model_type':1}", MS_FORMAT, "is not valid JSON"},
        {NULL, NULL, "[]", MS_FORMAT, "expected a JSON object"},
        {NULL, NULL, "\"llama\"", MS_FORMAT, "expected a JSON object"},
        {NULL, NULL, "null", MS_FORMAT, "expected a JSON object"},
        {NULL, NULL, "{}", MS_FORMAT, "\"model_type\""},

        /* the family */
        {LLAMA, "model_type", NULL, MS_FORMAT, "\"model_type\": expected a string"},
        {LLAMA, "model_type", "7", MS_FORMAT, "\"model_type\": expected a string"},
        {LLAMA, "model_type", "[\"llama\"]", MS_FORMAT, "\"model_type\""},
        {LLAMA, "model_type", "\"bert\"", MS_UNSUPPORTED, "\"model_type\": \"bert\""},
        {LLAMA, "model_type", "\"\"", MS_UNSUPPORTED, "\"model_type\""},
        {LLAMA, "model_type", "\"smollm\"", MS_UNSUPPORTED, "\"model_type\": \"smollm\""},
        {LLAMA, "model_type", "\"original\"", MS_UNSUPPORTED, "\"model_type\": \"original\""},
        {LLAMA, "model_type", "\"minstrel\"", MS_UNSUPPORTED, "\"model_type\""},
        {ORIGINAL, "arch", "\"llama\"", MS_UNSUPPORTED, "\"llama\" is not supported"},
        {ORIGINAL, "arch", "3", MS_FORMAT, "\"arch\": expected a string"},

        /* missing */
        {LLAMA, "vocab_size", NULL, MS_FORMAT, "\"vocab_size\": expected a number"},
        {LLAMA, "vocab_size", "null", MS_FORMAT, "\"vocab_size\": expected a number"},
        {LLAMA, "hidden_size", NULL, MS_FORMAT, "\"hidden_size\""},
        {LLAMA, "num_hidden_layers", NULL, MS_FORMAT, "\"num_hidden_layers\""},
        {LLAMA, "num_attention_heads", NULL, MS_FORMAT, "\"num_attention_heads\""},
        {LLAMA, "intermediate_size", NULL, MS_FORMAT, "\"intermediate_size\""},
        {GPT2, "vocab_size", NULL, MS_FORMAT, "\"vocab_size\""},
        {GPT2, "n_embd", NULL, MS_FORMAT, "\"n_embd\""},
        {GPT2, "n_layer", NULL, MS_FORMAT, "\"n_layer\""},
        {GPT2, "n_head", NULL, MS_FORMAT, "\"n_head\""},
        {ORIGINAL, "max_position_embeddings", NULL, MS_FORMAT, "\"max_position_embeddings\""},
        {ORIGINAL, "intermediate_size", NULL, MS_FORMAT, "\"intermediate_size\""},

        /* of another type */
        {LLAMA, "vocab_size", "\"61\"", MS_FORMAT, "\"vocab_size\": expected an integer"},
        {LLAMA, "vocab_size", "61.5", MS_FORMAT, "\"vocab_size\": expected an integer"},
        {LLAMA, "vocab_size", "1e999", MS_FORMAT, "\"vocab_size\": expected an integer"},
        {LLAMA, "hidden_size", "true", MS_FORMAT, "\"hidden_size\": expected an integer"},
        {LLAMA, "hidden_size", "[32]", MS_FORMAT, "\"hidden_size\": expected an integer"},
        {LLAMA, "hidden_size", "{\"a\":32}", MS_FORMAT, "\"hidden_size\": expected an integer"},
        {LLAMA, "num_hidden_layers", "2147483648", MS_FORMAT, "\"num_hidden_layers\""},
        {LLAMA, "num_hidden_layers", "-1e300", MS_FORMAT, "\"num_hidden_layers\""},
        {LLAMA, "head_dim", "\"8\"", MS_FORMAT, "\"head_dim\": expected an integer"},
        {LLAMA, "rms_norm_eps", "\"1e-5\"", MS_FORMAT, "\"rms_norm_eps\": expected a number"},
        {LLAMA, "rope_theta", "[]", MS_FORMAT, "\"rope_theta\": expected a number"},
        {LLAMA, "tie_word_embeddings", "0", MS_FORMAT, "\"tie_word_embeddings\": expected true"},
        {LLAMA, "hidden_act", "1", MS_FORMAT, "\"hidden_act\": expected a string"},
        {LLAMA, "eos_token_id", "\"2\"", MS_FORMAT, "\"eos_token_id\": expected a token id"},
        {LLAMA, "eos_token_id", "[\"2\"]", MS_FORMAT, "\"eos_token_id\": expected a token id"},
        {LLAMA, "bos_token_id", "-2", MS_FORMAT, "\"bos_token_id\": expected a token id"},
        {LLAMA, "bos_token_id", "4e9", MS_FORMAT, "\"bos_token_id\": expected a token id"},
        {LLAMA, "rope_scaling", "7", MS_FORMAT, "\"rope_scaling\": expected an object"},
        {GPT2, "n_positions", "{}", MS_FORMAT, "\"n_positions\": expected an integer"},
        {ORIGINAL, "norm_eps", "true", MS_FORMAT, "\"norm_eps\": expected a number"},

        /* out of range */
        {LLAMA, "vocab_size", "0", MS_FORMAT, "vocab"},
        {LLAMA, "vocab_size", "-61", MS_FORMAT, "vocab"},
        {LLAMA, "vocab_size", "2000000000", MS_FORMAT, "vocab"},
        {LLAMA, "max_position_embeddings", "0", MS_FORMAT, "context: expected 1 to"},
        {LLAMA, "max_position_embeddings", "99999999", MS_FORMAT, "context: expected 1 to"},
        {LLAMA, "hidden_size", "-32", MS_FORMAT, "width: expected 1 to"},
        {GPT2, "n_embd", "1000000000", MS_FORMAT, "width: expected 1 to"},
        {GPT2, "n_embd", "-1000000000", MS_FORMAT, "width: expected 1 to"},
        {LLAMA, "hidden_size", "2147483647", MS_FORMAT, "width: expected 1 to"},
        {LLAMA, "num_hidden_layers", "0", MS_FORMAT, "layers: expected 1 to"},
        {LLAMA, "num_hidden_layers", "1000000", MS_FORMAT, "layers: expected 1 to"},
        {LLAMA, "num_attention_heads", "0", MS_FORMAT, "heads: expected 1 to"},
        {LLAMA, "num_attention_heads", "-4", MS_FORMAT, "heads: expected 1 to"},
        {LLAMA, "num_attention_heads", "3", MS_FORMAT, "kv_heads: 2 does not divide the 3 heads"},
        {LLAMA, "num_key_value_heads", "3", MS_FORMAT, "kv_heads: 3 does not divide the 4 heads"},
        {LLAMA, "num_key_value_heads", "8", MS_FORMAT, "kv_heads: expected 1 to 4"},
        {LLAMA, "num_key_value_heads", "-2", MS_FORMAT, "kv_heads: expected 1 to 4"},
        {LLAMA, "head_dim", "-8", MS_FORMAT, "head_dim: expected 1 to"},
        {LLAMA, "head_dim", "5000", MS_FORMAT, "head_dim: expected 1 to"},
        {LLAMA, "head_dim", "7", MS_FORMAT, "head_dim: rotary positions need an even one"},
        {LLAMA, "intermediate_size", "-1", MS_FORMAT, "ffn: expected 1 to"},
        {LLAMA, "rms_norm_eps", "0", MS_FORMAT, "norm_eps: expected above 0"},
        {LLAMA, "rms_norm_eps", "-1e-5", MS_FORMAT, "norm_eps: expected above 0"},
        {LLAMA, "rms_norm_eps", "1e999", MS_FORMAT, "norm_eps: expected above 0"},
        {LLAMA, "rope_theta", "0", MS_FORMAT, "rope_theta: expected above 1"},
        {LLAMA, "rope_theta", "1e999", MS_FORMAT, "rope_theta: expected above 1"},
        {GPT2, "n_head", "0", MS_FORMAT, "heads: expected 1 to"},
        {GPT2, "n_inner", "-5", MS_FORMAT, "ffn: expected 1 to"},
        {ORIGINAL, "norm_eps", "1", MS_FORMAT, "norm_eps: expected above 0"},

        /* known, and not computed here */
        {LLAMA, "rope_scaling", "{\"rope_type\":\"longrope\",\"factor\":8}", MS_UNSUPPORTED,
         "\"rope_scaling\""},
        {LLAMA, "rope_scaling", "{\"type\":\"linear\",\"factor\":0.5}", MS_FORMAT,
         "rope_scaling: factor"},
        {LLAMA, "rope_scaling", "{\"type\":\"yarn\",\"factor\":4,\"mscale\":1}", MS_UNSUPPORTED,
         "mscale"},
        {LLAMA, "rope_scaling", "{}", MS_UNSUPPORTED, "\"rope_scaling\""},
        {LLAMA, "rope_scaling", "{\"type\":3}", MS_FORMAT, "\"type\": expected a string"},
        {LLAMA, "partial_rotary_factor", "0.5", MS_UNSUPPORTED, "\"partial_rotary_factor\""},
        {LLAMA, "hidden_act", "\"gelu\"", MS_UNSUPPORTED, "\"hidden_act\""},
        {LLAMA, "attention_bias", "true", MS_UNSUPPORTED, "\"attention_bias\""},
        {LLAMA, "mlp_bias", "true", MS_UNSUPPORTED, "biases are not supported"},
        {LLAMA, "quantization_config", "{}", MS_UNSUPPORTED, "\"quantization_config\""},
        {MISTRAL, "sliding_window", "8", MS_UNSUPPORTED, "\"sliding_window\""},
        {GPT2, "activation_function", "\"relu\"", MS_UNSUPPORTED, "\"activation_function\""},
        {GPT2, "scale_attn_weights", "false", MS_UNSUPPORTED, "\"scale_attn_weights\""},
        {GPT2, "add_cross_attention", "true", MS_UNSUPPORTED, "\"add_cross_attention\""},
        {GPT2, "scale_attn_by_inverse_layer_idx", "true", MS_UNSUPPORTED,
         "\"scale_attn_by_inverse_layer_idx\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) refuse_row(&row[i]);
}

/* What the table starts from, and what may stand there besides. */
static void harmless_files_are_read(void **state)
{
    static const struct {
        const char *base, *key, *text;
    } row[] = {
        {LLAMA, "none", NULL},
        {MISTRAL, "none", NULL},
        {GPT2, "none", NULL},
        {ORIGINAL, "none", NULL},
        {LLAMA, "rope_scaling", "null"},
        {LLAMA, "rope_scaling", "{\"rope_type\":\"default\"}"},
        {LLAMA, "sliding_window", "8"}, /* llama has none */
        {MISTRAL, "sliding_window", "24"},
        {MISTRAL, "sliding_window", "null"},
        {LLAMA, "eos_token_id", "[2, 3]"},
        {LLAMA, "num_attention_heads", "4.0"},
        {LLAMA, "auto_map", "{\"a\":[[[[{}]]]]}"},
        {GPT2, "n_inner", "null"},
        {GPT2, "activation_function", "\"gelu_pytorch_tanh\""},
    };
    ms_config c;
    ms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char *text = edited(row[i].base, row[i].key, row[i].text);

        if (parse(&c, text, strlen(text), &err)) fail_msg("%s\n%s", text, err.message);
        assert_int_equal(c.vocab, 61);
        assert_int_equal(c.head_dim, 8);
        free(text);
    }
    must(parse(&c, GPT2, strlen(GPT2), &err), &err);
    assert_int_equal(c.ffn, 128);
    assert_true(c.tied);
}

/* Without a head_dim of its own the width is shared by the heads. */
static void widths_that_heads_do_not_divide_are_refused(void **state)
{
    static const hostile row[] = {
        {LLAMA, "hidden_size", "34", MS_FORMAT, "heads"},
        {LLAMA, "hidden_size", "3", MS_FORMAT, "head"},
        {GPT2, "n_embd", "34", MS_FORMAT, "heads"},
        {GPT2, "n_head", "5", MS_FORMAT, "heads"},
        {ORIGINAL, "num_attention_heads", "5", MS_FORMAT, "heads"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) refuse_row(&row[i]);
}

/* A text of the file in a message must not end the line, or reach a terminal as a command. */
static void messages_are_one_line_of_text(void **state)
{
    static const char *const type[] = {"\"a\\nb\"", "\"\\u001b[2J\"", "\"a\\r\"", "\"\\t\""};

    (void)state;
    for (size_t i = 0; i < sizeof type / sizeof *type; i++) {
        char *text = edited(LLAMA, "model_type", type[i]);
        ms_config c;
        ms_error err;

        assert_int_equal(parse(&c, text, strlen(text), &err), MS_UNSUPPORTED);
        for (const char *at = err.message; *at; at++) assert_true((unsigned char)*at >= ' ');
        free(text);
    }
}

/* More parameters than an index can number: refused before anything is allocated. */
static void absurd_products_are_refused(void **state)
{
    static const char *const key[] = {"vocab_size", "hidden_size", "intermediate_size",
                                      "num_hidden_layers"};
    static const char *const text[] = {"16777216", "1048576", "1048576", "4096"};

    (void)state;
    for (int i = 0; i < 16; i++) {
        char *json = edited(LLAMA, "head_dim", "8");
        bool all = i == 15, small = i == 0;
        ms_config c;
        ms_error err;

        for (int k = 0; k < 4; k++) {
            if (!(i >> k & 1)) continue;
            char *next = edited(json, key[k], text[k]);
            free(json);
            json = next;
        }
        ms_status s = parse(&c, json, strlen(json), &err);
        if (small) must(s, &err);
        if (all) assert_int_equal(s, MS_UNSUPPORTED);
        if (all) assert_non_null(strstr(err.message, "parameters: at most"));
        if (!s) assert_true(ms_config_parameters(&c) <= INT32_MAX);
        free(json);
    }
}

/* Every cut of a file, and every byte of it replaced, is refused or read; never more. */
static void cut_and_changed_files_do_no_harm(void **state)
{
    static const char *const base[] = {LLAMA, MISTRAL, GPT2, ORIGINAL};
    static const char put[] = {0, '"', '{', ']', '9', '-', '\\', (char)0xff};
    ms_config c;
    ms_error err;

    (void)state;
    for (size_t b = 0; b < 4; b++) {
        size_t n = strlen(base[b]);
        char *text = strdup(base[b]);

        for (size_t i = 0; i < n; i++)
            if (!parse(&c, text, i, &err)) fail_msg("read when cut at byte %zu: %s", i, text);
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < sizeof put; k++) {
                text[i] = put[k];
                if (parse(&c, text, n, &err))
                    assert_true(err.message[0] != 0);
                else
                    must(ms_config_check(&c, &err), &err);
                text[i] = base[b][i];
            }
        free(text);
    }
}

/* cJSON refuses what is nested deeper than 1000; the error must come before the stack ends. */
static void deep_nesting_is_refused(void **state)
{
    enum { DEPTH = 200000 };
    static const char start[] = "{\"model_type\":", open[] = "[{";
    ms_config c;
    ms_error err;

    (void)state;
    for (int k = 0; k < 2; k++) {
        char *text = malloc(sizeof start + DEPTH);

        memcpy(text, start, sizeof start);
        memset(text + sizeof start - 1, open[k], DEPTH);
        assert_int_equal(parse(&c, text, sizeof start - 1 + DEPTH, &err), MS_FORMAT);
        free(text);
    }
}

/* Files, not texts: a missing one, a folder, one that is too large. */
static void files_that_cannot_be_read_are_named(void **state)
{
    ms_config c;
    ms_error err;

    (void)state;
    assert_int_equal(ms_config_read(&c, "/tmp/minstrel-no-such-file", &err), MS_IO);
    assert_string_equal(err.path, "/tmp/minstrel-no-such-file");
    assert_int_equal(ms_config_read(&c, "/tmp", &err), MS_IO);
    assert_int_equal(ms_config_read(&c, "/tmp", NULL), MS_IO);
    c = preset("llama");
    assert_int_equal(ms_config_write(&c, "/tmp/minstrel-no-such-folder/config.json", &err), MS_IO);
    strcpy(c.arch, "lama");
    assert_int_equal(ms_config_write(&c, "/tmp/minstrel-no-such-file", &err), MS_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_those_of_the_log),
        cmocka_unit_test(parameters_are_those_counted_by_hand),
        cmocka_unit_test(presets_are_read_as_written),
        cmocka_unit_test(odd_shapes_are_read_as_written_or_refused),
        cmocka_unit_test(hostile_files_are_refused),
        cmocka_unit_test(harmless_files_are_read),
        cmocka_unit_test(widths_that_heads_do_not_divide_are_refused),
        cmocka_unit_test(messages_are_one_line_of_text),
        cmocka_unit_test(absurd_products_are_refused),
        cmocka_unit_test(cut_and_changed_files_do_no_harm),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(files_that_cannot_be_read_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
