/* Matrix product and column sums.
 *
 * Tiles are cut so that about MR * NV independent chains hide the latency of the fused
 * multiply-add: full tiles of MR rows, then 4, then single rows, which take up to 8 vectors at
 * once. */
#include "tile.h"

#if FM_SIMD == 512
enum { MR = 8, NV = 3 };
#elif FM_SIMD == 256
enum { MR = 4, NV = 3 };
#elif FM_SIMD == 128
/* 8 x 2 takes more loads for as many chains; with 8 x 3 GCC keeps some of the sums in memory. */
enum { MR = 4, NV = 4 };
#else
enum { MR = 4, NV = 2 };
#endif

/* Every shape gets a function of its own, so that its loops unroll; with a last vector of which not
 * all lanes count, others. */
#define TILE(rows, nv)                                                                             \
    static void tile_##rows##x##nv(const tile_args *t) { tile(t, rows, nv, FULL_END, 0, WHOLE); }
#define PARTIAL_TILE(rows, nv)                                                                     \
    static void partial_##rows##x##nv(const tile_args *t, size_t columns)                          \
    {                                                                                              \
        tile(t, rows, nv, PARTIAL_END, columns, WHOLE);                                            \
    }
#define BOTH(rows, nv) TILE(rows, nv) PARTIAL_TILE(rows, nv)

typedef void (*whole_tile)(const tile_args *);
typedef void (*partial_tile)(const tile_args *, size_t columns);

/* By rows, those of 1, 2, ... vectors. */
typedef struct {
    const whole_tile *whole;
    const partial_tile *partial;
    const whole_tile *half_end; /* NULL where that takes the time of a whole vector */
} tiles;

BOTH(1, 1)
TILE(1, 2)
TILE(1, 4)
TILE(1, 8)
BOTH(4, 1)
BOTH(4, 2)
#if FM_SIMD
BOTH(4, 3)
#endif
#if FM_SIMD == 128
BOTH(4, 4)
static const whole_tile whole_4[] = {tile_4x1, tile_4x2, tile_4x3, tile_4x4};
static const partial_tile partial_4[] = {partial_4x1, partial_4x2, partial_4x3, partial_4x4};
#elif FM_SIMD
static const whole_tile whole_4[] = {tile_4x1, tile_4x2, tile_4x3};
static const partial_tile partial_4[] = {partial_4x1, partial_4x2, partial_4x3};
#else
static const whole_tile whole_4[] = {tile_4x1, tile_4x2};
static const partial_tile partial_4[] = {partial_4x1, partial_4x2};
#endif

#if FM_SIMD == 512
#define HALF_TILE(rows, nv)                                                                        \
    static void half_##rows##x##nv(const tile_args *t) { tile(t, rows, nv, HALF_END, 0, WHOLE); }
BOTH(8, 1)
BOTH(8, 2)
BOTH(8, 3)
HALF_TILE(4, 1)
HALF_TILE(4, 2)
HALF_TILE(4, 3)
HALF_TILE(8, 1)
HALF_TILE(8, 2)
HALF_TILE(8, 3)
static const whole_tile half_4[] = {half_4x1, half_4x2, half_4x3};
static const whole_tile whole_8[] = {tile_8x1, tile_8x2, tile_8x3};
static const partial_tile partial_8[] = {partial_8x1, partial_8x2, partial_8x3};
static const whole_tile half_8[] = {half_8x1, half_8x2, half_8x3};
static const tiles of_4_rows = {whole_4, partial_4, half_4};
static const tiles of_8_rows = {whole_8, partial_8, half_8}, *const of_full_rows = &of_8_rows;
#else
static const tiles of_4_rows = {whole_4, partial_4, NULL}, *const of_full_rows = &of_4_rows;
#endif

/* A tile of nv vectors, of the last of which `last` columns count. */
static void run(const tiles *those, const tile_args *t, size_t nv, size_t last)
{
    if (last < LANES) {
        those->partial[nv - 1](t, last);
    } else if (t->half_end && those->half_end) {
        those->half_end[nv - 1](t);
    } else {
        those->whole[nv - 1](t);
    }
}

/* Move on by so many rows. */
static void next_rows(tile_args *t, size_t rows)
{
    if (!t->lines) {
        t->a += (ptrdiff_t)rows * t->a_row;
    } else if (t->a_row == 1) {
        t->first += rows;
    } else {
        t->lines += rows;
    }
    t->c += (ptrdiff_t)rows * t->c_row;
}

/* m rows, a multiple of 4, of a panel of nv vectors. Its first tile brings b near. */
static void panel(tile_args t, size_t m, size_t nv, size_t last)
{
#if FM_SIMD == 512
    for (; m >= 8; m -= 8) {
        run(&of_8_rows, &t, nv, last);
        next_rows(&t, 8);
        t.b_ahead = 0;
    }
#endif
    for (; m; m -= 4) {
        run(&of_4_rows, &t, nv, last);
        next_rows(&t, 4);
        t.b_ahead = 0;
    }
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Move to the next columns. */
static void advance(tile_args *t, size_t columns)
{
    t->b += columns;
    t->c += columns;
    if (t->bias) {
        t->bias += columns;
    }
}

static void single_row(tile_args t, size_t n)
{
    while (n >= LANES) {
        const size_t vectors = n / LANES;
        const size_t nv = vectors >= 8 ? 8 : vectors >= 4 ? 4 : vectors >= 2 ? 2 : 1;
        if (nv == 8) {
            tile_1x8(&t);
        } else if (nv == 4) {
            tile_1x4(&t);
        } else if (nv == 2) {
            tile_1x2(&t);
        } else {
            tile_1x1(&t);
        }
        advance(&t, nv * LANES);
        n -= nv * LANES;
    }
    if (n) {
        partial_1x1(&t, n);
    }
}

/* Columns [0, n) of `rows` rows, a multiple of 4. */
static void columns_of_rows(tile_args t, size_t rows, size_t n)
{
    const int half_end = t.half_end;
    while (n) {
        const size_t vectors = (n + LANES - 1) / LANES;
        /* One vector more than a panel makes two panels of about a half, not one of one vector. */
        const int over = NV > 2 && vectors == NV + 1;
        const size_t nv = over ? (NV + 2) / 2 : vectors > NV ? NV : vectors;
        const size_t width = smaller(nv * LANES, n);
        t.half_end = half_end && width == n;
        panel(t, rows, nv, LANES - (nv * LANES - width));
        advance(&t, width);
        n -= width;
    }
}

/* All columns of m rows. */
static void rows_of(tile_args t, size_t m, size_t n)
{
    const size_t whole = m - m % 4;
    if (whole) {
        columns_of_rows(t, whole, n);
    }
    next_rows(&t, whole);
    for (size_t i = whole; i < m; i++) {
        single_row(t, n);
        next_rows(&t, 1);
    }
}

static tile_args args_of(const fm_gemm *g)
{
    tile_args t = {
        .k = g->k,
        .a = g->a,
        .a_row = g->a_row,
        .a_col = g->a_col,
        .lines = g->a_lines,
        .first = g->a_first,
        .b = g->b,
        .b_row = g->b_row,
        .c = g->c,
        .c_row = g->c_row,
        .bias = g->bias,
        .mode = g->mode,
        .alpha = (real)g->alpha,
        .relu = g->relu,
        .half_end = g->half_end,
    };
    t.b_ahead = asks_for_b(&t);
    t.c_ahead = asks_for_c(&t, g->m);
    return t;
}

/* A tile of a stays in the first-level cache while b's panels pass by. */
static void packed_gemm(const fm_gemm *g, ptrdiff_t a_tile)
{
    const size_t strip = (size_t)g->b_row;
    tile_args rows = args_of(g);
    rows.half_end = 0;
    /* A few rows of a larger c. */
    rows.c_ahead = g->mode != FM_GEMM_STORE;
    for (size_t i = 0; i < g->m; i += MR) {
        const size_t m = g->m - i < MR ? g->m - i : MR;
        tile_args t = rows;
        for (size_t j = 0; j < g->n; j += strip) {
            const size_t n = g->n - j < strip ? g->n - j : strip;
            if (m == MR && n == strip) {
                of_full_rows->whole[strip / LANES - 1](&t);
            } else {
                rows_of(t, m, n);
            }
            t.b += strip * g->k;
            t.c += strip;
            t.bias = t.bias ? t.bias + strip : NULL;
        }
        rows.a += a_tile;
        rows.c += MR * g->c_row;
    }
}

/* Elements of a that fit in a core's cache beside b's panel and c, as a is read again for every
 * panel of columns; and the most rows that share them, for which a block is deep enough that c is
 * not loaded and stored too often. */
enum { A_ELEMENTS = 224 * 1024 / sizeof(real), A_ROWS = 256 };

/* Large products go by blocks of a; a chain goes on from one block of its depth to the next. A sum
 * that is to be scaled must be whole, so then only rows are cut. Rows that a single panel reads,
 * and from front to back, are not cut at all. */
static void gemm(const fm_gemm *g)
{
    if (g->n <= NV * LANES && g->a_col == 1) {
        rows_of(args_of(g), g->m, g->n);
        return;
    }
    const int whole = g->mode == FM_GEMM_ADD_SCALED;
    const size_t m = smaller(g->m, A_ROWS), fit = A_ELEMENTS / (whole ? g->k + 1 : m + 1);
    const size_t rows = whole ? smaller(g->m, fit < MR ? MR : fit - fit % MR) : m;
    const size_t blocks = whole ? 1 : (g->k + fit - 1) / fit;
    const size_t depth = blocks > 1 ? (g->k + blocks - 1) / blocks : g->k; /* near-equal */
    if (rows == g->m && depth == g->k) {
        rows_of(args_of(g), g->m, g->n);
        return;
    }
    for (size_t p = 0; p < g->k; p += depth) {
        fm_gemm block = *g;
        block.k = smaller(depth, g->k - p);
        block.b = (const real *)g->b + (ptrdiff_t)p * g->b_row;
        if (p) {
            block.mode = FM_GEMM_CONTINUE;
        }
        if (p + depth < g->k) {
            block.bias = NULL;
            block.relu = 0;
        }
        for (size_t i = 0; i < g->m; i += rows) {
            block.m = smaller(rows, g->m - i);
            fm_gemm_begin(&block, g, i, p, sizeof(real));
            block.c = (real *)g->c + (ptrdiff_t)i * g->c_row;
            rows_of(args_of(&block), block.m, block.n);
        }
    }
}

static void column_sums(size_t m, size_t n, const void *x, ptrdiff_t x_row, fm_gemm_mode mode,
                        double alpha, void *y)
{
    const vec zero = vec_set1(0), scale = vec_set1((real)alpha);
    const real *from = x;
    real *to = y;
    while (n) {
        const size_t width = n < LANES ? n : LANES;
        const vec_mask mask = vec_first(width);
        const int partial = width < LANES;
        vec sum = zero;
        for (size_t i = 0; i < m; i++) {
            const real *row = from + (ptrdiff_t)i * x_row;
            sum = sum + (partial ? vec_load_first(row, mask, zero) : vec_load(row));
        }
        if (mode == FM_GEMM_ADD_SCALED) {
            sum = vec_fma(scale, sum, vec_load_first(to, mask, zero));
        }
        vec_store_first(to, sum, mask);
        from += width;
        to += width;
        n -= width;
    }
}

void KERNEL(fill_gemm)(fm_kernels *table)
{
    table->itemsize = sizeof(real);
    table->lanes = LANES;
    table->mr = MR;
    table->nr = NV * LANES;
    table->kc = 256;
    table->gemm = gemm;
    table->packed_gemm = packed_gemm;
    table->column_sums = column_sums;
}
