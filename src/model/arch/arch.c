/* arch - the list of families */
#include "model/arch/families.h"

#include <string.h>

static const ms_arch *const families[] = {&ms_arch_original, &ms_arch_gpt2,  &ms_arch_llama,
                                          &ms_arch_mistral,  &ms_arch_qwen2, &ms_arch_qwen3,
                                          &ms_arch_nano};

const ms_arch *ms_arch_at(int i)
{
    return i >= 0 && (size_t)i < sizeof families / sizeof *families ? families[i] : NULL;
}

const ms_arch *ms_arch_find(const char *name)
{
    if (!strcmp(name, "smollm")) return &ms_arch_llama;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(families[i]->name, name)) return families[i];
    return NULL;
}
