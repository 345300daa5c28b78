/* Any bytes as a .safetensors file: refused in one line, or every tensor lies inside. */
#include "formats/safetensors.h"

#include "fuzz.h"
#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fuzz_file file;
    ms_safetensors *s = NULL;
    ms_error err;
    ms_status status = ms_safetensors_open(&s, fuzz_put(&file, data, size), &err);

    fuzz_refused(status, &err);
    if (status) return 0;
    for (int i = 0; i < ms_safetensors_count(s); i++) {
        const ms_st_entry *e = ms_safetensors_at(s, i);

        fuzz_touch(e->data, e->size_bytes);
        if (ms_safetensors_find(s, e->name) != e) abort();
    }
    ms_safetensors_metadata(s, "format");
    ms_safetensors_close(s);
    return 0;
}

/* Mostly the header changes, with its length and the data behind it kept. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size_t header = size > 8 ? data[0] | (size_t)data[1] << 8 : 0, rest, n;
    uint8_t *tail;

    if (header == 0 || header > size - 8 || seed % 4 == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    rest = size - 8 - header;
    tail = malloc(rest + 1);
    if (!tail) return LLVMFuzzerMutate(data, size, max_size);
    memcpy(tail, data + 8 + header, rest);
    n = json_mutate(data + 8, header, max_size - 8 - rest, seed);
    if (n) {
        memset(data, 0, 8);
        data[0] = (uint8_t)n;
        data[1] = (uint8_t)(n >> 8);
        memcpy(data + 8 + n, tail, rest);
    }
    free(tail);
    return n ? 8 + n + rest : LLVMFuzzerMutate(data, size, max_size);
}
