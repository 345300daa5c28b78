/* bench - times passes over a model, or single ops; one row each */
#include "cli/cli.h"

#include <cJSON.h>
#include <stdio.h>
#include <string.h>

static char *model, *preset, *dtype;
static int batch = 1, tokens, runs = 20;

static const struct poptOption table[] = {
    {"model", 'm', POPT_ARG_STRING, &model, 0, "folder of a model or run", "MODEL"},
    {"preset", 0, POPT_ARG_STRING, &preset, 0,
     "a model of this preset with random weights (default: the MSL Transformer's: original, "
     "vocabulary 1000, width 256, 4 layers, 8 heads, ffn 1024)",
     "NAME"},
    {"batch", 0, POPT_ARG_INT | POPT_ARGFLAG_SHOW_DEFAULT, &batch, 0, "sequences at once", "N"},
    {"tokens", 0, POPT_ARG_INT, &tokens, 0,
     "tokens of each; decode: tokens in front of the one timed (default 5; train: the context)",
     "N"},
    {"dtype", 0, POPT_ARG_STRING, &dtype, 0, "of matrix products, f32 or bf16", "TYPE"},
    {"runs", 0, POPT_ARG_INT | POPT_ARGFLAG_SHOW_DEFAULT, &runs, 0, "runs that are timed", "N"},
    CLI_CACHE,
    CLI_SHAPE,
    CLI_COMMON};

static const char usage[] =
    "[forward | prefill | decode | train | ops [PART-OF-NAME]]\n\n"
    "  forward  a pass over all tokens with the loss of each\n"
    "  prefill  the same as a prompt: only the last token's logits\n"
    "  decode   one token behind the others, drawn greedily\n"
    "  train    forward, backward, clipping, AdamW\n"
    "  ops      every operation on its own, and what a barrier and a parallel region cost "
    "(pool)\n\n"
    "Without a word: forward, prefill and decode.  \"units\" is the share of "
    "what this\nmachine's arithmetic units can do, \"memory\" relates the bytes that a run has to "
    "read to the\nrate at which main memory is read; caches can take it above 100 %.\n\n"
    "Example: minstrel bench --preset gpt2 --layers 12 --width 768 --heads 12 --vocab 50257 "
    "decode\n";

/* -- rows ------------------------------------------------------------------------------------ */

/* "1.234 ms" */
static const char *time_text(double time_s, char out[16])
{
    if (time_s < 1e-3)
        snprintf(out, 16, "%.2f us", time_s * 1e6);
    else if (time_s < 1)
        snprintf(out, 16, "%.3f ms", time_s * 1e3);
    else
        snprintf(out, 16, "%.3f s", time_s);
    return out;
}

/* A rate in units of `unit`, "-" when it was not counted. */
static const char *rate_text(double rate, double unit, const char *format, char out[16])
{
    if (rate > 0)
        snprintf(out, 16, format, rate / unit);
    else
        snprintf(out, 16, "-");
    return out;
}

static void print_head(void)
{
    printf("%-14s %11s %11s %11s %10s %9s %6s %8s %6s  %s\n", "", "median", "min", "max",
           "tokens/s", "GFLOP/s", "units", "GB/s", "memory", "of");
}

static void print_row(void *data, const minstrel_bench_row *r)
{
    char median[16], least[16], most[16], speed[16], flops[16], bytes[16], read[16], units[16];

    (void)data;
    printf("%-14s %11s %11s %11s %10s %9s %6s %8s %6s  %s\n", r->name,
           time_text(r->median_s, median), time_text(r->min_s, least), time_text(r->max_s, most),
           rate_text(r->tokens_per_s, 1, "%.0f", speed),
           rate_text(r->flops_per_s, 1e9, "%.2f", flops),
           rate_text(r->flop_share, 0.01, "%.0f %%", units),
           rate_text(r->bytes_per_s, 1e9, "%.2f", bytes),
           rate_text(r->read_share, 0.01, "%.0f %%", read), r->label);
    fflush(stdout);
}

static void print_json(void *data, const minstrel_bench_row *r)
{
    cJSON *o = cJSON_CreateObject();
    char *text;

    (void)data;
    cJSON_AddStringToObject(o, "name", r->name);
    cJSON_AddStringToObject(o, "label", r->label);
    cJSON_AddNumberToObject(o, "median_s", r->median_s);
    cJSON_AddNumberToObject(o, "min_s", r->min_s);
    cJSON_AddNumberToObject(o, "max_s", r->max_s);
    cJSON_AddNumberToObject(o, "runs", r->runs);
    cJSON_AddNumberToObject(o, "tokens_per_s", r->tokens_per_s);
    cJSON_AddNumberToObject(o, "flops_per_s", r->flops_per_s);
    cJSON_AddNumberToObject(o, "bytes_per_s", r->bytes_per_s);
    cJSON_AddNumberToObject(o, "read_share", r->read_share);
    cJSON_AddNumberToObject(o, "flop_share", r->flop_share);
    text = cJSON_PrintUnformatted(o);
    if (text) puts(text);
    fflush(stdout);
    cJSON_free(text);
    cJSON_Delete(o);
}

/* -- the command ----------------------------------------------------------------------------- */

/* The model of the log that this project began with, where nothing else was asked for. */
static minstrel_shape shape(void)
{
    minstrel_shape s = cli_shape;

    if (model || preset) return s;
    if (!s.vocab) s.vocab = 1000;
    if (!s.width) s.width = 256;
    if (!s.layers) s.layers = 4;
    if (!s.heads) s.heads = 8;
    if (!s.ffn) s.ffn = 1024;
    return s;
}

static int bench_models(const char *const *what, int whats)
{
    minstrel_bench_options b = minstrel_default_bench_options();
    minstrel_options o = cli_options();
    minstrel_error err;

    b.model = model;
    b.preset = preset ? preset : "original";
    b.shape = shape();
    b.batch = batch;
    b.tokens = tokens;
    b.runs = runs;
    b.dtype = dtype;
    for (int i = 0; i < whats; i++) {
        b.what = what[i];
        if (minstrel_bench(&b, &o, cli_shared.json ? print_json : print_row, NULL, &err))
            return cli_error(&err);
    }
    return CLI_OK;
}

static int bench_ops(const char *filter)
{
    minstrel_options o = cli_options();
    minstrel_error err;

    if (minstrel_bench_ops(filter, &o, cli_shared.json ? print_json : print_row, NULL, &err))
        return cli_error(&err);
    return CLI_OK;
}

static bool is_kind(const char *word)
{
    static const char *const kind[] = {"forward", "prefill", "decode", "train", "ops"};

    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++)
        if (strcmp(kind[i], word) == 0) return true;
    return false;
}

static int check(const char *word, const char *filter, const char *more)
{
    bool ops = word && strcmp(word, "ops") == 0;

    if (word && !is_kind(word))
        return cli_usage("what is \"%s\"? (forward, prefill, decode, train or ops)", word);
    if (more || (filter && !ops)) return cli_usage("what is \"%s\"?", more ? more : filter);
    if (ops && (model || preset)) return cli_usage("ops needs no model");
    if (model && preset) return cli_usage("expected one of --model and --preset");
    if (tokens < 0) return cli_usage("--tokens: expected 1 or more, got %d", tokens);
    return CLI_OK;
}

int cli_bench(int argc, const char **argv)
{
    static const char *const usual[] = {"forward", "prefill", "decode"};
    const char **rest;
    int status = cli_parse("bench", usage, table, argc, argv, &rest);

    if (status) return status;
    const char *word = rest ? rest[0] : NULL, *filter = word ? rest[1] : NULL;
    status = check(word, filter, filter ? rest[2] : NULL);
    if (status) return status;
    if (!cli_shared.json) print_head();
    if (word && strcmp(word, "ops") == 0) return bench_ops(filter);
    return word ? bench_models(&word, 1) : bench_models(usual, 3);
}
