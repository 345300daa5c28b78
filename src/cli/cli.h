/* cli - what the commands share: options, errors, progress */
#ifndef MS_CLI_CLI_H
#define MS_CLI_CLI_H

#include "minstrel.h"

#include <popt.h>
#include <stdbool.h>

/* Exit status of a command. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

typedef struct {
    const char *name, *about;
    int (*run)(int argc, const char **argv); /* argv[0] is the command */
} cli_command;

int cli_train(int argc, const char **argv);
int cli_generate(int argc, const char **argv);
int cli_chat(int argc, const char **argv);
int cli_eval(int argc, const char **argv);
int cli_tokenize(int argc, const char **argv);
int cli_convert(int argc, const char **argv);
int cli_info(int argc, const char **argv);
int cli_bench(int argc, const char **argv);

/* Options that every command has: cli_common_table goes into its popt table by CLI_COMMON. */
typedef struct {
    char *backend, *cpu, *cache_type;
    int threads, pin;
    int quiet, json;
} cli_common;
extern cli_common cli_shared;
extern struct poptOption cli_common_table[];
#define CLI_COMMON                                                                                 \
    {NULL, 0, POPT_ARG_INCLUDE_TABLE, cli_common_table, 0, "Everywhere:", NULL},                   \
        POPT_AUTOHELP POPT_TABLEEND

/* The option of commands that keep keys and values. */
#define CLI_CACHE                                                                                  \
    {                                                                                              \
        "cache-type", 0, POPT_ARG_STRING, &cli_shared.cache_type, 0,                               \
            "of the keys and values that are kept: f32, f16, bf16 or q8_0 (default f32)", "TYPE"   \
    }

/* Options of a model's shape, with CLI_SHAPE likewise. */
extern minstrel_shape cli_shape;
extern struct poptOption cli_shape_table[];
#define CLI_SHAPE                                                                                  \
    {                                                                                              \
        NULL, 0, POPT_ARG_INCLUDE_TABLE, cli_shape_table, 0,                                       \
            "Shape of the model, on top of a preset:", NULL                                        \
    }

/* Parses a command's options.  usage: "[options] FILE..." and, below it, an example.  What is left
 * over goes to *rest (NULL-ended, lent until the end of the program); rest NULL: nothing may be
 * left. CLI_OK, or CLI_USAGE with one line printed; --help prints and ends the program. */
int cli_parse(const char *command, const char *usage, const struct poptOption *table, int argc,
              const char **argv, const char ***rest);

/* Prints "minstrel COMMAND: message" on stderr; CLI_FAILED. */
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for wrong usage; CLI_USAGE. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for an error of the library, with its path and offset.  CLI_FAILED. */
int cli_error(const minstrel_error *err);

/* Options of the library as given; its log goes to stderr unless --quiet. */
minstrel_options cli_options(void);

/* Flushes stdout: a write that failed (a full disk, a closed pipe) is an error. */
int cli_finish(int status);

/* Writes to stdout and flushes it; false with errno when that fails.  Text: a terminal gets U+FFFD
 * for control characters, which it would obey, and a model's text may hold. */
bool cli_write(const char *data, size_t size_bytes);
bool cli_write_text(const char *text, size_t text_bytes);

const char *cli_stop_name(minstrel_stop stop); /* in JSON */

/* Shows a line over the last one on a terminal ("" takes it away); does nothing elsewhere. */
bool cli_progress_shown(void);
void cli_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Set by the first Ctrl-C or SIGTERM once cli_catch_signals was called; the second one kills. */
void cli_catch_signals(void);
bool cli_stop_asked(void);
/* The same for a program that goes on: each Ctrl-C sets it, forgetting unsets it; SIGTERM kills. */
void cli_catch_interrupts(void);
void cli_stop_forget(void);

/* 3672552 as "3,672,552". */
const char *cli_thousands(uint64_t n, char out[32]);

#endif
