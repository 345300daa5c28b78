/* stored_float - products with weights of f32, f16 and bf16, and with block types expanded */
#include "ops/cpu/stored.h"

#include "base/quant_rows.h"

void CPU(stored_float)(const stored_part *p)
{
    const ms_linear_stored_args *a = p->a;
    int I = a->x.dim[1], Y = a->y.dim[1], step = (int)(48 << 10) / 4 / I / 4 * 4;
    float *w = p->work;

    if (step < 4) step = 4;
    for (int o = p->w_first; o < p->w_first + p->w_rows; o += step) {
        int n = p->w_first + p->w_rows - o < step ? p->w_first + p->w_rows - o : step;

        CPU(stored_rows)(w, a->w, o, n);
        CPU(dot_tile)
        (cpu_row(a->y, p->x_first) + a->at + o, (size_t)Y, cpu_row(a->x, p->x_first), (size_t)I,
         p->x_rows, w, (size_t)I, n, I);
    }
}
