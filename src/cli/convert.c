/* convert - a model into another format or type */
#include "cli/cli.h"

#include <stdio.h>

static char *model, *out, *type;

static struct poptOption table[] = {
    {"model", 'm', POPT_ARG_STRING, &model, 0, "model: a folder or a .gguf file", "MODEL"},
    {"out", 'o', POPT_ARG_STRING, &out, 0, "what to write: a name that ends in .gguf, or a folder",
     "PATH"},
    {"type", 't', POPT_ARG_STRING, &type, 0,
     "of the weights: f32, f16, bf16; in GGUF also q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q6_k "
     "(default f32)",
     "TYPE"},
    CLI_COMMON};

static const char usage[] =
    "--model MODEL --out PATH [--type TYPE]\n\n"
    "Converts between Hugging Face folders, which transformers loads, and GGUF files, which "
    "llama.cpp loads.\n\n"
    "Example: minstrel convert --model runs/book --out book.gguf --type q8_0\n"
    "         minstrel convert --model smollm2.gguf --out smollm2\n";

int cli_convert(int argc, const char **argv)
{
    minstrel_error err;
    int status = cli_parse("convert", usage, table, argc, argv, NULL);

    if (status) return status;
    if (!model) return cli_usage("--model MODEL is missing");
    if (!out) return cli_usage("--out PATH is missing");
    if (minstrel_convert(model, out, type, &err)) return cli_error(&err);
    if (!cli_shared.quiet) fprintf(stderr, "wrote %s\n", out);
    return CLI_OK;
}
