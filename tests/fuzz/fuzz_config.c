/* Any bytes as a config.json: refused in one line, or a configuration that passes its own check. */
#include "model/config.h"

#include "fuzz.h"
#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size ? size : 1); /* no byte behind it: reading on is a finding */
    ms_config c;
    ms_error err;
    ms_status s;

    if (!exact) abort();
    if (size) memcpy(exact, data, size);
    s = ms_config_parse(&c, exact, size, "config.json", &err);
    free(exact);
    fuzz_refused(s, &err);
    if (s) return 0;
    if (ms_config_check(&c, &err) || ms_config_parameters(&c) == 0) abort();
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size_t n = seed % 4 ? json_mutate(data, size, max_size, seed) : 0;

    return n ? n : LLVMFuzzerMutate(data, size, max_size);
}
