/* eval - loss, perplexity and bits per byte of a model on text */
#include "cli/cli.h"

#include <stdio.h>

static char *model;
static const char **data;
static minstrel_evaluate_options o;

static struct poptOption table[] = {
    {"model", 'm', POPT_ARG_STRING, &model, 0, "folder of the model or run, or a .gguf", "MODEL"},
    {"data", 0, POPT_ARG_ARGV, &data, 0, "text: file, folder, .jsonl, .zst, - ; may be repeated",
     "PATH"},
    {"context", 0, POPT_ARG_INT, &o.context, 0, "tokens a window (default: the model's context)",
     "N"},
    {"batch", 0, POPT_ARG_INT, &o.batch, 0, "windows at a time (default 8)", "N"},
    {"half", 0, POPT_ARG_NONE, &o.half, 0,
     "count the second half of each window only, as llama.cpp's perplexity does (--context then "
     "defaults to 512)",
     NULL},
    CLI_CACHE,
    CLI_COMMON};

static const char usage[] =
    "--model MODEL --data PATH...\n\n"
    "Cuts the text into windows of --context tokens; each token is predicted from those before it "
    "in its\n"
    "window.\n\nExample: minstrel eval --model runs/book --data other.txt\n";

int cli_eval(int argc, const char **argv)
{
    minstrel_model *m = NULL;
    minstrel_evaluation e;
    minstrel_error err;
    minstrel_options library;
    int status, paths = 0;

    o = minstrel_default_evaluate_options();
    status = cli_parse("eval", usage, table, argc, argv, NULL);

    if (status) return status;
    if (!model) return cli_usage("--model MODEL is missing");
    if (!data) return cli_usage("--data PATH is missing");
    if (o.context < 0) return cli_usage("--context: expected at least 1, got %d", o.context);
    if (o.batch < 0) return cli_usage("--batch: expected at least 1, got %d", o.batch);
    while (data[paths]) paths++;
    library = cli_options();
    if (minstrel_model_open(&m, model, &library, &err)) return cli_error(&err);
    if (minstrel_evaluate_paths(m, data, paths, &o, &e, &err)) {
        status = cli_error(&err);
    } else if (cli_shared.json) {
        printf("{\"tokens\":%llu,\"bytes\":%llu,\"loss\":%.6f,\"perplexity\":%.6f,\"bits_per_"
               "byte\":%.6f,"
               "\"seconds\":%.3f}\n",
               (unsigned long long)e.tokens, (unsigned long long)e.text_bytes, e.loss, e.perplexity,
               e.bits_per_byte, e.seconds);
    } else {
        printf("tokens %llu  loss %.4f  perplexity %.4f  bits per byte %.4f  seconds %.1f\n",
               (unsigned long long)e.tokens, e.loss, e.perplexity, e.bits_per_byte, e.seconds);
    }
    minstrel_model_free(m);
    return status;
}
