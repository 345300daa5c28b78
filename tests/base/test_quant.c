/* Blocks of ggml: where each level, scale and bit of them lies; the floats and the blocks that ggml
 * makes of the same bytes and floats; how far a float may move; nothing that is no number, or too
 * large for its type, does harm or touches another block. */
#include "base/quant.h"

#include "base/half.h"
#include "base/rng.h"
#include "scratch.h"

#include <float.h>

enum { SMALL = 32, LARGE = 256, BYTES_MOST = 256, BLOCKS = 512 };

/* The block types: where the scale of all levels is, what else is an f16, and what has to be set
 * for all the small scales to be 1. */
static const struct layout {
    ms_dtype dtype;
    int d, other; /* bytes; -1: none */
    struct {
        uint8_t at, bytes, value;
    } one[2];
    float zero; /* what a level of 0 gives with those scales */
} LAYOUT[] = {
    {MS_Q8_0, 0, -1, {{0}}, 0},
    {MS_Q4_0, 0, -1, {{0}}, -8},
    {MS_Q4_1, 0, 2, {{0}}, 0},
    {MS_Q5_0, 0, -1, {{0}}, -16},
    {MS_Q5_1, 0, 2, {{0}}, 0},
    {MS_Q2_K, 80, 82, {{0, 16, 1}}, 0},
    {MS_Q3_K, 108, -1, {{96, 8, 0x11}, {104, 4, 0xaa}}, -4}, /* 33, less 32 */
    {MS_Q4_K, 0, 2, {{4, 4, 1}, {12, 4, 1}}, 0},
    {MS_Q5_K, 0, 2, {{4, 4, 1}, {12, 4, 1}}, 0},
    {MS_Q6_K, 208, -1, {{192, 16, 1}}, -32},
};

static const struct layout *layout_of(ms_dtype dtype)
{
    for (size_t i = 0; i < COUNT(LAYOUT); i++)
        if (LAYOUT[i].dtype == dtype) return &LAYOUT[i];
    fail_msg("no block type");
    return NULL;
}

/* All levels 0, all scales 1, all minima 0; the other f16 is 1, too, when it multiplies minima. */
static void plain_block(const struct layout *t, uint8_t b[BYTES_MOST])
{
    memset(b, 0, BYTES_MOST);
    for (int i = 0; i < 2; i++) memset(b + t->one[i].at, t->one[i].value, t->one[i].bytes);
    b[t->d + 1] = 0x3c;
    if (t->other >= 0 && ms_dtype_block(t->dtype) == LARGE) b[t->other + 1] = 0x3c;
}

/* -- to floats ------------------------------------------------------------------------------- */

/* One byte is changed; element `first` and each `step` behind it, `count` in all, become a value,
 * and no other changes. */
static void each_bit_has_its_place(void **state)
{
    static const struct {
        ms_dtype dtype;
        uint8_t at, value;
        int first, step, count;
        float x;
    } row[] = {
        {MS_Q8_0, 2, 1, 0, 1, 1, 1},
        {MS_Q8_0, 33, 0x80, 31, 1, 1, -128},
        {MS_Q8_0, 18, 0xff, 16, 1, 1, -1},
        {MS_Q4_0, 2, 0x01, 0, 1, 1, -7},
        {MS_Q4_0, 2, 0xf0, 16, 1, 1, 7},
        {MS_Q4_0, 17, 0x0f, 15, 1, 1, 7},
        {MS_Q4_0, 17, 0x80, 31, 1, 1, 0},
        {MS_Q4_1, 4, 0x0f, 0, 1, 1, 15},
        {MS_Q4_1, 19, 0xf0, 31, 1, 1, 15},
        {MS_Q4_1, 3, 0xc0, 0, 1, 32, -2}, /* m */
        {MS_Q5_0, 2, 0x01, 0, 1, 1, 0},
        {MS_Q5_0, 3, 0x80, 15, 1, 1, 0},
        {MS_Q5_0, 4, 0x01, 16, 1, 1, 0},
        {MS_Q5_0, 5, 0x80, 31, 1, 1, 0},
        {MS_Q5_0, 6, 0x0f, 0, 1, 1, -1},
        {MS_Q5_0, 21, 0xf0, 31, 1, 1, -1},
        {MS_Q5_1, 4, 0x02, 1, 1, 1, 16},
        {MS_Q5_1, 7, 0x40, 30, 1, 1, 16},
        {MS_Q5_1, 8, 0x0f, 0, 1, 1, 15},
        {MS_Q5_1, 23, 0x50, 31, 1, 1, 5},
        {MS_Q5_1, 3, 0xc0, 0, 1, 32, -2},
        {MS_Q2_K, 16, 0x03, 0, 1, 1, 3}, /* 4 levels a byte, 32 apart */
        {MS_Q2_K, 16, 0xaa, 0, 32, 4, 2},
        {MS_Q2_K, 32, 0x55, 16, 32, 4, 1},
        {MS_Q2_K, 48, 0xff, 128, 32, 4, 3},
        {MS_Q2_K, 79, 0x80, 255, 1, 1, 2},
        {MS_Q2_K, 0, 0x31, 0, 1, 16, -3}, /* a minimum of 3 */
        {MS_Q2_K, 15, 0xf1, 240, 1, 16, -15},
        {MS_Q3_K, 0, 0xff, 0, 32, 8, 0}, /* the third bits of 8 levels */
        {MS_Q3_K, 31, 0x80, 255, 1, 1, 0},
        {MS_Q3_K, 16, 0x01, 16, 1, 1, 0},
        {MS_Q3_K, 32, 0x03, 0, 1, 1, -1},
        {MS_Q3_K, 64, 0xff, 128, 32, 4, -1},
        {MS_Q3_K, 95, 0x40, 255, 1, 1, -3},
        {MS_Q3_K, 96, 0x12, 0, 1, 16, -8},    /* scale 0 is 2 */
        {MS_Q3_K, 96, 0x31, 128, 1, 16, -12}, /* scale 8 is 3 */
        {MS_Q3_K, 103, 0x71, 240, 1, 16, -28},
        {MS_Q3_K, 104, 0xa9, 0, 1, 16, 60},    /* scale 0 is -15 */
        {MS_Q3_K, 107, 0xea, 240, 1, 16, -68}, /* scale 15 is 17 */
        {MS_Q4_K, 16, 0x0f, 0, 1, 1, 15},
        {MS_Q4_K, 16, 0xf0, 32, 1, 1, 15},
        {MS_Q4_K, 48, 0x01, 64, 1, 1, 1},
        {MS_Q4_K, 143, 0x90, 255, 1, 1, 9},
        {MS_Q4_K, 8, 0x3f, 0, 1, 32, -63}, /* minimum 0; then 3, 4 (low bits, high bits), 7 */
        {MS_Q4_K, 11, 0x05, 96, 1, 32, -5},
        {MS_Q4_K, 12, 0xf1, 128, 1, 32, -15},
        {MS_Q4_K, 8, 0xc0, 128, 1, 32, -48},
        {MS_Q4_K, 15, 0x41, 224, 1, 32, -4},
        {MS_Q5_K, 48, 0x0f, 0, 1, 1, 15},
        {MS_Q5_K, 175, 0xf0, 255, 1, 1, 15},
        {MS_Q5_K, 16, 0xff, 0, 32, 8, 16},
        {MS_Q5_K, 47, 0x80, 255, 1, 1, 16},
        {MS_Q5_K, 11, 0x80, 224, 1, 32, -32},
        {MS_Q6_K, 0, 0x0f, 0, 1, 1, -17},
        {MS_Q6_K, 0, 0xf0, 64, 1, 1, -17},
        {MS_Q6_K, 32, 0x01, 32, 1, 1, -31},
        {MS_Q6_K, 127, 0xf0, 255, 1, 1, -17},
        {MS_Q6_K, 128, 0xff, 0, 32, 4, 16},
        {MS_Q6_K, 160, 0x55, 128, 32, 4, -16},
        {MS_Q6_K, 191, 0x80, 255, 1, 1, 0},
        {MS_Q6_K, 192, 0xff, 0, 1, 16, 32}, /* a scale of -1 */
        {MS_Q6_K, 207, 0x80, 240, 1, 16, 4096},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++) {
        const struct layout *t = layout_of(row[i].dtype);
        const int n = ms_dtype_block(row[i].dtype);
        uint8_t b[BYTES_MOST];
        float y[LARGE];

        plain_block(t, b);
        b[row[i].at] = row[i].value;
        ms_dequantize(row[i].dtype, b, y, (size_t)n);
        for (int j = 0; j < n; j++) {
            int k = j - row[i].first;
            bool changed = k >= 0 && k % row[i].step == 0 && k / row[i].step < row[i].count;
            float wanted = changed ? row[i].x : t->zero;

            if (y[j] != wanted)
                fail_msg("%s, byte %d is %d: element %d is %g, expected %g",
                         ms_dtype_name(row[i].dtype), row[i].at, row[i].value, j, (double)y[j],
                         (double)wanted);
        }
    }
}

/* Scales of 6 bits through all their values, against the sum of their bits. */
static void scales_of_six_bits_are_put_together(void **state)
{
    (void)state;
    for (int s = 0; s < 64; s++) {
        uint8_t b[BYTES_MOST];
        float y[LARGE];

        plain_block(layout_of(MS_Q4_K), b);
        b[8] |= (uint8_t)(s >> 4 << 6); /* minimum 4 */
        b[12] = (uint8_t)(1 | (s & 15) << 4);
        b[7] = (uint8_t)(1 | s >> 4 << 6); /* scale 7 */
        b[15] = (uint8_t)(s & 15);
        memset(b + 16, 0xff, 128);
        ms_dequantize(MS_Q4_K, b, y, LARGE);
        assert_true(y[3 * 32] == 15 && y[4 * 32] == (float)(15 - s) &&
                    y[7 * 32] == (float)(15 * s));

        plain_block(layout_of(MS_Q3_K), b);
        b[96 + 3] = (uint8_t)((s & 15) << 4 | 1); /* scale 11 */
        b[104 + 3] = (uint8_t)((0xaa & ~0x30) | s >> 4 << 4);
        ms_dequantize(MS_Q3_K, b, y, LARGE);
        assert_true(y[11 * 16] == (float)(-4 * (s - 32)) && y[10 * 16] == -4 && y[3 * 16] == -4);
    }
}

/* FNV-1a. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static const uint64_t HASH = UINT64_C(0xcbf29ce484222325);

static uint64_t hash_floats(const float *y, size_t n)
{
    uint64_t hash = HASH;

    for (size_t i = 0; i < n; i++) {
        uint32_t u = isnan(y[i]) ? 0x7fc00000u : ms_bits_from_float(y[i]);
        const uint8_t p[] = {(uint8_t)u, (uint8_t)(u >> 8), (uint8_t)(u >> 16), (uint8_t)(u >> 24)};

        hash = hash_bytes(hash, p, sizeof p);
    }
    return hash;
}

static void random_bytes(uint8_t *b, size_t size, ms_dtype dtype)
{
    ms_rng r = ms_rng_new(2024, (uint32_t)dtype, MS_SITE_TEST);

    for (size_t i = 0; i < size; i++) b[i] = (uint8_t)ms_rng_u32(&r);
}

static float floats[BLOCKS * LARGE];
static uint8_t blocks[BLOCKS * BYTES_MOST];

/* Any bytes are blocks.  The hashes are those of gguf 0.19.0 (gguf.quants.dequantize). */
static void any_bytes_give_the_floats_of_ggml(void **state)
{
    static const struct {
        ms_dtype dtype;
        uint64_t hash;
    } row[] = {
        {MS_Q8_0, UINT64_C(0xbbd39a62b1a37f36)}, {MS_Q4_0, UINT64_C(0x5d62c8622262a7d4)},
        {MS_Q4_1, UINT64_C(0xf0e25df9d2385b21)}, {MS_Q5_0, UINT64_C(0x7f4df55e8db685a6)},
        {MS_Q5_1, UINT64_C(0x39a9ced86a150b2b)}, {MS_Q2_K, UINT64_C(0x223a81b5944fd0d1)},
        {MS_Q3_K, UINT64_C(0xfaf620049a2f9664)}, {MS_Q4_K, UINT64_C(0xb1df32ce3fc8bdd8)},
        {MS_Q5_K, UINT64_C(0x81baebeb4e0cf1b6)}, {MS_Q6_K, UINT64_C(0x638461fc3b14e995)},
    };
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++) {
        const ms_dtype t = row[i].dtype;
        const size_t n = BLOCKS * (size_t)ms_dtype_block(t);

        random_bytes(blocks, BLOCKS * ms_dtype_bytes(t), t);
        ms_dequantize(t, blocks, floats, n);
        uint64_t hash = hash_floats(floats, n);
        if (hash == row[i].hash) continue;
        print_error("%s: 0x%016llx\n", ms_dtype_name(t), (unsigned long long)hash);
        wrong++;
    }
    assert_int_equal(wrong, 0);
}

/* Floats are proportional to d, whatever f16 it is: subnormal, infinite, no number. */
static void every_scale_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(LAYOUT); i++) {
        const struct layout *t = &LAYOUT[i];
        const int n = ms_dtype_block(t->dtype);
        uint8_t b[BYTES_MOST];
        float at_one[LARGE], y[LARGE];

        random_bytes(b, BYTES_MOST, t->dtype);
        memset(b + t->d, 0, 2);
        if (t->other >= 0) memset(b + t->other, 0, 2);
        b[t->d + 1] = 0x3c;
        ms_dequantize(t->dtype, b, at_one, (size_t)n);
        for (uint32_t h = 0; h < 0x10000; h += n == SMALL ? 1 : 13) {
            const double d = (double)ms_float_from_f16((uint16_t)h);

            b[t->d] = (uint8_t)h;
            b[t->d + 1] = (uint8_t)(h >> 8);
            ms_dequantize(t->dtype, b, y, (size_t)n);
            for (int j = 0; j < n; j++) {
                double wanted = d * (double)at_one[j];

                if (isnan(wanted) ? !isnan(y[j]) : (double)y[j] != wanted)
                    fail_msg("%s with a scale of %04x: element %d is %g, expected %g",
                             ms_dtype_name(t->dtype), h, j, (double)y[j], wanted);
            }
        }
    }
}

/* Rows of numbers, from an odd address. */
static void reals_are_floats(void **state)
{
    static const float x[] = {0,     -0.0f,        1,       -2.5f, 0x1p-14f, 0x1p-24f,
                              65504, 0.099975586f, INFINITY};
    enum { N = COUNT(x) };
    static const ms_dtype dtype[] = {MS_F64, MS_F32, MS_BF16, MS_F16};
    const double wide[] = {1.0 / 3, 1e300, -1e-300, NAN, 7};
    uint8_t b[N * 8 + 1];
    float y[N];

    (void)state;
    for (int i = 0; i < N; i++) {
        double d = (double)x[i];

        memcpy(b + 1 + 8 * i, &d, 8);
    }
    ms_dequantize(MS_F64, b + 1, y, N);
    assert_memory_equal(y, x, sizeof x);
    for (size_t k = 1; k < COUNT(dtype); k++) {
        ms_quantize(dtype[k], x, b + 1, N);
        ms_dequantize(dtype[k], b + 1, y, N);
        for (int i = 0; i < N; i++) {
            float wanted =
                dtype[k] == MS_BF16 ? ms_float_from_bf16(ms_bf16_from_float(x[i])) : x[i];

            assert_int_equal(ms_bits_from_float(y[i]), ms_bits_from_float(wanted));
        }
    }
    memcpy(b + 1, wide, sizeof wide);
    ms_dequantize(MS_F64, b + 1, y, 5);
    assert_true(y[0] == 1.0f / 3 && isinf(y[1]) && y[2] == 0 && isnan(y[3]) && y[4] == 7);
    for (ms_dtype t = 0; t < MS_DTYPE_COUNT; t++)
        if (ms_dtype_is_real(t)) ms_dequantize(t, NULL, NULL, 0);
}

/* -- to blocks ------------------------------------------------------------------------------- */

static const ms_dtype TO[] = {MS_Q8_0, MS_Q4_0, MS_Q4_1, MS_Q5_0, MS_Q5_1, MS_Q4_K, MS_Q6_K};

static void types_that_can_be_made_are_known(void **state)
{
    (void)state;
    for (ms_dtype t = 0; t < MS_DTYPE_COUNT; t++) {
        bool can = t == MS_F32 || t == MS_BF16 || t == MS_F16;

        for (size_t i = 0; i < COUNT(TO); i++) can = can || t == TO[i];
        assert_int_equal(ms_can_quantize(t), can);
        if (can) ms_quantize(t, NULL, NULL, 0);
    }
    assert_false(ms_can_quantize(MS_DTYPE_COUNT));
}

typedef enum { BELL, EVEN, TAILS, POSITIVE, NEGATIVE, FAR, SPIKES, STEPS, ZEROS, KINDS } kind;

/* Between -2 and 2, bell-shaped; exact, so that every machine draws the same. */
static float bell(ms_rng *r)
{
    return (float)(ms_rng_uniform(r) + ms_rng_uniform(r) + ms_rng_uniform(r) + ms_rng_uniform(r)) -
           2;
}

static float draw(ms_rng *r, kind k)
{
    float x = bell(r);

    switch (k) {
    case EVEN: return (float)ms_rng_uniform(r) * 0.125f - 0.0625f;
    case TAILS: return x * x * x * x * x * 1000;
    case POSITIVE: return fabsf(x) + 0.25f;
    case NEGATIVE: return -fabsf(x) - 1e-3f;
    case FAR: return 5 + x * 0.0009765625f;
    case SPIKES: return ms_rng_below(r, 40) ? x : x * 30000;
    case STEPS: return floorf(x * 3);
    case ZEROS: return ms_rng_below(r, 10) ? 0 : x;
    default: return x;
    }
}

static void draw_floats(float *x, size_t n, kind k, uint32_t stream)
{
    ms_rng r = ms_rng_new(99, stream, MS_SITE_TEST);

    for (size_t i = 0; i < n; i++) x[i] = draw(&r, k);
}

/* The hashes are those of libggml 0.25.3 of llama-cpp-python 0.3.36 (quantize_row_..._ref) without
 * fused multiplication and addition; with it, a level may become the next one to it. */
static void floats_give_the_blocks_of_ggml(void **state)
{
    static const struct {
        ms_dtype dtype;
        uint64_t hash;
    } row[] = {
        {MS_Q8_0, UINT64_C(0x6c131e9a371f0613)}, {MS_Q4_0, UINT64_C(0xbea804f88a191647)},
        {MS_Q4_1, UINT64_C(0xa405b749ece8803e)}, {MS_Q5_0, UINT64_C(0x70aeb34ca23d166f)},
        {MS_Q5_1, UINT64_C(0xe4a3b2b21bbdd88a)}, {MS_Q4_K, UINT64_C(0xaf4ce03e93e23baa)},
        {MS_Q6_K, UINT64_C(0xf8c1910aa5aed355)},
    };
    int wrong = 0;

    (void)state;
#if defined(FP_FAST_FMAF) || defined(__FP_FAST_FMAF) || defined(__aarch64__)
    print_message("not run: this machine fuses multiplication and addition\n");
    skip();
#endif
    for (size_t i = 0; i < COUNT(row); i++) {
        const ms_dtype t = row[i].dtype;
        const size_t n = 64 * LARGE, size = n / (size_t)ms_dtype_block(t) * ms_dtype_bytes(t);
        uint64_t hash = HASH;

        for (kind k = 0; k < KINDS; k++) {
            draw_floats(floats, n, k, (uint32_t)k);
            ms_quantize(t, floats, blocks, n);
            hash = hash_bytes(hash, blocks, size);
        }
        if (hash == row[i].hash) continue;
        print_error("%s: 0x%016llx\n", ms_dtype_name(t), (unsigned long long)hash);
        wrong++;
    }
    assert_int_equal(wrong, 0);
}

typedef struct {
    float low, high, most; /* most: of the magnitudes */
} extent;

static extent extent_of(const float *x, int n)
{
    extent e = {x[0], x[0], 0};

    for (int i = 0; i < n; i++) {
        e.low = fminf(e.low, x[i]);
        e.high = fmaxf(e.high, x[i]);
        e.most = fmaxf(e.most, fabsf(x[i]));
    }
    return e;
}

/* How far an f16 lies from what it was made of. */
static double f16_error(double v)
{
    return fmax(fabs(v) * 0x1p-11, 0x1p-25);
}

/* x = d (q - half): half a step, and what lies beyond the last level. */
static double centred_bound(const extent *e, float x, int half)
{
    double d = (double)e->most / half;

    return fmax(d / 2, fabs((double)x) - (half - 1) * d) + half * f16_error(d);
}

/* x = d q + m, with q up to top. */
static double lifted_bound(const extent *e, int top)
{
    double d = ((double)e->high - (double)e->low) / top;

    return d / 2 + top * f16_error(d) + f16_error((double)e->low);
}

/* Of 32 values among 256: a step of theirs, and what the steps and minima of all lose to 6 bits. */
static double q4_k_bound(const float *block, int i)
{
    extent own = extent_of(block + i / 32 * 32, 32);
    double span = 0, min = 0, own_span = (double)fmaxf(own.high, 0) - (double)fminf(own.low, 0);

    for (int g = 0; g < 8; g++) {
        extent e = extent_of(block + 32 * g, 32);

        span = fmax(span, (double)fmaxf(e.high, 0) - (double)fminf(e.low, 0));
        min = fmax(min, -(double)e.low);
    }
    return own_span / 15 + span / 63 + min / 63;
}

/* Of 16 values among 256: a step of theirs, and what the steps of all lose to 8 bits. */
static double q6_k_bound(const float *block, int i)
{
    extent own = extent_of(block + i / 16 * 16, 16), all = extent_of(block, LARGE);

    return (double)own.most / 32 + (double)all.most / 128;
}

static double bound(ms_dtype dtype, const float *block, int i)
{
    extent e = extent_of(block, ms_dtype_block(dtype));
    double slack = 1e-5 * (double)e.most + 0x1p-25, d = (double)e.most / 127;

    switch (dtype) {
    case MS_Q8_0: return slack + d / 2 + 127 * f16_error(d);
    case MS_Q4_0: return slack + centred_bound(&e, block[i], 8);
    case MS_Q5_0: return slack + centred_bound(&e, block[i], 16);
    case MS_Q4_1: return slack + lifted_bound(&e, 15);
    case MS_Q5_1: return slack + lifted_bound(&e, 31);
    case MS_Q4_K: return slack + q4_k_bound(block, i);
    default: return slack + q6_k_bound(block, i);
    }
}

static void each_float_stays_within_its_bound(void **state)
{
    enum { N = 16 * LARGE };
    static float y[N];

    (void)state;
    for (size_t t = 0; t < COUNT(TO); t++)
        for (uint32_t stream = 0; stream < 8 * KINDS; stream++) {
            const int n = ms_dtype_block(TO[t]);
            double most = 0;

            draw_floats(floats, N, (kind)(stream % KINDS), stream);
            ms_quantize(TO[t], floats, blocks, N);
            ms_dequantize(TO[t], blocks, y, N);
            for (int i = 0; i < N; i++) {
                double error = fabs((double)y[i] - (double)floats[i]);
                double allowed = bound(TO[t], floats + i / n * n, i % n);

                most = fmax(most, error / allowed);
                if (!(error <= allowed))
                    fail_msg("%s, kind %u: %g became %g, expected within %g", ms_dtype_name(TO[t]),
                             stream % KINDS, (double)floats[i], (double)y[i], allowed);
            }
            /* a bound that is far from being reached would not notice a level lost */
            if (stream % KINDS == BELL && most < 0.3)
                fail_msg("%s: at most %g of the bound", ms_dtype_name(TO[t]), most);
        }
}

/* Levels times a step that an f16 holds: one of each, the extreme ones in each group. */
static void floats_of_a_grid_come_back(void **state)
{
    static const struct {
        ms_dtype dtype;
        int low, high, group;
        float step;
    } row[] = {
        {MS_Q8_0, -127, 127, 32, 0.5f},
        {MS_Q4_0, -8, 7, 32, 0.25f},
        {MS_Q4_1, 0, 15, 32, 3},
        {MS_Q4_1, -20, -5, 32, 0.125f},
        {MS_Q5_0, -16, 15, 32, 64},
        {MS_Q5_1, 0, 31, 32, 1.5f},
        {MS_Q5_1, 7, 38, 32, 2},
        {MS_Q4_K, 0, 15, 32, 63},
        {MS_Q4_K, -4, 11, 32, 0.0625f * 63},
        {MS_Q6_K, -32, 31, 16, 128},
        {MS_Q6_K, -32, 31, 16, 0.25f},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++)
        for (int sign = 1; sign >= -1; sign -= 2) {
            const ms_dtype t = row[i].dtype;
            const int span = row[i].high - row[i].low + 1;
            float y[LARGE];

            if (sign < 0 && t != MS_Q4_0 && t != MS_Q5_0 && t != MS_Q6_K) continue;
            for (int j = 0; j < LARGE; j++) {
                int in_group = j % row[i].group;
                int q = in_group == 0   ? row[i].low
                        : in_group == 1 ? row[i].high
                                        : row[i].low + j * 7 % span;

                floats[j] = (float)(sign * q) * row[i].step;
            }
            ms_quantize(t, floats, blocks, LARGE);
            ms_dequantize(t, blocks, y, LARGE);
            for (int j = 0; j < LARGE; j++)
                if (y[j] != floats[j])
                    fail_msg("%s, step %g: %g became %g", ms_dtype_name(t), (double)row[i].step,
                             (double)floats[j], (double)y[j]);
        }
}

static void zeros_stay_zeros(void **state)
{
    (void)state;
    for (size_t t = 0; t < COUNT(TO); t++)
        for (int k = 0; k < 3; k++) {
            float y[LARGE];

            for (int j = 0; j < LARGE; j++) floats[j] = k == 0 ? 0.0f : k == 1 ? -0.0f : 1e-40f;
            ms_quantize(TO[t], floats, blocks, LARGE);
            ms_dequantize(TO[t], blocks, y, LARGE);
            for (int j = 0; j < LARGE; j++) assert_true(y[j] == 0);
        }
}

/* All the same: what has a minimum for it is near, the others have it as their farthest. */
static void a_block_of_one_value_is_near_it(void **state)
{
    static const float value[] = {1, -1, 0.05f, -65504, 300.7f};

    (void)state;
    for (size_t t = 0; t < COUNT(TO); t++)
        for (size_t k = 0; k < COUNT(value); k++) {
            float y[LARGE];

            for (int j = 0; j < LARGE; j++) floats[j] = value[k];
            ms_quantize(TO[t], floats, blocks, LARGE);
            ms_dequantize(TO[t], blocks, y, LARGE);
            for (int j = 0; j < LARGE; j++)
                if (!(fabsf(y[j] - value[k]) <= 0.01f * fabsf(value[k])))
                    fail_msg("%s: %g became %g", ms_dtype_name(TO[t]), (double)value[k],
                             (double)y[j]);
        }
}

/* One of those, or all, in the middle of three blocks: defined behaviour is all that is asked of
 * that block; the others are as without it. */
static void what_is_no_number_stays_in_its_block(void **state)
{
    static const float value[] = {NAN,      -NAN,  INFINITY, -INFINITY, FLT_MAX,
                                  -FLT_MAX, 1e30f, -1e30f,   1e-45f,    FLT_MIN};
    enum { N = 3 * LARGE };
    static uint8_t plain[3 * BYTES_MOST];
    static float y[N];

    (void)state;
    for (size_t t = 0; t < COUNT(TO); t++)
        for (size_t k = 0; k < COUNT(value) * COUNT(value) * 2; k++) {
            const size_t n = (size_t)ms_dtype_block(TO[t]), bytes = ms_dtype_bytes(TO[t]);
            const float a = value[k / 2 % COUNT(value)], b = value[k / 2 / COUNT(value)];

            draw_floats(floats, 3 * n, BELL, 5);
            ms_quantize(TO[t], floats, plain, 3 * n);
            for (size_t j = n; j < 2 * n; j++)
                if (k % 2 || j % 32 == 5) floats[j] = j % 2 ? a : b;
            floats[n + 12] = b;
            ms_quantize(TO[t], floats, blocks, 3 * n);
            assert_memory_equal(blocks, plain, bytes);
            assert_memory_equal(blocks + 2 * bytes, plain + 2 * bytes, bytes);
            ms_dequantize(TO[t], blocks, y, 3 * n);
            ms_dequantize(TO[t], plain, floats, 3 * n);
            assert_memory_equal(y, floats, n * sizeof *y);
            assert_memory_equal(y + 2 * n, floats + 2 * n, n * sizeof *y);
        }
}

/* 60000 beside ones: it fits every type, and comes back near. */
static void one_large_value_comes_back(void **state)
{
    (void)state;
    for (size_t t = 0; t < COUNT(TO); t++)
        for (int sign = 1; sign >= -1; sign -= 2) {
            float y[LARGE];

            draw_floats(floats, LARGE, BELL, 3);
            floats[77] = (float)sign * 60000;
            ms_quantize(TO[t], floats, blocks, LARGE);
            ms_dequantize(TO[t], blocks, y, LARGE);
            assert_true(fabsf(y[77] - floats[77]) <= 300);
            for (int j = 0; j < LARGE; j++) assert_true(isfinite(y[j]));
        }
}

/* Blocks at an odd address, between bytes and floats that must stay. */
static void nothing_else_is_touched(void **state)
{
    enum { N = 2 * LARGE };
    static float y[N + 2];

    (void)state;
    draw_floats(floats, N, BELL, 1);
    for (size_t t = 0; t < COUNT(TO); t++) {
        const size_t size = N / (size_t)ms_dtype_block(TO[t]) * ms_dtype_bytes(TO[t]);

        memset(blocks, 0xa5, size + 2);
        ms_quantize(TO[t], floats, blocks + 1, N);
        assert_true(blocks[0] == 0xa5 && blocks[size + 1] == 0xa5);
    }
    for (size_t t = 0; t < COUNT(LAYOUT); t++) {
        const ms_dtype dtype = LAYOUT[t].dtype;
        const size_t size = N / (size_t)ms_dtype_block(dtype) * ms_dtype_bytes(dtype);
        uint8_t *end = malloc(size + 1); /* reading past the end shows */

        assert_non_null(end);
        random_bytes(end + 1, size, dtype);
        y[0] = y[N + 1] = 77;
        ms_dequantize(dtype, end + 1, y + 1, N);
        free(end);
        assert_true(y[0] == 77 && y[N + 1] == 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_bit_has_its_place),
        cmocka_unit_test(scales_of_six_bits_are_put_together),
        cmocka_unit_test(any_bytes_give_the_floats_of_ggml),
        cmocka_unit_test(every_scale_is_read),
        cmocka_unit_test(reals_are_floats),
        cmocka_unit_test(types_that_can_be_made_are_known),
        cmocka_unit_test(floats_give_the_blocks_of_ggml),
        cmocka_unit_test(each_float_stays_within_its_bound),
        cmocka_unit_test(floats_of_a_grid_come_back),
        cmocka_unit_test(zeros_stay_zeros),
        cmocka_unit_test(a_block_of_one_value_is_near_it),
        cmocka_unit_test(what_is_no_number_stays_in_its_block),
        cmocka_unit_test(one_large_value_comes_back),
        cmocka_unit_test(nothing_else_is_touched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
