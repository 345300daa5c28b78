/* json - JSON files through cJSON, with our errors: malformed is not out of memory */
#ifndef MS_BASE_JSON_H
#define MS_BASE_JSON_H

#include "base/status.h"

#include <cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/* -- reading --------------------------------------------------------------------------------- */

/* Parses an object; anything else is MS_FORMAT with the offset of the fault.  Free with
 * cJSON_Delete.  path is for the error only. */
ms_status ms_json_parse(cJSON **out, const char *text, size_t size_bytes, const char *path,
                        ms_error *err);
ms_status ms_json_read(cJSON **out, const char *path, size_t limit_bytes, ms_error *err);

/* The member of a name; NULL when it is missing, null, or o is no object. */
const cJSON *ms_json_get(const cJSON *o, const char *key);
/* The member's text; NULL when it is missing or no string. */
const char *ms_json_text(const cJSON *o, const char *key);

/* -- writing --------------------------------------------------------------------------------- */

/* An object that grows; what fails for want of memory sticks, and is reported at the end. */
typedef struct {
    cJSON *root;
    bool failed;
} ms_json;

void ms_json_begin(ms_json *j);
/* Each adds to `in` (j->root or what object and array returned): a member, or with key NULL the
 * next element of an array. */
cJSON *ms_json_add_object(ms_json *j, cJSON *in, const char *key);
cJSON *ms_json_add_array(ms_json *j, cJSON *in, const char *key);
void ms_json_add_number(ms_json *j, cJSON *in, const char *key, double value);
void ms_json_add_text(ms_json *j, cJSON *in, const char *key, const char *text);
void ms_json_add_bool(ms_json *j, cJSON *in, const char *key, bool value);
void ms_json_add_null(ms_json *j, cJSON *in, const char *key);

/* Ends with the text (free with cJSON_free), NULL when memory ran out; frees the object. */
char *ms_json_end(ms_json *j, bool indented);
/* Ends with a file, written atomically. */
ms_status ms_json_write(ms_json *j, const char *path, ms_error *err);

#endif
