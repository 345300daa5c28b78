/* compose - fused ops out of plainer ones, for the slots a back end has no kernel for
 *
 * The order of the calls respects the aliases that the contract of the fused op allows: whatever an
 * output may cover has been read before it is written. */
#include "ops/ops.h"

void ms_composed_add_norm_fwd(ms_queue *q, const ms_add_norm_fwd_args *a)
{
    op(q, dropout, .y = a->r, .x = a->f, .add = a->x, .drop = a->drop);
    op(q, norm_fwd, .y = a->y, .stat = a->stat, .x = a->r, .w = a->w, .b = a->b, .eps = a->eps,
       .rms = a->rms);
}

void ms_composed_add_norm_bwd(ms_queue *q, const ms_add_norm_bwd_args *a)
{
    op(q, norm_bwd, .dx = a->dr, .dw = a->dw, .db = a->db, .dy = a->dy, .x = a->r, .stat = a->stat,
       .w = a->w, .rms = a->rms, .accumulate = a->accumulate);
    if (ms_present(a->df)) op(q, dropout, .y = a->df, .x = a->dr, .drop = a->drop);
}
