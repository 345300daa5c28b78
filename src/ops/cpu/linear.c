/* linear - the three products of a linear map
 *
 * Forward, y = x w^T: both operands are contiguous along I, so a tile of rows of x by rows of w
 * keeps one vector of partial sums an element and folds them at the end (dot_tile).  Every element
 * is summed in the same order whatever the tile, so the bits of a row do not depend on the batch.
 * Backward, dx = dy w and dw = dy^T x: a tile of C keeps rows by columns in registers and takes the
 * inner dimension one by one (gemm_tile); B is packed into panels of PANEL columns. */
#include "ops/cpu/kernel.h"

#include <stddef.h>

/* -- y = x w^T ------------------------------------------------------------------------------- */

/* Rows of x by rows of w in a tile: as many accumulators as the registers hold, in whole vectors.
 */
enum { TILE_M = VF_BYTES == 64 ? 4 : 2, TILE_N = 4, TILE = TILE_M * TILE_N };

/* One tile of m rows (at most TILE_M, a constant at each call) by TILE_N. */
static inline __attribute__((always_inline)) void
tile_sums(vf sum[TILE], const float *x, size_t xs, const int m, const float *w, size_t ws, int D)
{
    vf acc[TILE_M][TILE_N];
    int d = 0;

    for (int i = 0; i < m; i++)
        for (int j = 0; j < TILE_N; j++) acc[i][j] = vf_all(0);
    for (; d + VF <= D; d += VF) {
        vf b[TILE_N];

        for (int j = 0; j < TILE_N; j++) b[j] = vf_load(w + (size_t)j * ws + d);
        for (int i = 0; i < m; i++) {
            vf a = vf_load(x + (size_t)i * xs + d);

            for (int j = 0; j < TILE_N; j++) acc[i][j] += a * b[j];
        }
    }
    if (d < D)
        for (int i = 0; i < m; i++) {
            vf a = vf_load_part(x + (size_t)i * xs + d, D - d);

            for (int j = 0; j < TILE_N; j++)
                acc[i][j] += a * vf_load_part(w + (size_t)j * ws + d, D - d);
        }
    for (int i = 0; i < m; i++)
        for (int j = 0; j < TILE_N; j++) sum[i * TILE_N + j] = acc[i][j];
    for (int i = m * TILE_N; i < TILE; i++) sum[i] = vf_all(0);
}

/* Folds a tile's sums and stores n columns of m rows. */
static inline void tile_store(float *out, size_t stride, const vf sum[TILE], int m, int n)
{
    float total[TILE];

    for (int i = 0; i < TILE; i += VF) vf_store(total + i, vf_sums(sum + i));
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) out[(size_t)i * stride + (size_t)j] = total[i * TILE_N + j];
}

/* Fewer than TILE_N rows of w are left: the last ones are taken again and not stored. */
static void tile_row(float *out, size_t stride, const float *x, size_t xs, int m, const float *w,
                     size_t ws, int n, int D)
{
    for (int j = 0; j < n; j += TILE_N) {
        int columns = n - j < TILE_N ? n - j : TILE_N;
        const float *wj = w + (size_t)j * ws;
        vf sum[TILE];

        if (columns < TILE_N) { /* one by one: the order of an element is the same */
            for (int k = 0; k < columns; k++) {
                tile_sums(sum, x, xs, m, wj + (size_t)k * ws, 0, D);
                tile_store(out + j + k, stride, sum, m, 1);
            }
            return;
        }
        if (m == TILE_M)
            tile_sums(sum, x, xs, TILE_M, wj, ws, D);
        else if (m == 1)
            tile_sums(sum, x, xs, 1, wj, ws, D);
        else
            tile_sums(sum, x, xs, m, wj, ws, D);
        tile_store(out + j, stride, sum, m, columns);
    }
}

void CPU(dot_tile)(float *out, size_t out_stride, const float *x, size_t x_stride, int m,
                   const float *w, size_t w_stride, int n, int D)
{
    for (int i = 0; i < m; i += TILE_M)
        tile_row(out + (size_t)i * out_stride, out_stride, x + (size_t)i * x_stride, x_stride,
                 m - i < TILE_M ? m - i : TILE_M, w, w_stride, n, D);
}

/* -- forward --------------------------------------------------------------------------------- */

enum { W_BLOCK_BYTES = 32 << 10 }; /* rows of w that stay in the L1 cache meanwhile */

typedef struct {
    const ms_linear_fwd_args *a;
    ms_tensor u; /* where x w^T + b goes: u, work or y */
    ms_pool *pool;
} fwd;

static void fwd_block(const fwd *f, int row, int rows, int out, int outs)
{
    const ms_linear_fwd_args *a = f->a;
    int I = a->x.dim[1], O = a->w.dim[0];
    const float *b = a->b.data;
    int step = W_BLOCK_BYTES / 4 / I / TILE_N * TILE_N;

    if (step < TILE_N) step = TILE_N;
    for (int o = out; o < out + outs; o += step) {
        int n = out + outs - o < step ? out + outs - o : step;

        CPU(dot_tile)
        (cpu_row(f->u, row) + o, (size_t)O, cpu_row(a->x, row), (size_t)I, rows, cpu_row(a->w, o),
         (size_t)I, n, I);
        for (int i = 0; b && i < rows; i++) {
            float *u = cpu_row(f->u, row + i);

            for (int j = o; j < o + n; j++) u[j] += b[j];
        }
    }
}

/* Many rows: each thread takes rows.  Few: each takes outputs, so that w is read once. */
static void fwd_region(void *arg, int thread, int threads)
{
    const fwd *f = arg;
    const ms_linear_fwd_args *a = f->a;
    int N = a->x.dim[0], O = a->w.dim[0];
    bool by_rows = N >= 16 * threads;
    size_t first, last;

    if (by_rows) {
        ms_share((size_t)N, TILE_M, thread, threads, &first, &last);
        if (last > first) fwd_block(f, (int)first, (int)(last - first), 0, O);
    } else {
        ms_share((size_t)O, TILE_N, thread, threads, &first, &last);
        if (last > first) fwd_block(f, 0, N, (int)first, (int)(last - first));
        if (a->act == MS_ACT_NONE) return;
        if (threads > 1) ms_pool_barrier(f->pool);
        ms_share((size_t)N, 1, thread, threads, &first, &last);
    }
    if (a->act == MS_ACT_NONE) return;
    for (size_t n = first; n < last; n++)
        CPU(act_row)(a->act, cpu_row(a->y, (int)n), cpu_row(f->u, (int)n), a->y.dim[1]);
}

void CPU(linear_fwd)(ms_queue *q, const ms_linear_fwd_args *a)
{
    fwd f = {.a = a, .u = ms_present(a->u) ? a->u : a->y, .pool = q->device->pool};

    if (!ms_present(a->u) && a->act == MS_ACT_SWIGLU) f.u = a->work;
    cpu_run(q, (size_t)a->x.dim[0] * ms_count(a->w), fwd_region, &f);
}

/* -- C (+)= A B ------------------------------------------------------------------------------ */

enum {
    ROWS = VF_BYTES == 16 ? 4 : 6,    /* of a tile of C */
    VECTORS = VF_BYTES == 64 ? 4 : 2, /* of a row of the tile */
    PANEL = VECTORS * VF,
    DEPTH = 128,      /* of the inner dimension at a time: a panel of B stays in the L1 cache */
    BLOCK = 16 * ROWS /* rows of C at a time when A is packed */
};

/* A (M, K) by element strides, B (K, J) with row stride, C (M, J) with row stride. */
typedef struct {
    int M, J, K;
    const float *A;
    size_t a_row, a_inner;
    const float *B;
    size_t b_row;
    float *C;
    size_t c_row;
    bool add; /* C += */
} product;

/* acc = ROWS rows of A, `rows` of which exist (the last is taken again), times a packed panel. */
static inline void gemm_tile(vf acc[ROWS][VECTORS], const float *a, size_t a_row, size_t a_inner,
                             int rows, int depth, const float *panel)
{
    const float *A[ROWS];
    vf c[ROWS][VECTORS];

    for (int i = 0; i < ROWS; i++) A[i] = a + (size_t)(i < rows ? i : rows - 1) * a_row;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < VECTORS; j++) c[i][j] = vf_all(0);
    for (int d = 0; d < depth; d++) {
        vf b[VECTORS];

        for (int j = 0; j < VECTORS; j++) b[j] = vf_load(panel + d * PANEL + j * VF);
        for (int i = 0; i < ROWS; i++) {
            float x = A[i][(size_t)d * a_inner];

            for (int j = 0; j < VECTORS; j++) c[i][j] += x * b[j];
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < VECTORS; j++) acc[i][j] = c[i][j];
}

static void store_tile(const product *p, vf acc[ROWS][VECTORS], int row, int rows, int column,
                       bool add)
{
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < VECTORS; j++) {
            int at = column + j * VF, m = p->J - at < VF ? p->J - at : VF;
            float *c = p->C + (size_t)(row + i) * p->c_row + at;

            if (m <= 0) break;
            if (m == VF)
                vf_store(c, add ? vf_load(c) + acc[i][j] : acc[i][j]);
            else
                vf_store_part(c, add ? vf_load_part(c, m) + acc[i][j] : acc[i][j], m);
        }
}

/* Rows k .. k+depth of PANEL columns of B, zeros past the last column. */
static void pack(float *panel, const product *p, int k, int depth, int column)
{
    int m = p->J - column < PANEL ? p->J - column : PANEL;

    for (int d = 0; d < depth; d++) {
        float *to = panel + d * PANEL;

        memcpy(to, p->B + (size_t)(k + d) * p->b_row + column, (size_t)m * sizeof *to);
        for (int j = m; j < PANEL; j++) to[j] = 0;
    }
}

/* Rows of A with a strided inner dimension, as tiles of ROWS side by side: (tile, depth, ROWS). */
static void pack_rows(float *to, const product *p, int row, int rows, int k, int depth)
{
    for (int r = 0; r < rows; r += ROWS, to += depth * ROWS) {
        int m = rows - r < ROWS ? rows - r : ROWS;
        const float *from = p->A + (size_t)(row + r) * p->a_row + (size_t)k * p->a_inner;

        for (int d = 0; d < depth; d++)
            for (int i = 0; i < m; i++)
                to[d * ROWS + i] = from[(size_t)d * p->a_inner + (size_t)i * p->a_row];
    }
}

/* Rows row .. row+rows of C by one panel of B. */
static void gemm_panel(const product *p, int row, int rows, int k, int depth, int column,
                       const float *panel, const float *packed)
{
    for (int r = 0; r < rows; r += ROWS) {
        int m = rows - r < ROWS ? rows - r : ROWS;
        vf acc[ROWS][VECTORS];

        if (packed)
            gemm_tile(acc, packed + r * depth, 1, ROWS, m, depth, panel);
        else
            gemm_tile(acc, p->A + (size_t)(row + r) * p->a_row + k, p->a_row, 1, m, depth, panel);
        store_tile(p, acc, row + r, m, column, p->add || k > 0);
    }
}

/* Rows [first, last) of C; work has room for DEPTH * (PANEL + BLOCK) floats. */
static void gemm_rows(const product *p, int first, int last, float *work)
{
    float *panel = work, *packed = p->a_inner == 1 ? NULL : work + DEPTH * PANEL;
    int block = packed ? BLOCK : last - first;

    for (int k = 0; k < p->K; k += DEPTH) {
        int depth = p->K - k < DEPTH ? p->K - k : DEPTH;

        for (int row = first; row < last; row += block) {
            int rows = last - row < block ? last - row : block;

            if (packed) pack_rows(packed, p, row, rows, k, depth);
            for (int column = 0; column < p->J; column += PANEL) {
                pack(panel, p, k, depth, column);
                gemm_panel(p, row, rows, k, depth, column, panel, packed);
            }
        }
    }
}

/* -- backward -------------------------------------------------------------------------------- */

typedef struct {
    ms_queue *q;
    const ms_linear_bwd_args *a;
    product dx, dw;
} bwd;

/* db += column sums, by partial sums of some rows. */
static void bias_columns(const ms_linear_bwd_args *a, size_t first, size_t last)
{
    enum { CHUNK = 32 };
    float *db = a->db.data;
    int N = a->dy.dim[0];

    for (size_t o = first; o < last; o += VF)
        for (int n = 0; n < N; n += CHUNK) {
            int m = last - o < VF ? (int)(last - o) : VF;
            vf sum = vf_all(0);

            for (int i = n; i < N && i < n + CHUNK; i++)
                sum += m == VF ? vf_load(cpu_row(a->dy, i) + o)
                               : vf_load_part(cpu_row(a->dy, i) + o, m);
            vf_store_part(db + o, vf_load_part(db + o, m) + sum, m);
        }
}

static void act_rows(const bwd *f, size_t first, size_t last)
{
    const ms_linear_bwd_args *a = f->a;
    int I = a->w.dim[1];

    for (size_t n = first; n < last; n++) {
        float *dx = cpu_row(a->dx, (int)n);
        const float *dg = a->act == MS_ACT_SWIGLU ? cpu_row(a->work, (int)n) : dx;

        CPU(act_back_row)(a->act, dx, dg, cpu_row(a->u, (int)n), I);
    }
}

static void add_tile(float *tile, vf acc[ROWS][VECTORS])
{
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < VECTORS; j++) {
            float *at = tile + i * PANEL + j * VF;

            vf_store(at, vf_load(at) + acc[i][j]);
        }
}

/* dx may alias u when the activation is element-wise: then a tile is finished in registers and
 * multiplied by the slope before it is stored over u. */
static void dx_over_u(const bwd *f, size_t first, size_t last, float *panel)
{
    const product *p = &f->dx;
    float *tile = panel + (size_t)p->K * PANEL;

    for (int column = 0; column < p->J; column += PANEL) {
        int m = p->J - column < PANEL ? p->J - column : PANEL;

        pack(panel, p, 0, p->K, column);
        for (int row = (int)first; row < (int)last; row += ROWS) {
            const float *A = p->A + (size_t)row * p->a_row;
            int rows = (int)last - row < ROWS ? (int)last - row : ROWS;
            vf acc[ROWS][VECTORS];

            gemm_tile(acc, A, p->a_row, 1, rows, p->K < DEPTH ? p->K : DEPTH, panel);
            memcpy(tile, acc, sizeof acc);
            for (int k = DEPTH; k < p->K; k += DEPTH) { /* sums as gemm_rows makes them */
                gemm_tile(acc, A + k, p->a_row, 1, rows, p->K - k < DEPTH ? p->K - k : DEPTH,
                          panel + (size_t)k * PANEL);
                add_tile(tile, acc);
            }
            for (int i = 0; i < rows; i++) {
                float *dx = p->C + (size_t)(row + i) * p->c_row + column;

                CPU(act_back_row)(f->a->act, dx, tile + i * PANEL, dx, m);
            }
        }
    }
}

static void bwd_region(void *arg, int thread, int threads)
{
    const bwd *f = arg;
    const ms_linear_bwd_args *a = f->a;
    float *panel = cpu_work(f->q, thread);
    size_t first, last;

    if (ms_present(a->dw)) {
        ms_share((size_t)f->dw.M, ROWS, thread, threads, &first, &last);
        if (last > first) gemm_rows(&f->dw, (int)first, (int)last, panel);
    }
    if (ms_present(a->db)) {
        ms_share((size_t)a->dy.dim[1], 16, thread, threads, &first, &last);
        bias_columns(a, first, last);
    }
    if (!ms_present(a->dx)) return;
    ms_share((size_t)f->dx.M, ROWS, thread, threads, &first, &last);
    if (last <= first) return;
    if (a->act != MS_ACT_NONE && a->dx.data == a->u.data) {
        dx_over_u(f, first, last, panel);
        return;
    }
    gemm_rows(&f->dx, (int)first, (int)last, panel);
    if (a->act != MS_ACT_NONE) act_rows(f, first, last);
}

/* The whole inner dimension of dx over u must fit a thread's work memory. */
static bool fits(ms_queue *q, const bwd *f)
{
    enum { MOST = MS_CPU_WORK_BYTES / 4 / PANEL - ROWS };
    const ms_linear_bwd_args *a = f->a;

    if (!ms_present(a->dx) || a->act == MS_ACT_NONE || a->dx.data != a->u.data) return true;
    if (f->dx.K <= MOST) return true;
    ms_queue_fail(q, MS_UNSUPPORTED, "linear_bwd: dx over u with %d outputs, at most %d", f->dx.K,
                  (int)MOST);
    return false;
}

void CPU(linear_bwd)(ms_queue *q, const ms_linear_bwd_args *a)
{
    int N = a->dy.dim[0], O = a->dy.dim[1];
    bwd f = {.q = q, .a = a};

    if (ms_present(a->dx)) {
        int I = a->w.dim[1];
        ms_tensor to = a->act == MS_ACT_SWIGLU ? a->work : a->dx;

        f.dx = (product){.M = N,
                         .J = I,
                         .K = O,
                         .A = a->dy.data,
                         .a_row = (size_t)O,
                         .a_inner = 1,
                         .B = a->w.data,
                         .b_row = (size_t)I,
                         .C = to.data,
                         .c_row = (size_t)I,
                         .add = a->accumulate};
    }
    if (ms_present(a->dw)) {
        int I = a->x.dim[1];

        f.dw = (product){.M = O,
                         .J = I,
                         .K = N,
                         .A = a->dy.data,
                         .a_row = 1,
                         .a_inner = (size_t)O,
                         .B = a->x.data,
                         .b_row = (size_t)I,
                         .C = a->dw.data,
                         .c_row = (size_t)I,
                         .add = true};
    }
    if (!fits(q, &f)) return;
    cpu_run(q, (size_t)N * (size_t)O * 64, bwd_region, &f);
}
