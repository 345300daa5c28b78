/* chat - talk with a model: replies on stdout as they come, everything else on stderr */
#include "cli/cli.h"

#include <cJSON.h>
#include <editline/readline.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MESSAGE_BYTES_MAX = 64 << 20, PATH_BYTES = 4096, HISTORY_LINES = 1000 };

typedef struct {
    minstrel_chat *chat;
    bool terminal; /* stdin is one: lines are edited, and a failure does not end anything */
    bool json;
    bool begun;      /* something of the reply was shown */
    bool leaves;     /* /quit, or the end of the input */
    bool failed;     /* a message or a command */
    int write_errno; /* of the first write that failed; 0: none */
    minstrel_reply last;
    size_t replies, drawn; /* since the start; tokens */
    double decode_s;
} talk;

static void note(const char *text)
{
    if (!cli_shared.quiet) fprintf(stderr, "(%s)\n", text);
}

/* -- what is shown --------------------------------------------------------------------------- */

static void write_out(talk *t, const char *text, size_t text_bytes, bool plain)
{
    if (t->write_errno) return;
    if (plain ? !cli_write_text(text, text_bytes) : !cli_write(text, text_bytes))
        t->write_errno = errno;
}

/* Blanks that a model puts in front of a reply are not shown. */
static int on_text(void *data, size_t turn, const char *text, size_t text_bytes)
{
    talk *t = data;
    size_t blanks = t->begun ? 0 : strspn(text, " \n\t");

    (void)turn;
    if (blanks > text_bytes) blanks = text_bytes;
    if (blanks < text_bytes) t->begun = true;
    if (!t->json) write_out(t, text + blanks, text_bytes - blanks, true);
    return cli_stop_asked() || t->write_errno;
}

static void write_json(talk *t, const char *message, const minstrel_reply *r)
{
    cJSON *o = cJSON_CreateObject();
    char *text;

    cJSON_AddStringToObject(o, "message", message);
    cJSON_AddStringToObject(o, "text", r->text);
    cJSON_AddNumberToObject(o, "prompt_tokens", (double)r->prompt_tokens);
    cJSON_AddNumberToObject(o, "reused_tokens", (double)r->reused_tokens);
    cJSON_AddNumberToObject(o, "tokens", (double)r->tokens);
    cJSON_AddNumberToObject(o, "log_probability", r->log_probability);
    cJSON_AddStringToObject(o, "stop", cli_stop_name(r->stop));
    cJSON_AddNumberToObject(o, "prefill_s", r->prefill_s);
    cJSON_AddNumberToObject(o, "decode_s", r->decode_s);
    text = cJSON_PrintUnformatted(o);
    if (text) {
        write_out(t, text, strlen(text), false);
        write_out(t, "\n", 1, false);
    } else if (!t->write_errno) {
        t->write_errno = ENOMEM;
    }
    cJSON_free(text);
    cJSON_Delete(o);
}

/* Ends what on_text has shown. */
static void end_reply(talk *t, const minstrel_reply *r)
{
    if (t->begun || r->stop != MINSTREL_STOP_ASKED)
        write_out(t, "\n", 1, false);
    else if (t->terminal)
        fputc('\n', stderr); /* behind the ^C that the terminal shows */
    if (!t->terminal) return;
    if (r->stop == MINSTREL_STOP_ASKED)
        note(r->text[0] ? "stopped; what is shown counts as the reply" : "stopped, taken back");
    if (r->stop == MINSTREL_STOP_LENGTH) note("longer than --max-tokens");
    if (r->stop == MINSTREL_STOP_CONTEXT) note("the context is full");
}

/* -- turns ----------------------------------------------------------------------------------- */

static const char *last_message(const talk *t)
{
    const char *text, *role, *last = "";

    for (size_t i = 0; (text = minstrel_chat_message(t->chat, i, &role)); i++)
        if (strcmp(role, "user") == 0) last = text;
    return last;
}

/* Message NULL: the last reply again. */
static int answer(talk *t, const char *message)
{
    minstrel_status status;
    minstrel_reply r;
    minstrel_error err;

    t->begun = false;
    if (t->terminal) cli_stop_forget();
    status = message ? minstrel_chat_say(t->chat, message, &r, &err)
                     : minstrel_chat_retry(t->chat, &r, &err);
    if (status) {
        if (t->begun && !t->json) write_out(t, "\n", 1, false);
        return cli_error(&err);
    }
    t->last = r;
    t->replies++;
    t->drawn += r.tokens;
    t->decode_s += r.decode_s;
    if (!t->json) {
        end_reply(t, &r);
    } else if (r.text[0] || r.stop != MINSTREL_STOP_ASKED) {
        write_json(t, last_message(t), &r);
    }
    return CLI_OK;
}

/* -- commands in the conversation ------------------------------------------------------------ */

typedef struct {
    const char *name, *argument, *about;
    bool needs; /* the argument */
    int (*run)(talk *t, const char *argument);
} command;

static int run_help(talk *t, const char *argument);

static int run_clear(talk *t, const char *argument)
{
    (void)argument;
    minstrel_chat_clear(t->chat);
    note("a new conversation");
    return CLI_OK;
}

static int run_undo(talk *t, const char *argument)
{
    minstrel_error err;

    (void)argument;
    if (minstrel_chat_undo(t->chat, &err)) return cli_error(&err);
    note("the last message and its reply are taken back");
    return CLI_OK;
}

static int run_retry(talk *t, const char *argument)
{
    (void)argument;
    return answer(t, NULL);
}

static int run_system(talk *t, const char *argument)
{
    minstrel_error err;

    if (minstrel_chat_set_system(t->chat, *argument ? argument : NULL, &err))
        return cli_error(&err);
    note(*argument ? "another system prompt" : "no system prompt");
    return CLI_OK;
}

/* {"messages": [{"role": ..., "content": ...}, ...]}, as chat models are trained on. */
static char *conversation(const talk *t)
{
    cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "messages");
    const char *text, *role;
    char *out;

    for (size_t i = 0; (text = minstrel_chat_message(t->chat, i, &role)); i++) {
        cJSON *m = cJSON_CreateObject();

        cJSON_AddStringToObject(m, "role", role);
        cJSON_AddStringToObject(m, "content", text);
        cJSON_AddItemToArray(list, m);
    }
    out = cJSON_Print(o);
    cJSON_Delete(o);
    return out;
}

static int run_save(talk *t, const char *path)
{
    char *text = conversation(t);
    FILE *f = text ? fopen(path, "w") : NULL;
    int status = CLI_OK;

    if (!text) return cli_fail("out of memory");
    if (!f) {
        status = cli_fail("%s: %s", path, strerror(errno));
    } else {
        bool written = fprintf(f, "%s\n", text) > 0;

        if (fclose(f) || !written) status = cli_fail("%s: %s", path, strerror(errno));
    }
    cJSON_free(text);
    return status;
}

static int run_stats(talk *t, const char *argument)
{
    minstrel_chat_state s = minstrel_chat_look(t->chat);
    const minstrel_reply *r = &t->last;
    size_t read = r->prompt_tokens - r->reused_tokens;

    (void)argument;
    fprintf(stderr, "template %s; %zu turns", s.template_name, s.turns);
    if (s.forgotten) fprintf(stderr, ", the oldest %zu out of the context", s.forgotten);
    fprintf(stderr, "; context: %d of %d tokens\n", s.used_tokens, s.context);
    if (!t->replies) return CLI_OK;
    fprintf(stderr, "last reply: %zu tokens in front, %zu of them new", r->prompt_tokens, read);
    if (r->prefill_s > 0) fprintf(stderr, " (%.0f tokens/s)", (double)read / r->prefill_s);
    fprintf(stderr, "; %zu tokens", r->tokens);
    if (r->decode_s > 0) fprintf(stderr, " (%.0f tokens/s)", (double)r->tokens / r->decode_s);
    fprintf(stderr, "\nall %zu replies: %zu tokens", t->replies, t->drawn);
    if (t->decode_s > 0) fprintf(stderr, " (%.0f tokens/s)", (double)t->drawn / t->decode_s);
    fputc('\n', stderr);
    return CLI_OK;
}

static int run_quit(talk *t, const char *argument)
{
    (void)argument;
    t->leaves = true;
    return CLI_OK;
}

static const command commands[] = {
    {"/help", "", "this list", false, run_help},
    {"/clear", "", "begin a new conversation", false, run_clear},
    {"/undo", "", "take the last message and its reply back", false, run_undo},
    {"/retry", "", "draw the last reply again", false, run_retry},
    {"/system", "TEXT", "another system prompt; without TEXT: none", false, run_system},
    {"/save", "FILE", "write the conversation as JSON", true, run_save},
    {"/stats", "", "tokens and speeds", false, run_stats},
    {"/quit", "", "leave (also Ctrl-D)", false, run_quit},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static int run_help(talk *t, const char *argument)
{
    (void)t;
    (void)argument;
    for (int i = 0; i < COMMANDS; i++)
        fprintf(stderr, "  %-7s %-4s  %s\n", commands[i].name, commands[i].argument,
                commands[i].about);
    fputs("A \\ at the end of a line goes on in the next; a blank in front of / makes it a "
          "message.\nCtrl-C stops a reply.\n",
          stderr);
    return CLI_OK;
}

static int obey(talk *t, const char *line)
{
    size_t n = strcspn(line, " \t");
    const char *argument = line + n + strspn(line + n, " \t");

    for (int i = 0; i < COMMANDS; i++) {
        const command *c = &commands[i];

        if (strlen(c->name) != n || strncmp(line, c->name, n) != 0) continue;
        if (c->needs && !*argument) return cli_fail("%s: %s is missing", c->name, c->argument);
        if (!*c->argument && *argument) return cli_fail("%s: what is \"%s\"?", c->name, argument);
        return c->run(t, argument);
    }
    return cli_fail("command \"%.*s\" is unknown (see /help)", (int)(n < 60 ? n : 60), line);
}

/* -- lines ----------------------------------------------------------------------------------- */

/* A line without what ends it, from malloc; NULL at the end of the input (*status stays CLI_OK) and
 * on failure.  A line with a NUL is refused. */
static char *read_plain(int *status)
{
    size_t room = 256, n = 0;
    char *line = malloc(room), *grown;
    bool nul = false;
    int c = EOF;

    while (line && (c = getc(stdin)) != EOF && c != '\n') {
        nul = nul || !c;
        line[n++] = (char)c;
        if (n + 1 < room) continue;
        grown = room < MESSAGE_BYTES_MAX ? realloc(line, room *= 2) : NULL;
        if (!grown) free(line);
        line = grown;
    }
    if (!line) {
        *status = cli_fail("a line is too long");
    } else if (nul) {
        *status = cli_fail("a line with a NUL: this is no text");
    } else if (c != EOF || n) {
        if (n && line[n - 1] == '\r') n--;
        line[n] = 0;
        return line;
    }
    free(line);
    return NULL;
}

static char *read_line(const talk *t, bool more, int *status)
{
    char *line;

    if (!t->terminal) return read_plain(status);
    line = readline(more ? ". " : "> ");
    if (line && *line) add_history(line);
    return line;
}

/* Appends b and frees it. */
static char *join(char *a, char *b)
{
    size_t n = strlen(a), size_bytes = strlen(b) + 1;
    char *grown = n + size_bytes < MESSAGE_BYTES_MAX ? realloc(a, n + size_bytes) : NULL;

    if (grown)
        memcpy(grown + n, b, size_bytes);
    else
        free(a);
    free(b);
    return grown;
}

/* Lines up to one that does not end with a backslash; NULL: none, and *status is not CLI_OK when
 * that is a failure. */
static char *read_message(const talk *t, int *status)
{
    char *text = read_line(t, false, status), *line;
    size_t n;

    while (text && (n = strlen(text)) && text[n - 1] == '\\') {
        text[n - 1] = 0;
        line = read_line(t, true, status);
        if (!line && !*status && !cli_stop_asked()) break; /* the end of the input ends it, too */
        if (line) {
            text[n - 1] = '\n';
            text[n] = 0; /* over the terminating 0, which follows the backslash */
            text = join(text, line);
            if (!text) *status = cli_fail("a message is too long");
        } else {
            free(text);
            text = NULL;
        }
    }
    return text;
}

/* -- the history of lines -------------------------------------------------------------------- */

/* $XDG_STATE_HOME/minstrel/history, with its folders; false when that cannot be. */
static bool history_path(char out[PATH_BYTES])
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    bool given = state && *state == '/';
    int n;

    if (!given && !(home && *home == '/')) return false;
    n = snprintf(out, PATH_BYTES, "%s%s/minstrel/history", given ? state : home,
                 given ? "" : "/.local/state");
    if (n < 0 || n >= PATH_BYTES) return false;
    for (char *at = out + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        mkdir(out, 0700); /* it may be there; if it cannot be made, neither can the file */
        *at = '/';
    }
    return true;
}

static void open_terminal(const talk *t)
{
    char path[PATH_BYTES];

    setlocale(LC_CTYPE, ""); /* what the terminal's characters are */
    rl_readline_name = "minstrel";
    rl_instream = stdin;
    rl_outstream = t->json || !isatty(STDOUT_FILENO) ? stderr : stdout;
    using_history();
    stifle_history(HISTORY_LINES);
    if (history_path(path)) read_history(path);
}

static void close_terminal(void)
{
    char path[PATH_BYTES];

    if (history_path(path)) write_history(path);
}

/* -- the command ----------------------------------------------------------------------------- */

static struct {
    char *model, *system, *template_name;
    int context, max_tokens, top_k;
    double temperature, top_p, min_p;
    long long seed;
} given = {.temperature = 0.7, .top_p = 0.95, .seed = 1};

#define SHOWN POPT_ARGFLAG_SHOW_DEFAULT
static const struct poptOption table[] = {
    {"model", 'm', POPT_ARG_STRING, &given.model, 0, "folder or .gguf file of the model", "MODEL"},
    {"system", 's', POPT_ARG_STRING, &given.system, 0,
     "system prompt (default: what the model's template has)", "TEXT"},
    {"template", 0, POPT_ARG_STRING, &given.template_name, 0,
     "chatml, llama3, zephyr, plain, ... (default: the model's own)", "NAME"},
    {"context", 0, POPT_ARG_INT, &given.context, 0, "tokens to keep (default: the model's)", "N"},
    {"max-tokens", 'n', POPT_ARG_INT, &given.max_tokens, 0,
     "tokens of a reply at most (default: as there is room)", "N"},
    {"temperature", 't', POPT_ARG_DOUBLE | SHOWN, &given.temperature, 0,
     "0: always the likeliest token", "X"},
    {"top-k", 0, POPT_ARG_INT | SHOWN, &given.top_k, 0, "draw from the K likeliest; 0: all", "K"},
    {"top-p", 0, POPT_ARG_DOUBLE | SHOWN, &given.top_p, 0,
     "draw from the likeliest that together have this probability", "X"},
    {"min-p", 0, POPT_ARG_DOUBLE | SHOWN, &given.min_p, 0,
     "draw from those with at least this part of the likeliest one's probability", "X"},
    {"seed", 0, POPT_ARG_LONGLONG | SHOWN, &given.seed, 0, "of the draws", "N"},
    CLI_CACHE,
    CLI_COMMON};

static const char usage[] =
    "--model MODEL\n\n"
    "Each line is a message; /help lists commands.  Ctrl-C stops a reply, Ctrl-D leaves.  Without "
    "a\nterminal, lines come from standard input, replies go to standard output, with --json as "
    "an\nobject on a line.\n\n"
    "Example: minstrel chat --model SmolLM2-135M-Instruct --system \"You answer in one "
    "sentence.\"\n";

static minstrel_chat_options chat_options(talk *t, const minstrel_options *o)
{
    minstrel_chat_options c = minstrel_default_chat_options();

    c.system = given.system;
    c.template_name = given.template_name;
    c.context = given.context;
    c.max_tokens = given.max_tokens;
    c.temperature = (float)given.temperature;
    c.top_k = given.top_k;
    c.top_p = (float)given.top_p;
    c.min_p = (float)given.min_p;
    c.seed = (uint64_t)given.seed;
    c.on_text = on_text;
    c.data = t;
    c.log = o->log;
    c.log_data = o->log_data;
    return c;
}

/* Reads a message and does what it says. */
static int take_turn(talk *t)
{
    int status = CLI_OK;
    char *line;

    if (t->terminal) cli_stop_forget();
    line = read_message(t, &status);
    if (line && !cli_stop_asked()) {
        if (*line == '/')
            status = obey(t, line);
        else if (line[strspn(line, " \t\n")])
            status = answer(t, line);
    } else if (!line && !status && !cli_stop_asked()) {
        t->leaves = true;
        if (t->terminal) fputc('\n', stderr);
    } else if (t->terminal && cli_stop_asked()) {
        fputc('\n', stderr);
        note("Ctrl-D or /quit leaves");
    }
    free(line);
    return status;
}

static int converse(talk *t)
{
    minstrel_chat_state s = minstrel_chat_look(t->chat);

    if (t->terminal) {
        cli_catch_interrupts();
        open_terminal(t);
        if (!cli_shared.quiet)
            fprintf(stderr, "%s: template %s, context %d; /help lists commands, Ctrl-D leaves\n",
                    given.model, s.template_name, s.context);
    }
    while (!t->leaves && !t->write_errno) {
        if (take_turn(t)) t->failed = true;
        if (!t->terminal && !t->write_errno && cli_stop_asked()) {
            t->failed = true;
            cli_fail("stopped");
            break;
        }
    }
    if (t->terminal) close_terminal();
    if (t->write_errno) errno = t->write_errno; /* cli_finish, which follows, says what it was */
    return t->write_errno || (t->failed && !t->terminal) ? CLI_FAILED : CLI_OK;
}

int cli_chat(int argc, const char **argv)
{
    talk t = {.terminal = isatty(STDIN_FILENO) != 0};
    minstrel_options o;
    minstrel_chat_options c;
    minstrel_model *m = NULL;
    minstrel_error err;
    int status = cli_parse("chat", usage, table, argc, argv, NULL);

    if (status) return status;
    if (!given.model) return cli_usage("--model is missing");
    t.json = cli_shared.json != 0;
    if (!t.terminal) cli_catch_signals();
    o = cli_options();
    c = chat_options(&t, &o);
    if (minstrel_model_open(&m, given.model, &o, &err) || minstrel_chat_new(&t.chat, m, &c, &err))
        status = cli_error(&err);
    else
        status = converse(&t);
    minstrel_chat_free(t.chat);
    minstrel_model_free(m);
    return status;
}
