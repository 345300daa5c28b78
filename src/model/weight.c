/* weight - the product with a weight of the model, whichever way it is kept */
#include "model/pass.h"

/* Whether a product rounds its factors to bf16: when the pass says so, and with weights that are
 * bf16 themselves, on machines that can: activations hardly need more bits than they have. */
static bool in_bf16(const ms_pass *p, ms_tensor w)
{
    return p->o.bf16 || (w.dtype == MS_BF16 && p->m->device->products_bf16);
}

/* Parts go to columns side by side; the activation, if any, is an op of its own. */
static void stored_fwd(ms_pass *p, const ms_weight_call *a)
{
    ms_tensor sum = a->act == MS_ACT_NONE ? a->y : a->u;
    int at = 0;

    for (int i = 0; i < 3 && ms_present(a->stored->part[i]); i++) {
        ms_tensor w = a->stored->part[i];

        p->q.bf16 = in_bf16(p, w);
        op(&p->q, linear_stored, .y = sum, .x = a->x, .w = w, .b = ms_rows(a->b, at, w.dim[0]),
           .at = at, .kept = p->m->kept != NULL);
        at += w.dim[0];
    }
    p->q.bf16 = p->o.bf16;
    if (a->act != MS_ACT_NONE) op(&p->q, act_fwd, .y = a->y, .u = a->u, .act = a->act);
}

void ms_weight_fwd(ms_pass *p, const ms_weight_call *a)
{
    if (p->m->stored)
        stored_fwd(p, a);
    else
        op(&p->q, linear_fwd, .y = a->y, .u = a->u, .x = a->x, .w = a->w, .b = a->b, .act = a->act);
}
