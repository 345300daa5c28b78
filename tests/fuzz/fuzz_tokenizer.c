/* Any bytes as a tokenizer.json, behind a 0 byte a tokenizer_config.json, behind another a text:
 * refused in one line, or a tokenizer whose ids are in range and that can be written. */
#include "text/tokenizer.h"

#include "fuzz.h"
#include "json.h"

static char folder[128], path[160];

static void remove_folder(void)
{
    char config[180];

    snprintf(config, sizeof config, "%s/tokenizer_config.json", folder);
    unlink(config);
    unlink(path);
    rmdir(folder);
}

/* The loader looks for its second file beside the first: links to the two in memory. */
static void make_folder(const char *tokenizer, const char *config)
{
    const char *temporary = getenv("TMPDIR");
    char other[180];

    snprintf(folder, sizeof folder, "%s/minstrel-fuzz-XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(folder)) abort();
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    snprintf(other, sizeof other, "%s/tokenizer_config.json", folder);
    if (symlink(tokenizer, path) || symlink(config, other)) abort();
    atexit(remove_folder);
}

static void use(const ms_tokenizer *t, const char *text, size_t size)
{
    int vocab = ms_tokenizer_vocab(t);
    int32_t *ids;
    size_t count, n;
    ms_error err;

    if (ms_tokenizer_bos(t) >= vocab || ms_tokenizer_eos(t) >= vocab) abort();
    for (int id = 0; id < vocab; id++) {
        const char *name = ms_tokenizer_name(t, id), *piece = ms_tokenizer_piece(t, id, &n);

        if (name && ms_tokenizer_find(t, name) != id) abort();
        fuzz_touch(piece, n);
    }
    for (int flags = 0; flags < 4; flags++) {
        ms_status s = ms_tokenizer_encode(t, text, size, flags, &ids, &count, &err);

        fuzz_refused(s, &err);
        if (s) continue;
        for (size_t i = 0; i < count; i++)
            if (ids[i] < 0 || ids[i] >= vocab) abort();
        free(ids);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char usual[] = "It's 42\n\n  <s>\xe2\x96\x81na\xc3\xafve \xf0\x9f\x98\x80 \xff";
    static fuzz_file file[2];
    const uint8_t *first = size ? memchr(data, 0, size) : NULL, *end = data + size;
    const uint8_t *config = first ? first + 1 : end;
    const uint8_t *second = config < end ? memchr(config, 0, (size_t)(end - config)) : NULL;
    const char *text = second ? (const char *)second + 1 : usual;
    ms_tokenizer *t = NULL;
    ms_error err;
    ms_status s;

    fuzz_put(&file[0], data, (size_t)((first ? first : end) - data));
    if (config == end) config = (const uint8_t *)"{}", second = config + 2;
    fuzz_put(&file[1], config, (size_t)((second ? second : end) - config));
    if (!folder[0]) make_folder(file[0].path, file[1].path);
    s = ms_tokenizer_load(&t, path, &err);
    fuzz_refused(s, &err);
    if (s) return 0;
    use(t, text, text == usual ? sizeof usual - 1 : (size_t)((const char *)end - text));
    ms_tokenizer_free(t);
    return 0;
}

/* One of the two files changes, the rest is kept. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    uint8_t *first = size ? memchr(data, 0, size) : NULL, *from = data, *tail;
    size_t part = first ? (size_t)(first - data) : size, before, rest, n;

    if (first && seed % 3 == 0) {
        const uint8_t *second = memchr(first + 1, 0, (size_t)(data + size - first - 1));

        from = first + 1;
        part = (size_t)((second ? second : data + size) - from);
    }
    before = (size_t)(from - data);
    rest = size - before - part;
    tail = seed % 4 ? malloc(rest + 1) : NULL;
    if (!tail) return LLVMFuzzerMutate(data, size, max_size);
    memcpy(tail, from + part, rest);
    n = json_mutate(from, part, max_size - before - rest, seed);
    if (n) memcpy(from + n, tail, rest);
    free(tail);
    return n ? before + n + rest : LLVMFuzzerMutate(data, size, max_size);
}
