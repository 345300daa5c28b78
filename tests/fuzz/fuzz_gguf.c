/* Any bytes as a .gguf file: refused in one line, or all metadata and tensors lie inside, and the
 * configuration and the tokenizer in it are refused in one line or can be used. */
#include "formats/gguf.h"
#include "model/gguf.h"
#include "text/tokenizer_gguf.h"

#include "fuzz.h"

static void touch_metadata(const ms_gguf *g)
{
    for (int i = 0; i < ms_gguf_metas(g); i++) {
        const ms_gguf_meta *m = ms_gguf_meta_at(g, i);

        if (!ms_gguf_get(g, m->key)) abort();
        for (uint64_t k = 0; k < m->count; k++) {
            ms_gguf_text text;
            double number;

            if (ms_gguf_text_at(m, k, &text)) fuzz_touch(text.text, text.size_bytes);
            if (ms_gguf_number(m, k, &number)) fuzz_touch(&number, sizeof number);
        }
    }
}

static void touch_tokenizer(const ms_gguf *g)
{
    static const char text[] = "It's 42\n\n  <s>\xe2\x96\x81na\xc3\xafve \xf0\x9f\x98\x80 \xff";
    ms_tokenizer *t = NULL;
    ms_error err;
    ms_status s = ms_tokenizer_from_gguf(&t, g, &err);
    int32_t *ids;
    size_t count;

    fuzz_refused(s, &err);
    if (s) return;
    for (int flags = 0; flags < 4; flags++) {
        s = ms_tokenizer_encode(t, text, sizeof text - 1, flags, &ids, &count, &err);
        fuzz_refused(s, &err);
        if (s) continue;
        for (size_t i = 0; i < count; i++)
            if (!ms_tokenizer_piece(t, ids[i], &(size_t){0})) abort();
        free(ids);
    }
    ms_tokenizer_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fuzz_file file;
    ms_gguf *g = NULL;
    ms_config c;
    ms_error err;
    ms_status s = ms_gguf_open(&g, fuzz_put(&file, data, size), &err);

    fuzz_refused(s, &err);
    if (s) return 0;
    for (int i = 0; i < ms_gguf_count(g); i++)
        fuzz_touch(ms_gguf_at(g, i)->data, ms_gguf_at(g, i)->size_bytes);
    touch_metadata(g);
    s = ms_config_from_gguf(&c, g, &err);
    fuzz_refused(s, &err);
    if (!s && ms_config_check(&c, &err)) abort();
    touch_tokenizer(g);
    ms_gguf_close(g);
    return 0;
}
