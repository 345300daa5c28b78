/* generate - continue prompts with a model; text on stdout as it comes, statistics on stderr */
#include "cli/cli.h"

#include <cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PROMPT_BYTES_MAX = 64 << 20 };

/* -- prompts --------------------------------------------------------------------------------- */

typedef struct {
    char *text;        /* what the options named, cut at its line ends */
    const char **line; /* (lines) into text */
    size_t lines;
} prompts;

static void prompts_free(prompts *p)
{
    free(p->text);
    free(p->line);
}

/* All of a stream (a pipe has no size); at most PROMPT_BYTES_MAX. */
static int read_stream(FILE *f, const char *name, char **out, size_t *size_bytes)
{
    size_t room = 1 << 16, n = 0, got;
    char *text = malloc(room + 1), *grown;

    if (!text) return cli_fail("out of memory");
    while ((got = fread(text + n, 1, room - n, f)) > 0) {
        n += got;
        if (n < room) continue;
        grown = room < PROMPT_BYTES_MAX ? realloc(text, 2 * room + 1) : NULL;
        if (!grown) {
            free(text);
            return cli_fail("%s: more than %d MB", name, PROMPT_BYTES_MAX >> 20);
        }
        text = grown;
        room *= 2;
    }
    text[n] = 0;
    *out = text;
    *size_bytes = n;
    return ferror(f) ? cli_fail("%s: %s", name, strerror(errno)) : CLI_OK;
}

/* A file, or standard input for "-"; refuses bytes that would cut the text short. */
static int read_text(const char *path, char **out, size_t *size_bytes)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdin : fopen(path, "rb");
    int status;

    if (!f) return cli_fail("%s: %s", path, strerror(errno));
    status = read_stream(f, standard ? "standard input" : path, out, size_bytes);
    if (!standard) fclose(f);
    if (!status && strlen(*out) != *size_bytes)
        status = cli_fail("%s: byte %zu is NUL: this is no text", path, strlen(*out));
    return status;
}

/* A prompt from the command line or a file, without the newline that ends the file. */
static int one_prompt(prompts *p, const char *text, const char *path)
{
    size_t n;

    if (text && strcmp(text, "-") == 0) path = "-";
    if (path) {
        if (read_text(path, &p->text, &n)) return CLI_FAILED;
        if (n && p->text[n - 1] == '\n') p->text[n - 1] = 0;
        text = p->text;
    }
    p->line = malloc(sizeof *p->line);
    if (!p->line) return cli_fail("out of memory");
    p->line[0] = text;
    p->lines = 1;
    return CLI_OK;
}

/* A prompt a line; a line may end with CR LF. */
static int many_prompts(prompts *p, const char *path)
{
    size_t n, room = 1;

    if (read_text(path, &p->text, &n)) return CLI_FAILED;
    for (size_t i = 0; i < n; i++) room += p->text[i] == '\n';
    p->line = calloc(room, sizeof *p->line);
    if (!p->line) return cli_fail("out of memory");
    for (char *at = p->text; *at;) {
        char *end = strchr(at, '\n'), *next = end ? end + 1 : at + strlen(at);

        if (end) *end = 0;
        if (end && end > at && end[-1] == '\r') end[-1] = 0;
        p->line[p->lines++] = at;
        at = next;
    }
    return p->lines ? CLI_OK : cli_fail("%s: no prompts", path);
}

/* -- what is shown --------------------------------------------------------------------------- */

/* Several answers are shown whole, in the order of the prompts; one streams. */
typedef struct {
    bool json, many;
    const prompts *prompt;
    minstrel_text *all; /* (lines) answers that wait for their turn; owned copies */
    bool *ended;        /* (lines) */
    size_t next;        /* whose turn it is */
    int write_errno;    /* of the first write that failed; 0: none */
} screen;

static void write_out(screen *s, const char *text, size_t text_bytes)
{
    if (!s->write_errno && !cli_write(text, text_bytes)) s->write_errno = errno;
}

static void write_text(screen *s, const char *text, size_t text_bytes)
{
    if (!s->write_errno && !cli_write_text(text, text_bytes)) s->write_errno = errno;
}

static void write_json(screen *s, const char *prompt, const minstrel_text *t)
{
    cJSON *o = cJSON_CreateObject();
    cJSON *ids;
    char *text;

    cJSON_AddStringToObject(o, "prompt", prompt);
    cJSON_AddStringToObject(o, "text", t->text);
    ids = cJSON_AddArrayToObject(o, "ids");
    for (size_t i = 0; ids && i < t->count; i++)
        cJSON_AddItemToArray(ids, cJSON_CreateNumber(t->ids[i]));
    cJSON_AddNumberToObject(o, "prompt_tokens", (double)t->prompt_tokens);
    cJSON_AddNumberToObject(o, "tokens", (double)t->count);
    cJSON_AddNumberToObject(o, "log_probability", t->log_probability);
    cJSON_AddStringToObject(o, "stop", cli_stop_name(t->stop));
    cJSON_AddNumberToObject(o, "prefill_s", t->prefill_s);
    cJSON_AddNumberToObject(o, "decode_s", t->decode_s);
    text = cJSON_PrintUnformatted(o);
    if (text) {
        write_out(s, text, strlen(text));
        write_out(s, "\n", 1);
    } else {
        s->write_errno = ENOMEM;
    }
    cJSON_free(text);
    cJSON_Delete(o);
}

static void write_answer(screen *s, size_t i)
{
    const char *prompt = s->prompt->line[i];
    const minstrel_text *t = &s->all[i];

    if (t->stop == MINSTREL_STOP_ASKED && !t->count) return; /* it was not begun */
    if (s->json) {
        write_json(s, prompt, t);
        return;
    }
    write_out(s, i ? "\n==> " : "==> ", i ? 5 : 4);
    write_text(s, prompt, strlen(prompt));
    write_out(s, " <==\n", 5);
    write_text(s, t->text, strlen(t->text));
    write_out(s, "\n", 1);
}

/* -- callbacks of the library ---------------------------------------------------------------- */

static int on_text(void *data, size_t prompt, const char *text, size_t text_bytes)
{
    screen *s = data;

    (void)prompt;
    if (!s->json && !s->many) write_text(s, text, text_bytes);
    return cli_stop_asked() || s->write_errno;
}

/* Keeps a copy until the prompts in front of it have been answered. */
static void on_done(void *data, size_t prompt, const minstrel_text *text)
{
    screen *s = data;
    minstrel_text *t = &s->all[prompt];

    if (!s->json && !s->many) {
        write_out(s, "\n", 1);
        return;
    }
    *t = *text;
    t->text = strdup(text->text);
    t->ids = malloc((text->count + 1) * sizeof *t->ids);
    if (!t->text || !t->ids) {
        minstrel_text_clear(t);
        s->write_errno = ENOMEM;
        return;
    }
    memcpy(t->ids, text->ids, text->count * sizeof *t->ids);
    s->ended[prompt] = true;
    for (; s->next < s->prompt->lines && s->ended[s->next]; s->next++) {
        write_answer(s, s->next);
        minstrel_text_clear(&s->all[s->next]);
    }
}

/* -- the command ----------------------------------------------------------------------------- */

static struct {
    char *model, *prompt, *prompt_file, *prompts;
    int max_tokens, top_k, beams, batch, ignore_eos, echo;
    double temperature, top_p, min_p, length_penalty;
    long long seed;
} given = {.max_tokens = 256,
           .beams = 1,
           .batch = 1,
           .temperature = 1,
           .top_p = 1,
           .length_penalty = 1,
           .seed = 1};

#define SHOWN POPT_ARGFLAG_SHOW_DEFAULT
static const struct poptOption table[] = {
    {"model", 'm', POPT_ARG_STRING, &given.model, 0, "folder of the model", "MODEL"},
    {"prompt", 'p', POPT_ARG_STRING, &given.prompt, 0, "text to continue; - for standard input",
     "TEXT"},
    {"prompt-file", 'f', POPT_ARG_STRING, &given.prompt_file, 0,
     "the same from a file, without its last newline", "FILE"},
    {"prompts", 0, POPT_ARG_STRING, &given.prompts, 0, "many prompts, one a line; - likewise",
     "FILE"},
    {"max-tokens", 'n', POPT_ARG_INT | SHOWN, &given.max_tokens, 0, "tokens to write at most", "N"},
    {"temperature", 't', POPT_ARG_DOUBLE | SHOWN, &given.temperature, 0,
     "0: always the likeliest token", "X"},
    {"top-k", 0, POPT_ARG_INT | SHOWN, &given.top_k, 0, "draw from the K likeliest; 0: all", "K"},
    {"top-p", 0, POPT_ARG_DOUBLE | SHOWN, &given.top_p, 0,
     "draw from the likeliest that together have this probability", "X"},
    {"min-p", 0, POPT_ARG_DOUBLE | SHOWN, &given.min_p, 0,
     "draw from those with at least this part of the likeliest one's probability", "X"},
    {"seed", 0, POPT_ARG_LONGLONG | SHOWN, &given.seed, 0, "of the draws", "N"},
    {"beams", 0, POPT_ARG_INT | SHOWN, &given.beams, 0,
     "beam search with N beams instead of drawing", "N"},
    {"length-penalty", 0, POPT_ARG_DOUBLE | SHOWN, &given.length_penalty, 0,
     "beams are ranked by log probability / length^X", "X"},
    {"batch", 0, POPT_ARG_INT | SHOWN, &given.batch, 0, "prompts at once, with --prompts", "N"},
    {"ignore-eos", 0, POPT_ARG_NONE, &given.ignore_eos, 0, "write on behind the end of the text",
     NULL},
    {"echo", 0, POPT_ARG_NONE, &given.echo, 0, "print the prompt in front of its text", NULL},
    CLI_CACHE,
    CLI_COMMON};

static const char usage[] =
    "--model MODEL --prompt TEXT | --prompt-file FILE | --prompts FILE\n\n"
    "Text goes to standard output as it comes, speeds to standard error.  With --prompts each "
    "answer\n"
    "stands under its prompt, in the order of the file; with --json each is an object on a "
    "line.\n\n"
    "Example: minstrel generate --model runs/book --prompt \"In the beginning\" -n 100 -t 0.8\n";

static int check_given(void)
{
    int sources = !!given.prompt + !!given.prompt_file + !!given.prompts;

    if (!given.model) return cli_usage("--model is missing");
    if (sources == 0) return cli_usage("a prompt is missing: --prompt, --prompt-file or --prompts");
    if (sources > 1) return cli_usage("expected one of --prompt, --prompt-file and --prompts");
    return CLI_OK;
}

static minstrel_generate_options generate_options(screen *s)
{
    minstrel_generate_options g = minstrel_default_generate_options();

    g.max_tokens = given.max_tokens;
    g.temperature = (float)given.temperature;
    g.top_k = given.top_k;
    g.top_p = (float)given.top_p;
    g.min_p = (float)given.min_p;
    g.seed = (uint64_t)given.seed;
    g.beams = given.beams;
    g.length_penalty = (float)given.length_penalty;
    g.batch = given.batch;
    g.ignore_eos = given.ignore_eos;
    g.on_text = on_text;
    g.on_done = on_done;
    g.data = s;
    return g;
}

/* Speeds on stderr: of the prompts, and of what was written. */
static void report(const minstrel_text *text, size_t count, double seconds)
{
    double prefill_s = 0, decode_s = 0;
    size_t prompt_tokens = 0, tokens = 0;

    if (cli_shared.quiet) return;
    for (size_t i = 0; i < count; i++) {
        prompt_tokens += text[i].prompt_tokens;
        tokens += text[i].count;
        prefill_s += text[i].prefill_s;
        decode_s += text[i].decode_s;
    }
    if (count == 1 && prefill_s > 0 && tokens > 1 && decode_s > 0)
        fprintf(stderr, "prompt: %zu tokens, %.0f tokens/s; text: %zu tokens, %.0f tokens/s\n",
                prompt_tokens, (double)prompt_tokens / prefill_s, tokens,
                (double)(tokens - 1) / decode_s);
    else
        fprintf(stderr, "%zu prompts: %zu tokens; text: %zu tokens, %.0f tokens/s\n", count,
                prompt_tokens, tokens, seconds > 0 ? (double)tokens / seconds : 0);
}

static int generate(minstrel_model *m, screen *s)
{
    size_t n = s->prompt->lines;
    minstrel_generate_options g = generate_options(s);
    minstrel_text *text = calloc(n, sizeof *text);
    minstrel_error err;
    struct timespec start, end;
    int status = CLI_OK;

    if (!text) return cli_fail("out of memory");
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (given.echo && !s->json && !s->many)
        write_text(s, s->prompt->line[0], strlen(s->prompt->line[0]));
    if (minstrel_generate_all(m, s->prompt->line, n, &g, text, &err)) status = cli_error(&err);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (!status && !s->write_errno)
        report(text, n,
               (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec));
    if (!status && cli_stop_asked()) status = cli_fail("stopped");
    for (size_t i = 0; i < n; i++) minstrel_text_clear(&text[i]);
    free(text);
    return status;
}

static int run(const prompts *p)
{
    screen s = {.json = cli_shared.json != 0, .many = given.prompts != NULL, .prompt = p};
    minstrel_options o = cli_options();
    minstrel_model *m = NULL;
    minstrel_error err;
    int status;

    s.all = calloc(p->lines, sizeof *s.all);
    s.ended = calloc(p->lines, sizeof *s.ended);
    if (!s.all || !s.ended)
        status = cli_fail("out of memory");
    else if (minstrel_model_open(&m, given.model, &o, &err))
        status = cli_error(&err);
    else
        status = generate(m, &s);
    minstrel_model_free(m);
    for (size_t i = 0; s.all && i < p->lines; i++) minstrel_text_clear(&s.all[i]);
    free(s.all);
    free(s.ended);
    if (!s.write_errno) return status;
    errno = s.write_errno; /* cli_finish, which follows, says what it was */
    return CLI_FAILED;
}

int cli_generate(int argc, const char **argv)
{
    prompts p = {0};
    int status = cli_parse("generate", usage, table, argc, argv, NULL);

    if (!status) status = check_given();
    if (status) return status;
    cli_catch_signals();
    status = given.prompts ? many_prompts(&p, given.prompts)
                           : one_prompt(&p, given.prompt, given.prompt_file);
    if (!status) status = run(&p);
    prompts_free(&p);
    return status;
}
