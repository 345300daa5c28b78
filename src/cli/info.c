/* info - describes a model, a preset or a back end */
#include "cli/cli.h"

#include <stdio.h>

static char *model, *preset;

static struct poptOption table[] = {
    {"model", 'm', POPT_ARG_STRING, &model, 0, "folder of a model or run", "MODEL"},
    {"preset", 0, POPT_ARG_STRING, &preset, 0, "what a model of this preset would be", "NAME"},
    CLI_SHAPE,
    CLI_COMMON};

static const char usage[] =
    "[--model MODEL | --preset NAME [shape] | --backend NAME]\n\n"
    "Without options: the version, back ends of this machine, presets.\n\n"
    "Example: minstrel info --preset original --vocab 100 --width 64 --layers 2 --ffn 256\n";

static int info_model(const minstrel_options *o)
{
    minstrel_model *m = NULL;
    minstrel_error err;
    char *text;

    if (minstrel_model_open(&m, model, o, &err)) return cli_error(&err);
    if (minstrel_model_describe(m, cli_shared.json, &text, &err)) {
        minstrel_model_free(m);
        return cli_error(&err);
    }
    printf("%s%s", text, cli_shared.json ? "\n" : "");
    minstrel_text_free(text);
    minstrel_model_free(m);
    return CLI_OK;
}

static int info_preset(void)
{
    minstrel_shape s;
    minstrel_error err;
    char parameters[32];

    if (minstrel_preset_shape(preset, &cli_shape, &s, &err)) return cli_error(&err);
    if (cli_shared.json) {
        printf("{\"preset\":\"%s\",\"parameters\":%llu,\"layers\":%d,\"width\":%d,\"heads\":%d,"
               "\"kv_heads\":%d,\"head_dim\":%d,\"ffn\":%d,\"context\":%d,\"vocab\":%d}\n",
               s.arch, (unsigned long long)s.parameters, s.layers, s.width, s.heads, s.kv_heads,
               s.head_dim, s.ffn, s.context, s.vocab);
        return CLI_OK;
    }
    printf(
        "preset: %s\nparameters: %s\nlayers: %d\nwidth: %d\nheads: %d\nkv heads: %d\nhead dim: %d\n"
        "ffn: %d\ncontext: %d\nvocabulary: %d\n",
        s.arch, cli_thousands(s.parameters, parameters), s.layers, s.width, s.heads, s.kv_heads,
        s.head_dim, s.ffn, s.context, s.vocab);
    return CLI_OK;
}

static int info_backend(void)
{
    minstrel_error err;
    char *text;

    if (minstrel_backend_describe(cli_shared.backend, &text, &err)) return cli_error(&err);
    fputs(text, stdout);
    minstrel_text_free(text);
    return CLI_OK;
}

static int info_all(void)
{
    printf("minstrel %s\n\nback ends:", minstrel_version());
    for (int i = 0; minstrel_backend(i); i++) printf(" %s", minstrel_backend(i));
    printf("\n\npresets:\n");
    for (int i = 0; minstrel_preset(i); i++)
        printf("  %-10s %s\n", minstrel_preset(i), minstrel_preset_about(i));
    return CLI_OK;
}

int cli_info(int argc, const char **argv)
{
    int status = cli_parse("info", usage, table, argc, argv, NULL);
    minstrel_options o;

    if (status) return status;
    o = cli_options();
    if (model && preset) return cli_usage("give one of --model and --preset");
    if (model) return info_model(&o);
    if (preset) return info_preset();
    return cli_shared.backend ? info_backend() : info_all();
}
