/* tensors - one look-up over all files of a model */
#include "formats/tensors.h"

#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096, FILES_MAX = 1024, INDEX_MAX_BYTES = 64 << 20 };

struct ms_tensors {
    ms_safetensors **file; /* (files) */
    int files, count;
    ms_gguf *gguf; /* instead */
};

static ms_status make(ms_tensors **out, ms_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? MS_OK : ms_fail(err, MS_MEMORY, "out of memory for a model's files");
}

void ms_tensors_close(ms_tensors *t)
{
    if (!t) return;
    for (int i = 0; i < t->files; i++) ms_safetensors_close(t->file[i]);
    if (t->gguf) ms_gguf_close(t->gguf);
    free(t->file);
    free(t);
}

static ms_status finish(ms_tensors **out, ms_tensors *t, ms_status s)
{
    if (s)
        ms_tensors_close(t);
    else
        *out = t;
    return s;
}

/* -- files ----------------------------------------------------------------------------------- */

static ms_status add_file(ms_tensors *t, const char *path, ms_error *err)
{
    ms_safetensors **grown = realloc(t->file, (size_t)(t->files + 1) * sizeof *grown);

    if (!grown) return ms_fail(err, MS_MEMORY, "out of memory for %d files", t->files + 1);
    t->file = grown;
    MS_TRY(ms_safetensors_open(&t->file[t->files], path, err));
    t->count += ms_safetensors_count(t->file[t->files++]);
    return MS_OK;
}

ms_status ms_tensors_open_safetensors(ms_tensors **out, const char *path, ms_error *err)
{
    ms_tensors *t;

    MS_TRY(make(&t, err));
    return finish(out, t, add_file(t, path, err));
}

ms_status ms_tensors_open_gguf(ms_tensors **out, const char *path, ms_error *err)
{
    ms_tensors *t;

    MS_TRY(make(&t, err));
    return finish(out, t, ms_gguf_open(&t->gguf, path, err));
}

/* -- an index -------------------------------------------------------------------------------- */

/* The file of an entry of the map, opened when it is met for the first time. */
static ms_status open_shard(ms_tensors *t, const char *folder, const char *name, const char *index,
                            int *at, ms_error *err)
{
    char path[PATH_BYTES];

    if (strchr(name, '/') || !strcmp(name, "..") || !name[0])
        return ms_fail_at(err, MS_FORMAT, index, -1,
                          "\"%.60s\": expected the name of a file beside", name);
    MS_TRY(ms_path_join(path, sizeof path, folder, name, err));
    for (*at = 0; *at < t->files; ++*at)
        if (!strcmp(ms_safetensors_path(t->file[*at]), path)) return MS_OK;
    if (t->files == FILES_MAX)
        return ms_fail_at(err, MS_UNSUPPORTED, index, -1, "more than %d files", FILES_MAX);
    return add_file(t, path, err);
}

static ms_status read_map(ms_tensors *t, const char *folder, const cJSON *o, const char *index,
                          ms_error *err)
{
    const cJSON *map = ms_json_get(o, "weight_map"), *item;
    int entries = 0, at = 0;

    if (!cJSON_IsObject(map))
        return ms_fail_at(err, MS_FORMAT, index, -1, "\"weight_map\": expected an object");
    cJSON_ArrayForEach(item, map)
    {
        if (!cJSON_IsString(item))
            return ms_fail_at(err, MS_FORMAT, index, -1, "\"%.80s\": expected the name of a file",
                              item->string);
        MS_TRY(open_shard(t, folder, item->valuestring, index, &at, err));
        if (!ms_safetensors_find(t->file[at], item->string))
            return ms_fail_at(err, MS_FORMAT, index, -1, "tensor %.80s is not in %.60s",
                              item->string, item->valuestring);
        entries++;
    }
    if (entries == 0) return ms_fail_at(err, MS_FORMAT, index, -1, "\"weight_map\": is empty");
    if (entries != t->count)
        return ms_fail_at(err, MS_FORMAT, index, -1, "%d tensors, their files have %d", entries,
                          t->count);
    return MS_OK;
}

static ms_status open_index(ms_tensors *t, const char *folder, const char *index, ms_error *err)
{
    cJSON *o;
    ms_status s;

    MS_TRY(ms_json_read(&o, index, INDEX_MAX_BYTES, err));
    s = read_map(t, folder, o, index, err);
    cJSON_Delete(o);
    return s;
}

ms_status ms_tensors_open_folder(ms_tensors **out, const char *folder, ms_error *err)
{
    char path[PATH_BYTES], index[PATH_BYTES];
    ms_tensors *t;

    MS_TRY(ms_path_join(path, sizeof path, folder, "model.safetensors", err));
    MS_TRY(ms_path_join(index, sizeof index, folder, "model.safetensors.index.json", err));
    if (ms_path_exists(path) || !ms_path_exists(index))
        return ms_tensors_open_safetensors(out, path, err);
    MS_TRY(make(&t, err));
    return finish(out, t, open_index(t, folder, index, err));
}

/* -- looking up ------------------------------------------------------------------------------ */

int ms_tensors_count(const ms_tensors *t)
{
    return t->gguf ? ms_gguf_count(t->gguf) : t->count;
}

const ms_st_entry *ms_tensors_at(const ms_tensors *t, int i)
{
    if (t->gguf) return ms_gguf_at(t->gguf, i);
    for (int f = 0; f < t->files; i -= ms_safetensors_count(t->file[f++]))
        if (i < ms_safetensors_count(t->file[f])) return ms_safetensors_at(t->file[f], i);
    return NULL;
}

const ms_st_entry *ms_tensors_find(const ms_tensors *t, const char *name)
{
    const ms_st_entry *e = t->gguf ? ms_gguf_find(t->gguf, name) : NULL;

    for (int f = 0; f < t->files && !e; f++) e = ms_safetensors_find(t->file[f], name);
    return e;
}

const char *ms_tensors_path(const ms_tensors *t, const ms_st_entry *e)
{
    if (t->gguf) return ms_gguf_path(t->gguf);
    for (int f = 0; f < t->files && e; f++)
        if (ms_safetensors_find(t->file[f], e->name) == e) return ms_safetensors_path(t->file[f]);
    return ms_safetensors_path(t->file[0]);
}

const ms_gguf *ms_tensors_gguf(const ms_tensors *t)
{
    return t->gguf;
}
