/* weight - the product with a weight of the model, whichever way it is kept */
#include "model/pass.h"

/* Parts go to columns side by side; the activation, if any, is an op of its own. */
static void stored_fwd(ms_pass *p, const ms_weight_call *a)
{
    ms_tensor sum = a->act == MS_ACT_NONE ? a->y : a->u;
    int at = 0;

    for (int i = 0; i < 3 && ms_present(a->stored->part[i]); i++) {
        int rows = a->stored->part[i].dim[0];

        op(&p->q, linear_stored, .y = sum, .x = a->x, .w = a->stored->part[i],
           .b = ms_rows(a->b, at, rows), .at = at);
        at += rows;
    }
    if (a->act != MS_ACT_NONE) op(&p->q, act_fwd, .y = a->y, .u = a->u, .act = a->act);
}

void ms_weight_fwd(ms_pass *p, const ms_weight_call *a)
{
    if (p->m->stored)
        stored_fwd(p, a);
    else
        op(&p->q, linear_fwd, .y = a->y, .u = a->u, .x = a->x, .w = a->w, .b = a->b, .act = a->act);
}
