/* json - tells malformed text from missing memory, and keeps a hole out of what is written */
#include "base/json.h"

#include "base/file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- reading --------------------------------------------------------------------------------- */

ms_status ms_json_parse(cJSON **out, const char *text, size_t size_bytes, const char *path,
                        ms_error *err)
{
    const char *end = NULL;
    cJSON *o;

    errno = 0;
    o = cJSON_ParseWithLengthOpts(text, size_bytes, &end, 0);
    if (!o && errno == ENOMEM)
        return ms_fail_at(err, MS_MEMORY, path, -1, "out of memory for %zu bytes of JSON",
                          size_bytes);
    if (!o) return ms_fail_at(err, MS_FORMAT, path, end ? end - text : -1, "is not valid JSON");
    while (end < text + size_bytes && (*end == ' ' || (*end >= '\t' && *end <= '\r'))) end++;
    if (end != text + size_bytes) {
        cJSON_Delete(o);
        return ms_fail_at(err, MS_FORMAT, path, end - text,
                          "is not valid JSON: text behind its end");
    }
    if (!cJSON_IsObject(o)) {
        cJSON_Delete(o);
        return ms_fail_at(err, MS_FORMAT, path, 0, "expected a JSON object");
    }
    *out = o;
    return MS_OK;
}

ms_status ms_json_read(cJSON **out, const char *path, size_t limit_bytes, ms_error *err)
{
    char *text;
    size_t size;
    ms_status s;

    MS_TRY(ms_file_read(&text, &size, path, limit_bytes, err));
    s = ms_json_parse(out, text, size, path, err);
    free(text);
    return s;
}

const cJSON *ms_json_get(const cJSON *o, const char *key)
{
    const cJSON *item = cJSON_IsObject(o) ? cJSON_GetObjectItemCaseSensitive(o, key) : NULL;

    return cJSON_IsNull(item) ? NULL : item;
}

const char *ms_json_text(const cJSON *o, const char *key)
{
    return cJSON_GetStringValue(ms_json_get(o, key));
}

/* -- writing --------------------------------------------------------------------------------- */

void ms_json_begin(ms_json *j)
{
    j->root = cJSON_CreateObject();
    j->failed = !j->root;
}

/* The shortest text that reads back as the same number; JSON has no nan and no inf. */
static cJSON *create_number(double value)
{
    char text[40];

    if (!isfinite(value)) return cJSON_CreateNull();
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    for (char *c = text; *c; c++)
        if (*c == ',') *c = '.'; /* the decimal point of the locale */
    return cJSON_CreateRaw(text);
}

static cJSON *add(ms_json *j, cJSON *in, const char *key, cJSON *item)
{
    bool added =
        in && item && (key ? cJSON_AddItemToObject(in, key, item) : cJSON_AddItemToArray(in, item));

    if (added) return item;
    cJSON_Delete(item);
    j->failed = true;
    return NULL;
}

cJSON *ms_json_add_object(ms_json *j, cJSON *in, const char *key)
{
    return add(j, in, key, cJSON_CreateObject());
}

cJSON *ms_json_add_array(ms_json *j, cJSON *in, const char *key)
{
    return add(j, in, key, cJSON_CreateArray());
}

void ms_json_add_number(ms_json *j, cJSON *in, const char *key, double value)
{
    add(j, in, key, create_number(value));
}

void ms_json_add_text(ms_json *j, cJSON *in, const char *key, const char *text)
{
    add(j, in, key, cJSON_CreateString(text));
}

void ms_json_add_bool(ms_json *j, cJSON *in, const char *key, bool value)
{
    add(j, in, key, cJSON_CreateBool(value));
}

void ms_json_add_null(ms_json *j, cJSON *in, const char *key)
{
    add(j, in, key, cJSON_CreateNull());
}

char *ms_json_end(ms_json *j, bool indented)
{
    char *text = NULL;

    if (!j->failed) text = indented ? cJSON_Print(j->root) : cJSON_PrintUnformatted(j->root);
    cJSON_Delete(j->root);
    j->root = NULL;
    return text;
}

ms_status ms_json_write(ms_json *j, const char *path, ms_error *err)
{
    char *text = ms_json_end(j, true);
    ms_status s = text ? ms_file_write(path, text, strlen(text), err)
                       : ms_fail_at(err, MS_MEMORY, path, -1, "out of memory for JSON");

    cJSON_free(text);
    return s;
}
