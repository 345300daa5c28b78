/* arena - places tensors, keeps guards between them in debug builds */
#include "base/arena.h"

#include <stdio.h>
#include <string.h>

void ms_arena_init(ms_arena *a, void *base, size_t size_bytes, bool guarded, uint8_t guard_fill)
{
    a->base = base;
    a->used_bytes = 0;
    a->size_bytes = size_bytes;
    a->failed = false;
    a->guard_fill = guard_fill;
    a->guards = 0;
#ifdef MS_DEBUG
    a->guarded = guarded;
#else
    (void)guarded;
    a->guarded = false;
#endif
}

static void leave_guard(ms_arena *a, const char *name)
{
    if (a->guards == MS_GUARD_MAX) return;
    a->guard[a->guards].offset = a->used_bytes;
    snprintf(a->guard[a->guards].name, sizeof a->guard[0].name, "%s", name);
    a->guards++;
    if (a->base) memset(a->base + a->used_bytes, a->guard_fill, MS_GUARD_BYTES);
}

void *ms_arena_take(ms_arena *a, size_t bytes, const char *name)
{
    size_t rounded, total;
    char *at = a->base ? a->base + a->used_bytes : NULL;

    if (!ms_size_add(bytes, MS_ALIGN - 1, &rounded)) goto full;
    rounded = rounded / MS_ALIGN * MS_ALIGN;
    if (!ms_size_add(a->used_bytes, rounded, &total)) goto full;
    if (a->guarded && !ms_size_add(total, MS_GUARD_BYTES, &total)) goto full;
    if (a->base && total > a->size_bytes) goto full;
    a->used_bytes += rounded;
    if (a->guarded) {
        leave_guard(a, name);
        a->used_bytes += MS_GUARD_BYTES;
    }
    return at;
full:
    a->failed = true;
    return NULL;
}

ms_tensor ms_arena_tensor(ms_arena *a, const char *name, ms_dtype dtype, int rank, const int *dim)
{
    ms_tensor t = ms_tensor_make(NULL, dtype, rank, dim);
    size_t bytes = ms_dtype_bytes(dtype);
    int block = ms_dtype_block(dtype);

    if (!ms_present(t)) return t;
    for (int i = 0; i < rank; i++)
        if (!ms_size_mul(bytes, (size_t)(i + 1 < rank ? dim[i] : dim[i] / block), &bytes)) {
            a->failed = true;
            return t;
        }
    t.data = ms_arena_take(a, bytes, name);
    return t;
}

ms_arena_mark ms_arena_mark_take(const ms_arena *a)
{
    return (ms_arena_mark){a->used_bytes, a->guards};
}

void ms_arena_release(ms_arena *a, ms_arena_mark mark)
{
    a->used_bytes = mark.used_bytes;
    a->guards = mark.guards;
}

void ms_arena_poison(ms_arena *a)
{
    if (a->base) memset(a->base + a->used_bytes, 0xFF, a->size_bytes - a->used_bytes);
}

ms_status ms_arena_check(const ms_arena *a, ms_error *err)
{
    if (!a->base) return MS_OK;
    for (int i = 0; i < a->guards; i++) {
        const uint8_t *guard = (const uint8_t *)a->base + a->guard[i].offset;

        for (int j = 0; j < MS_GUARD_BYTES; j++)
            if (guard[j] != a->guard_fill)
                return ms_fail(err, MS_DEVICE, "memory behind tensor %s was written over (byte %d)",
                               a->guard[i].name, j);
    }
    return MS_OK;
}
