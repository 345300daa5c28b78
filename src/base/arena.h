/* arena - tensors side by side in one block, laid out by one function run twice
 *
 *   base                                                                          base + size
 *   | tensor | pad to 64 | guard | tensor | pad to 64 | guard | ...     free       |
 *
 * With base == NULL the arena only counts; the same calls on real memory then place what was
 * counted.  A failed take sticks (failed) and yields addresses NULL.  The guard exists in debug
 * builds (64 bytes) and where the memory is host-readable; it is filled with one byte value.
 * An arena does not own its block. */
#ifndef MS_BASE_ARENA_H
#define MS_BASE_ARENA_H

#include "base/status.h"
#include "base/tensor.h"

#include <stdint.h>

enum { MS_ALIGN = 64, MS_GUARD_BYTES = 64, MS_GUARD_MAX = 4096 };

typedef struct {
    char *base; /* NULL: dry run */
    size_t used_bytes;
    size_t size_bytes;
    bool failed;        /* something did not fit */
    bool guarded;       /* leave a guard after each tensor (set before the first take) */
    uint8_t guard_fill; /* 0 for arenas that are also read as one flat tensor, else 0xA5 */
    int guards;         /* how many are recorded */
    struct {
        size_t offset;
        char name[40];
    } guard[MS_GUARD_MAX];
} ms_arena;

/* An arena over a block, or a dry one (base NULL).  guarded only when the host can read base. */
void ms_arena_init(ms_arena *a, void *base, size_t size_bytes, bool guarded, uint8_t guard_fill);

/* Takes bytes at MS_ALIGN; NULL in a dry run and when it does not fit. */
void *ms_arena_take(ms_arena *a, size_t bytes, const char *name);

/* Takes a tensor of up to four dimensions; a dimension of 0 yields an absent tensor. */
#define MS_TAKE(a, name, dtype, ...)                                                               \
    ms_arena_tensor((a), (name), (dtype), (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)),       \
                    (const int[]){__VA_ARGS__})
ms_tensor ms_arena_tensor(ms_arena *a, const char *name, ms_dtype dtype, int rank, const int *dim);

/* Scratch is last in, first out. */
typedef struct {
    size_t used_bytes;
    int guards;
} ms_arena_mark;
ms_arena_mark ms_arena_mark_take(const ms_arena *a);
void ms_arena_release(ms_arena *a, ms_arena_mark mark);

/* Fills everything that is not yet taken with a quiet NaN pattern (0xFF bytes). */
void ms_arena_poison(ms_arena *a);

/* Fails with MS_DEVICE and the name of the tensor before the first damaged guard. */
ms_status ms_arena_check(const ms_arena *a, ms_error *err);

#endif
