/* main - the program: finds the command and runs it */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const cli_command commands[] = {
    {"train", "train a model on text, or go on with a run", cli_train},
    {"generate", "continue prompts with a model", cli_generate},
    {"chat", "talk with a model", cli_chat},
    {"eval", "loss, perplexity and bits per byte of a model on text", cli_eval},
    {"convert", "turn a model into another format or type", cli_convert},
    {"tokenize", "train a tokenizer, encode and decode text", cli_tokenize},
    {"info", "describe a model, a preset or a back end", cli_info},
    {"bench", "time a model or single operations", cli_bench},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *out)
{
    fputs("Usage: minstrel COMMAND [options]\n\nCommands:\n", out);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].about);
    fputs("\nminstrel COMMAND --help lists a command's options; minstrel --version prints the "
          "version.\n"
          "\nExample:\n"
          "  minstrel train --data book.txt --out runs/book\n"
          "  minstrel generate --model runs/book --prompt \"In the beginning\"\n",
          out);
}

int main(int argc, const char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;

    if (!name) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        print_help(stdout);
        return cli_finish(CLI_OK);
    }
    if (!strcmp(name, "--version")) {
        printf("minstrel %s\n", minstrel_version());
        return cli_finish(CLI_OK);
    }
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(name, commands[i].name)) return cli_finish(commands[i].run(argc - 1, argv + 1));
    return cli_usage("command \"%s\" is unknown (see minstrel --help)", name);
}
