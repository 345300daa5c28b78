/* cli - options, errors and progress of all commands */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *command_name = "";

cli_common cli_shared;

struct poptOption cli_common_table[] = {
    {"backend", 0, POPT_ARG_STRING, &cli_shared.backend, 0,
     "back end: auto, cpu, ref, or a variant such as cpu:avx2 (default auto)", "NAME"},
    {"cpu", 0, POPT_ARG_STRING, &cli_shared.cpu, 0,
     "kernels of the CPU: scalar, base, avx2, avxvnni, avx512, avx512vnni, avx512bf16, dotprod or "
     "i8mm (default: the best here)",
     "NAME"},
    {"threads", 0, POPT_ARG_INT, &cli_shared.threads, 0, "threads (default: all cores)", "N"},
    {"pin", 0, POPT_ARG_NONE, &cli_shared.pin, 0,
     "hold each thread on a core of its own (Linux; for cores that are free)", NULL},
    {"quiet", 'q', POPT_ARG_NONE, &cli_shared.quiet, 0, "no progress and no messages", NULL},
    {"json", 0, POPT_ARG_NONE, &cli_shared.json, 0, "results as JSON", NULL},
    POPT_TABLEEND};

minstrel_shape cli_shape;

struct poptOption cli_shape_table[] = {
    {"layers", 0, POPT_ARG_INT, &cli_shape.layers, 0, "blocks (default 4)", "N"},
    {"width", 0, POPT_ARG_INT, &cli_shape.width, 0, "width of the residual stream (default 128)",
     "N"},
    {"heads", 0, POPT_ARG_INT, &cli_shape.heads, 0, "attention heads (default 4)", "N"},
    {"kv-heads", 0, POPT_ARG_INT, &cli_shape.kv_heads, 0,
     "heads of keys and values (default by preset)", "N"},
    {"head-dim", 0, POPT_ARG_INT, &cli_shape.head_dim, 0, "width of a head (default width / heads)",
     "N"},
    {"ffn", 0, POPT_ARG_INT, &cli_shape.ffn, 0,
     "width of the feed-forward layer (default by preset)", "N"},
    {"context", 0, POPT_ARG_INT, &cli_shape.context, 0, "tokens a sequence (default 256)", "N"},
    {"vocab", 0, POPT_ARG_INT, &cli_shape.vocab, 0, "vocabulary (default: the tokenizer's)", "N"},
    POPT_TABLEEND};

/* -- messages -------------------------------------------------------------------------------- */

static void print_message(const char *format, va_list list)
{
    cli_progress("%s", "");
    fprintf(stderr, "minstrel%s%s: ", command_name[0] ? " " : "", command_name);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
}

int cli_fail(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    print_message(format, list);
    va_end(list);
    return CLI_FAILED;
}

int cli_usage(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    print_message(format, list);
    va_end(list);
    return CLI_USAGE;
}

int cli_error(const minstrel_error *err)
{
    if (!err->path[0]) return cli_fail("%s", err->message);
    if (err->offset < 0) return cli_fail("%s: %s", err->path, err->message);
    return cli_fail("%s: byte %lld: %s", err->path, (long long)err->offset, err->message);
}

static void log_line(void *data, const char *line)
{
    (void)data;
    cli_progress("%s", "");
    fprintf(stderr, "%s\n", line);
}

minstrel_options cli_options(void)
{
    minstrel_options o = minstrel_default_options();

    if (cli_shared.backend) o.backend = cli_shared.backend;
    if (cli_shared.cache_type) o.cache_type = cli_shared.cache_type;
    o.threads = cli_shared.threads;
    o.pin = cli_shared.pin;
    o.log = cli_shared.quiet ? NULL : log_line;
    return o;
}

int cli_finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    return cli_fail("standard output: %s", strerror(errno));
}

/* -- text ------------------------------------------------------------------------------------ */

bool cli_write(const char *data, size_t size_bytes)
{
    if (!size_bytes) return true;
    return fwrite(data, 1, size_bytes, stdout) == size_bytes && fflush(stdout) == 0;
}

/* Bytes of the control character at the start of text (n >= 1), 0 when there is none. */
static size_t control(const char *text, size_t n)
{
    unsigned char c = (unsigned char)text[0];

    if (c == 0xC2 && n > 1 && (unsigned char)text[1] < 0xA0) return 2;
    return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
}

bool cli_write_text(const char *text, size_t text_bytes)
{
    bool terminal = text_bytes && isatty(STDOUT_FILENO);
    size_t from = 0;

    for (size_t at = 0; terminal && at < text_bytes;) {
        size_t skip = control(text + at, text_bytes - at);

        if (skip) {
            if (!cli_write(text + from, at - from) || !cli_write("\xEF\xBF\xBD", 3)) return false;
            from = at + skip;
        }
        at += skip ? skip : 1;
    }
    return cli_write(text + from, text_bytes - from);
}

const char *cli_stop_name(minstrel_stop stop)
{
    static const char *const name[] = {"length", "eos", "context", "asked"};

    return name[stop];
}

/* -- progress -------------------------------------------------------------------------------- */

bool cli_progress_shown(void)
{
    return !cli_shared.quiet && isatty(STDERR_FILENO);
}

void cli_progress(const char *format, ...)
{
    static bool shown;
    va_list list;

    if (!cli_progress_shown()) return;
    if (shown) fputs("\r\033[K", stderr);
    va_start(list, format);
    shown = vfprintf(stderr, format, list) > 0;
    va_end(list);
    fflush(stderr);
}

const char *cli_thousands(uint64_t n, char out[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), used = 0;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) out[used++] = ',';
        out[used++] = digits[i];
    }
    out[used] = 0;
    return out;
}

/* -- signals --------------------------------------------------------------------------------- */

static volatile sig_atomic_t stop_asked;

static void ask_to_stop(int signal_number)
{
    (void)signal_number;
    stop_asked = 1;
}

void cli_catch_signals(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = ask_to_stop;
    action.sa_flags = (int)SA_RESETHAND; /* the second one kills */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a reader that left shows as a failed write */
}

bool cli_stop_asked(void)
{
    return stop_asked != 0;
}

void cli_catch_interrupts(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = ask_to_stop;
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void cli_stop_forget(void)
{
    stop_asked = 0;
}

/* -- parsing --------------------------------------------------------------------------------- */

int cli_parse(const char *command, const char *usage, const struct poptOption *table, int argc,
              const char **argv, const char ***rest)
{
    static poptContext context; /* owns the strings to the end of the program */
    const char **left;
    int code;

    command_name = command;
    cli_shape.size = sizeof cli_shape;
    context = poptGetContext(command, argc, argv, table, 0);
    poptSetOtherOptionHelp(context, usage);
    code = poptGetNextOpt(context);
    if (code < -1)
        return cli_usage("%s: %s (see minstrel %s --help)",
                         poptBadOption(context, POPT_BADOPTION_NOALIAS), poptStrerror(code),
                         command);
    left = poptGetArgs(context);
    if (!rest && left && left[0])
        return cli_usage("what is \"%s\"? (see minstrel %s --help)", left[0], command);
    if (cli_shared.threads < 0 || cli_shared.threads > 1024)
        return cli_usage("--threads: expected 0 to 1024, got %d", cli_shared.threads);
    if (cli_shared.cpu) {
        static char name[40];

        if (cli_shared.backend && strcmp(cli_shared.backend, "cpu") != 0)
            return cli_usage("expected one of --backend and --cpu");
        snprintf(name, sizeof name, "cpu:%s", cli_shared.cpu);
        cli_shared.backend = name;
    }
    if (rest) *rest = left;
    return CLI_OK;
}
