/* call - a case made real: its operands in memory of a device, filled, and run
 *
 *   block:  | ms_step | guard | operand 0 | guard | operand 1 | guard | ...
 *
 * The block is kept on the host too: `image` is what every run starts from, `result` what it left.
 * Whatever lies outside the operands that an op writes must be the same in both. */
#ifndef MS_OPS_CASES_CALL_H
#define MS_OPS_CASES_CALL_H

#include "ops/cases/cases.h"

enum { MS_CALL_GUARD_BYTES = 128 };

/* What the inputs hold.  Outputs and work start as NaN, results that are added to as the inputs. */
typedef enum {
    MS_FILL_NORMAL,
    MS_FILL_ZEROS,
    MS_FILL_ONES,
    MS_FILL_LARGE,       /* normal, times 1e4 */
    MS_FILL_TINY,        /* normal, times 1e-30 */
    MS_FILL_ALTERNATING, /* 1, -1, 1, ... */
    MS_FILL_SPIKE,       /* normal, and one element of 1e7 in each row */
    MS_FILL_UNREAD,      /* normal, with NaN wherever the contract says that nothing is read:
                              padding rows and the invisible part of caches */
    MS_FILL_NAN,         /* normal, with one NaN in the gradients */
    MS_FILL_COUNT
} ms_fill;
const char *ms_fill_name(ms_fill fill);

/* Whether a fill means something for a case. */
bool ms_fill_applies(ms_fill fill, const ms_case *c);

typedef struct {
    ms_case c; /* as given, with addresses and types of the device */
    ms_queue queue;
    char *block;  /* memory of the device */
    char *image;  /* (size_bytes) on the host; owned */
    char *result; /* (size_bytes) on the host; owned */
    size_t size_bytes;
    size_t at[MS_CASE_OPERANDS];    /* offset of each operand in the block */
    size_t bytes[MS_CASE_OPERANDS]; /* of each operand; 0: absent */
} ms_call;

/* Places a case; operands are aligned to 64 bytes, plus `shift` elements.  The device is lent.
 * ms_call_close accepts a zeroed call and one that failed to open. */
ms_status ms_call_open(ms_call *call, const ms_case *c, ms_device *d, int shift, ms_error *err);
void ms_call_close(ms_call *call);

/* Fills the image.  All reals are rounded to float32, whatever the device, so that the same values
 * can go to another.  What a forward saves for its backward comes from the forward, run here. */
ms_status ms_call_fill(ms_call *call, ms_fill fill, ms_error *err);

/* Copies the filled image of a call of the same case on another device, converting reals. */
void ms_call_copy(ms_call *to, const ms_call *from);

/* Uploads the image, runs the op (with other args: those), and downloads to `result`.
 * ms_call_start and ms_call_step are its first two parts, for timing. */
ms_status ms_call_run(ms_call *call, const ms_any_args *args, ms_error *err);
ms_status ms_call_start(ms_call *call, ms_error *err);
ms_status ms_call_step(ms_call *call, const ms_any_args *args, ms_error *err);

/* Whether an operand is overwritten whatever it holds: outputs, work, and results that may be added
 * to but are not in this call. */
bool ms_call_overwrites(const ms_case *c, int operand);

/* Element i of an operand in image or result. */
double ms_call_real(const ms_call *call, const char *host, int operand, size_t i);
void ms_call_put(ms_call *call, char *host, int operand, size_t i, double x);

/* The check of any op by its number, without a run. */
ms_status ms_args_check(const ms_device *d, ms_op o, const ms_any_args *args, ms_error *err);

#endif
