/* tokenize - trains a tokenizer, turns text into token ids and back */
#include "cli/cli.h"

#include <cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char *model, *file, *out, *text;
static const char **data, **special;
static minstrel_tokenizer_options o;
static int plain, frame, binary, count_only, names;

static struct poptOption table[] = {
    {"model", 'm', POPT_ARG_STRING, &model, 0,
     "tokenizer: a tokenizer.json or the folder of a model", "MODEL"},
    {"file", 'f', POPT_ARG_STRING, &file, 0, "what to encode or decode (default standard input)",
     "FILE"},
    {"text", 0, POPT_ARG_STRING, &text, 0, "the text to encode, instead of a file", "TEXT"},
    {"plain", 0, POPT_ARG_NONE, &plain, 0, "encode: special tokens in the text are plain text",
     NULL},
    {"frame", 0, POPT_ARG_NONE, &frame, 0,
     "encode: with the tokens that the model expects around a text", NULL},
    {"names", 0, POPT_ARG_NONE, &names, 0, "encode: tokens as they stand in the vocabulary", NULL},
    {"count", 0, POPT_ARG_NONE, &count_only, 0, "encode: only how many, and how fast", NULL},
    {"binary", 0, POPT_ARG_NONE, &binary, 0,
     "ids are 32-bit integers in the byte order of this machine", NULL},
    {"data", 0, POPT_ARG_ARGV, &data, 0,
     "train: text: file, folder, .jsonl, .zst, - ; may be repeated", "PATH"},
    {"out", 'o', POPT_ARG_STRING, &out, 0, "train: where tokenizer.json goes", "FILE"},
    {"vocab", 0, POPT_ARG_INT, &o.vocab, 0, "train: tokens in all (default 4096)", "N"},
    {"min-frequency", 0, POPT_ARG_INT, &o.min_frequency, 0,
     "train: pairs that are rarer are not merged (default 2)", "N"},
    {"pattern", 0, POPT_ARG_STRING, &o.pattern, 0,
     "train: words: gpt2, gpt4, llama3, qwen2 or a regular expression (default gpt2)", "PATTERN"},
    {"special", 0, POPT_ARG_ARGV, &special, 0,
     "train: a special token; may be repeated, the first ends a text (default <|endoftext|>)",
     "TOKEN"},
    CLI_COMMON};

static const char usage[] =
    "train | encode | decode [options]\n\n"
    "train learns a byte-level BPE vocabulary from text and writes it as Hugging Face does; encode "
    "prints the\n"
    "ids of a text, decode the text of ids.\n\n"
    "Example: minstrel tokenize train --data book.txt --vocab 8192 --out tokenizer.json\n"
    "         minstrel tokenize encode --model tokenizer.json --text \"In the beginning\"\n"
    "         echo 12 7 300 | minstrel tokenize decode --model tokenizer.json\n";

/* -- files ----------------------------------------------------------------------------------- */

/* All of a file or of standard input; from malloc, terminated; NULL with a message. */
static char *read_all(size_t *size)
{
    FILE *in = file && strcmp(file, "-") != 0 ? fopen(file, "rb") : stdin;
    size_t room = 1 << 16, n = 0, got;
    char *all = in ? malloc(room) : NULL;

    while (all && (got = fread(all + n, 1, room - n - 1, in)) > 0) {
        char *grown;

        n += got;
        if (n < room - 1) continue;
        grown = realloc(all, room *= 2);
        if (!grown) free(all);
        all = grown;
    }
    if (!in || ferror(in)) {
        cli_fail("%s: %s", file ? file : "standard input", strerror(errno));
        free(all);
        all = NULL;
    } else if (!all) {
        cli_fail("out of memory");
    }
    if (in && in != stdin) fclose(in);
    if (all) all[n] = 0;
    *size = n;
    return all;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* -- encode ---------------------------------------------------------------------------------- */

static void print_count(size_t ids, size_t bytes, double seconds)
{
    double speed = seconds > 0 ? (double)bytes / 1e6 / seconds : 0;

    if (cli_shared.json)
        printf("{\"tokens\":%zu,\"bytes\":%zu,\"seconds\":%.6f}\n", ids, bytes, seconds);
    else
        printf("tokens %zu  bytes %zu  bytes a token %.3f  seconds %.3f  MB/s %.1f\n", ids, bytes,
               ids ? (double)bytes / (double)ids : 0, seconds, speed);
}

/* [{"id":12,"token":"the"}, ...]; what is no text is left out. */
static void print_names_json(const minstrel_tokenizer *t, const int32_t *ids, size_t count)
{
    putchar('[');
    for (size_t i = 0; i < count; i++) {
        cJSON *name = cJSON_CreateString(minstrel_tokenizer_name(t, ids[i]));
        char *shown = cJSON_PrintUnformatted(name);

        printf("%s{\"id\":%d,\"token\":%s}", i ? "," : "", (int)ids[i], shown ? shown : "null");
        cJSON_free(shown);
        cJSON_Delete(name);
    }
    puts("]");
}

static void print_ids(const minstrel_tokenizer *t, const int32_t *ids, size_t count)
{
    if (binary) {
        fwrite(ids, sizeof *ids, count, stdout);
        return;
    }
    if (cli_shared.json && names) {
        print_names_json(t, ids, count);
        return;
    }
    if (cli_shared.json) putchar('[');
    for (size_t i = 0; i < count; i++) {
        if (names)
            printf("%d\t%s\n", (int)ids[i], minstrel_tokenizer_name(t, ids[i]));
        else
            printf("%s%d", i ? (cli_shared.json ? "," : " ") : "", (int)ids[i]);
    }
    if (!names) puts(cli_shared.json ? "]" : "");
}

static int encode(const minstrel_tokenizer *t)
{
    int flags = (plain ? 0 : MINSTREL_ENCODE_SPECIALS) | (frame ? MINSTREL_ENCODE_FRAME : 0);
    size_t size = text ? strlen(text) : 0, count;
    char *read = text ? NULL : read_all(&size);
    minstrel_error err;
    int32_t *ids;
    double start = now();

    if (!text && !read) return CLI_FAILED;
    if (minstrel_tokenizer_encode(t, text ? text : read, size, flags, &ids, &count, &err)) {
        free(read);
        return cli_error(&err);
    }
    if (count_only)
        print_count(count, size, now() - start);
    else
        print_ids(t, ids, count);
    minstrel_tokens_free(ids);
    free(read);
    return CLI_OK;
}

/* -- decode ---------------------------------------------------------------------------------- */

/* Numbers between anything but digits: "1 2 3", "[1,2,3]".  -1: one is too large, or misplaced. */
static long parse_ids(char *from, size_t size, int32_t *ids)
{
    long count = 0;
    char *at = from;

    while (at < from + size) {
        char *end;
        long id;

        if (strchr(" \t\r\n,[]", *at)) {
            at++;
            continue;
        }
        errno = 0;
        id = strtol(at, &end, 10);
        if (end == at || errno || id < 0 || id > INT32_MAX) return -1;
        ids[count++] = (int32_t)id;
        at = end;
    }
    return count;
}

static int decode(const minstrel_tokenizer *t)
{
    size_t size, bytes;
    char *read = read_all(&size), *decoded;
    int32_t *ids = read ? malloc((size + 1) * sizeof *ids) : NULL;
    long count = -1;
    minstrel_error err;
    int status = CLI_OK;

    if (ids && binary) {
        memcpy(ids, read, size);
        count = size % sizeof *ids ? -1 : (long)(size / sizeof *ids);
    } else if (ids) {
        count = parse_ids(read, size, ids);
    }
    if (!read)
        status = CLI_FAILED;
    else if (count < 0)
        status = cli_fail("%s", !ids     ? "out of memory"
                                : binary ? "the bytes are no 32-bit integers"
                                         : "expected token ids, as 1 2 3 or [1,2,3]");
    else if (minstrel_tokenizer_decode(t, ids, (size_t)count, &decoded, &bytes, &err))
        status = cli_error(&err);
    if (!status) {
        fwrite(decoded, 1, bytes, stdout);
        minstrel_text_free(decoded);
    }
    free(ids);
    free(read);
    return status;
}

/* -- train ----------------------------------------------------------------------------------- */

static int train(void)
{
    minstrel_tokenizer *t;
    minstrel_error err;
    int paths = 0;
    double start = now();

    if (!data) return cli_usage("--data PATH is missing");
    if (!out) return cli_usage("--out FILE is missing");
    while (data[paths]) paths++;
    if (special) {
        o.specials = special;
        for (o.special_count = 0; special[o.special_count];) o.special_count++;
    }
    o.threads = cli_shared.threads;
    o.pin = cli_shared.pin;
    if (minstrel_tokenizer_train(data, paths, &o, out, &err)) return cli_error(&err);
    if (minstrel_tokenizer_open(&t, out, &err)) return cli_error(&err);
    if (cli_shared.json)
        printf("{\"vocab\":%d,\"seconds\":%.3f}\n", minstrel_tokenizer_vocab(t), now() - start);
    else
        printf("vocabulary %d  seconds %.1f\n", minstrel_tokenizer_vocab(t), now() - start);
    minstrel_tokenizer_free(t);
    return CLI_OK;
}

int cli_tokenize(int argc, const char **argv)
{
    minstrel_tokenizer *t = NULL;
    minstrel_error err;
    const char **rest = NULL;
    int status;

    o = minstrel_default_tokenizer_options();
    status = cli_parse("tokenize", usage, table, argc, argv, &rest);
    if (status) return status;
    if (!rest || !rest[0]) return cli_usage("expected train, encode or decode");
    if (rest[1]) return cli_usage("what is \"%s\"? (see minstrel tokenize --help)", rest[1]);
    if (!strcmp(rest[0], "train")) return train();
    if (strcmp(rest[0], "encode") != 0 && strcmp(rest[0], "decode") != 0)
        return cli_usage("\"%s\": expected train, encode or decode", rest[0]);
    if (!model) return cli_usage("--model MODEL is missing");
    if (minstrel_tokenizer_open(&t, model, &err)) return cli_error(&err);
    status = !strcmp(rest[0], "encode") ? encode(t) : decode(t);
    minstrel_tokenizer_free(t);
    return status;
}
