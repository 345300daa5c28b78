/* json - changes a JSON text into another one, so that inputs get past the parser */
#ifndef TESTS_FUZZ_JSON_H
#define TESTS_FUZZ_JSON_H

#include <cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static inline uint32_t json_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    return *state ^= *state << 5;
}

/* Node *n of a tree, counted down in order; NULL: the tree has fewer. */
static inline cJSON *json_node(cJSON *o, int *n)
{
    for (cJSON *item = o; item; item = item->next) {
        cJSON *found = (*n)-- == 0 ? item : json_node(item->child, n);

        if (found) return found;
    }
    return NULL;
}

static inline cJSON *json_any(cJSON *root, uint32_t *state)
{
    int most = 1 << 20, n = most;

    json_node(root, &n);
    n = (int)(json_random(state) % (uint32_t)(most - n));
    return json_node(root, &n);
}

static inline cJSON *json_value(cJSON *root, uint32_t *state)
{
    static const double number[] = {0,          -1,  1,    2,     3,    255,   256,       65536,
                                    2147483647, 1e9, -1e9, 1e300, 1e-9, 0.625, 4294967295};

    switch (json_random(state) % 8) {
    case 0: return cJSON_CreateNull();
    case 1: return cJSON_CreateBool((int)(json_random(state) & 1));
    case 2: return cJSON_CreateArray();
    case 3: return cJSON_CreateObject();
    case 4:
    case 5: return cJSON_CreateNumber(number[json_random(state) % 15]);
    case 6: return cJSON_CreateString("");
    default: return cJSON_Duplicate(json_any(root, state), 1);
    }
}

/* A text or a key gets bytes that libFuzzer chooses. */
static inline void json_retype(char **text)
{
    uint8_t room[64] = {0};
    size_t n = *text ? strlen(*text) : 0;
    char *made;

    if (n >= sizeof room) return;
    memcpy(room, *text ? *text : "", n);
    n = LLVMFuzzerMutate(room, n, sizeof room - 1);
    made = cJSON_malloc(n + 1);
    if (!made) return;
    memcpy(made, room, n);
    made[n] = 0;
    cJSON_free(*text);
    *text = made;
}

static inline void json_change(cJSON *root, uint32_t *state)
{
    cJSON *node = json_any(root, state), *parent = json_any(root, state), *value;

    switch (json_random(state) % 8) {
    case 0:
        if (node->child) cJSON_Delete(cJSON_DetachItemViaPointer(node, node->child));
        return;
    case 1:
        if (cJSON_IsNumber(node))
            cJSON_SetNumberHelper(node, node->valuedouble + (int)(json_random(state) % 5) - 2);
        return;
    case 2:
    case 3:
        if (cJSON_IsString(node)) json_retype(&node->valuestring);
        return;
    case 4:
        if (node->string) json_retype(&node->string);
        return;
    case 5:
        value = json_value(root, state);
        if (cJSON_IsObject(parent))
            cJSON_AddItemToObject(parent, node->string ? node->string : "type", value);
        else if (!cJSON_IsArray(parent) || !cJSON_AddItemToArray(parent, value))
            cJSON_Delete(value);
        return;
    default:
        if (!parent->child) return;
        value = json_value(root, state);
        if (cJSON_IsObject(parent)) {
            cJSON *old = parent->child;

            for (uint32_t k = json_random(state) % 16; k > 0 && old->next; k--) old = old->next;
            if (!value) return;
            cJSON_free(value->string);
            value->string = cJSON_malloc(strlen(old->string) + 1);
            if (value->string) strcpy(value->string, old->string);
            cJSON_ReplaceItemViaPointer(parent, old, value);
        } else {
            cJSON_ReplaceItemViaPointer(parent, parent->child, value);
        }
    }
}

/* In place; 0: data is no JSON, or the new text does not fit. */
static inline size_t json_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    uint32_t state = seed * 2654435761u | 1;
    cJSON *root = cJSON_ParseWithLength((const char *)data, size);
    char *text;
    size_t n = 0;

    if (!root) return 0;
    for (uint32_t i = json_random(&state) % 4 + 1; i > 0; i--) json_change(root, &state);
    text = cJSON_PrintUnformatted(root);
    if (text && strlen(text) <= max_size) {
        n = strlen(text);
        memcpy(data, text, n);
    }
    cJSON_free(text);
    cJSON_Delete(root);
    return n;
}

#endif
