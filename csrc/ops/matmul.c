/* Matrix product: splitting over threads, blocking, packing.
 *
 * Threads share out c's rows or columns, so no element is ever the sum of two threads' parts. Where
 * b is transposed or large, each thread copies kc x nr panels of it into its own buffer, and where
 * it pays tiles of a, so that the kernel reads both contiguously and from the cache; the chain of
 * an element then goes on from one block of k to the next in c itself, and its bits are those of
 * the unblocked product. */
#include <stdlib.h>

#include "ops.h"

/* Panels of b packed at a time, and rows of a: with kc they fill two thirds of a 2 MB second-level
 * cache. */
enum { PANELS = 22, ROW_BLOCK = 192 };
/* Bytes of b beyond which packing pays even without a transposition, from so many rows on; fewer
 * rows will do where b does not fit the second-level cache. */
enum { PACK_BYTES = 1 << 17, PACK_ROWS = 48, HUGE_BYTES = 1 << 21, HUGE_ROWS = 17 };
/* Columns of c from which on a tile of a is read often enough to be worth packing. */
enum { PACK_A_COLUMNS = 192 };
/* Depths up to which c's stores are most of the work, and columns from which on a panel more is
 * little beside them. */
enum { SHORT_SUM = 16, MANY_COLUMNS = 192 };
/* Lanes for each column of c below which its rows fill vectors better, from so many rows on, while
 * a fits the second-level cache: it is read once for every column. */
enum { NARROW = 3, MANY_ROWS = 64, SWAPPED_ELEMENTS = 1 << 18 };

typedef struct {
    const fm_kernels *kernels;
    fm_gemm gemm;
    ptrdiff_t b_col;
    int pack_a, pack_b;
    char *buffers; /* one of buffer_bytes for each thread: b's panels, then a's tiles */
    size_t buffer_bytes, panel_bytes;
} product;

/* Rows [i, i + m) and columns [j, j + n) of the product, over the depths [d, d + k). */
static fm_gemm block(const product *p, size_t i, size_t m, size_t j, size_t n, size_t d, size_t k)
{
    const size_t itemsize = p->kernels->itemsize;
    const int last = d + k == p->gemm.k;
    fm_gemm g = p->gemm;
    g.m = m;
    g.n = n;
    g.k = k;
    g.a = fm_at(g.a, (ptrdiff_t)i * g.a_row + (ptrdiff_t)d * g.a_col, itemsize);
    g.b = fm_at(g.b, (ptrdiff_t)d * g.b_row + (ptrdiff_t)j * p->b_col, itemsize);
    g.c = fm_at(g.c, (ptrdiff_t)i * g.c_row + (ptrdiff_t)j, itemsize);
    g.mode = d ? FM_GEMM_CONTINUE : g.mode;
    g.bias = last && g.bias ? fm_at(g.bias, (ptrdiff_t)j, itemsize) : NULL;
    g.relu = last && g.relu;
    return g;
}

/* Of n columns those packed in strips of nr: one vector too many is better shared by two strips,
 * where these are whole vectors, than a strip of its own. */
static size_t in_full_strips(const fm_kernels *kernels, size_t n)
{
    const size_t nr = kernels->nr, lanes = kernels->lanes;
    const int shared = n > nr && n % nr == lanes && (nr + lanes) % (2 * lanes) == 0;
    return shared ? n - nr - lanes : n;
}

static void packed_part(const product *p, fm_range rows, fm_range columns, char *buffer)
{
    const fm_kernels *kernels = p->kernels;
    const size_t mr = kernels->mr, nr = kernels->nr, k = p->gemm.k, item = kernels->itemsize;
    const size_t strip = (nr + kernels->lanes) / 2;
    char *tiles = buffer + p->panel_bytes;
    for (size_t j = columns.begin; j < columns.end; j += PANELS * nr) {
        const size_t n = fm_min(PANELS * nr, columns.end - j);
        const size_t full = in_full_strips(kernels, n);
        for (size_t d = 0; d < k; d += kernels->kc) {
            const size_t kc = fm_min(kernels->kc, k - d);
            char *rest = buffer + full * kc * item;
            for (size_t i = rows.begin; i < rows.end; i += ROW_BLOCK) {
                const size_t m = fm_min(ROW_BLOCK, rows.end - i);
                fm_gemm g = block(p, i, m, j, full, d, kc);
                fm_gemm h = block(p, i, m, j + full, n - full, d, kc);
                ptrdiff_t a_tile = (ptrdiff_t)mr * g.a_row;
                if (i == rows.begin) {
                    kernels->pack(nr, full, kc, g.b, p->b_col, g.b_row, buffer);
                    kernels->pack(strip, n - full, kc, h.b, p->b_col, h.b_row, rest);
                }
                if (p->pack_a) {
                    kernels->pack(mr, m, kc, g.a, g.a_row, g.a_col, tiles);
                    g.a = h.a = tiles;
                    g.a_row = h.a_row = 1;
                    g.a_col = h.a_col = (ptrdiff_t)mr;
                    a_tile = (ptrdiff_t)(mr * kc);
                }
                g.b = buffer;
                g.b_row = (ptrdiff_t)nr;
                h.b = rest;
                h.b_row = (ptrdiff_t)strip;
                kernels->packed_gemm(&g, a_tile);
                if (h.n) {
                    kernels->packed_gemm(&h, a_tile);
                }
            }
        }
    }
}

static void run_block(const product *p, fm_range rows, fm_range columns, size_t part)
{
    if (rows.begin == rows.end || columns.begin == columns.end) {
        return;
    }
    if (p->pack_b) {
        packed_part(p, rows, columns, p->buffers + part * p->buffer_bytes);
    } else {
        const fm_gemm g = block(p, rows.begin, rows.end - rows.begin, columns.begin,
                                columns.end - columns.begin, 0, p->gemm.k);
        p->kernels->gemm(&g);
    }
}

/* How many of the columns come before all rows of c are at a cache line, where that is worth a
 * panel of their own. Large arrays of NumPy's begin 16 bytes past a line, and where sums are short,
 * to store vectors that straddle two takes as long as all the rest. */
static size_t unaligned(const product *p, fm_range columns)
{
    const size_t item = p->kernels->itemsize, line = FM_ALIGNMENT;
    const size_t past = (uintptr_t)fm_at(p->gemm.c, (ptrdiff_t)columns.begin, item) % line;
    const int same = (size_t)p->gemm.c_row * item % line == 0 && p->kernels->lanes * item == line;
    const int worthwhile = p->gemm.k <= SHORT_SUM && columns.end - columns.begin >= MANY_COLUMNS;
    return same && worthwhile ? (line - past) % line / item : 0;
}

static void run_part(void *context, size_t part, size_t parts)
{
    const product *p = context;
    const size_t m = p->gemm.m, n = p->gemm.n;
    fm_range rows = {0, m}, columns = {0, n};
    /* Of many columns threads take some each, and pack no others. Where sums are short that is
     * little beside the cache lines of c that then hold columns of two threads. */
    const int by_rows = p->gemm.k <= SHORT_SUM && m >= 4 * parts * p->kernels->mr;
    if (n > m && !by_rows) {
        columns = fm_share(n, p->kernels->lanes, part, parts);
    } else {
        rows = fm_share(m, p->kernels->mr, part, parts);
    }
    const size_t cut = columns.begin + unaligned(p, columns);
    run_block(p, rows, (fm_range){columns.begin, cut}, part);
    run_block(p, rows, (fm_range){cut, columns.end}, part);
}

fm_status fm_product(const fm_kernels *kernels, const fm_gemm *gemm, int transpose_b)
{
    product p = {.kernels = kernels, .gemm = *gemm, .b_col = 1};
    const double operations = 2.0 * (double)gemm->m * (double)gemm->n * (double)gemm->k;
    const size_t threads = (size_t)fm_threads_for(kernels->lanes, operations);
    const size_t item = kernels->itemsize;
    const double bytes = (double)gemm->n * (double)gemm->k * (double)item;
    const int large = bytes > PACK_BYTES;
    if (transpose_b) {
        p.b_col = gemm->b_row;
        p.gemm.b_row = 1;
    }
    p.pack_b = transpose_b || (large && gemm->m >= PACK_ROWS) ||
               (bytes > HUGE_BYTES && gemm->m >= HUGE_ROWS);
    p.pack_a = p.pack_b && large && gemm->n >= PACK_A_COLUMNS;

    if (p.pack_b) {
        const size_t kc = fm_min(kernels->kc, gemm->k);
        const size_t panels = fm_min(PANELS, (gemm->n + kernels->nr - 1) / kernels->nr);
        const size_t rows = p.pack_a ? fm_round_up(fm_min(ROW_BLOCK, gemm->m), kernels->mr) : 0;
        p.panel_bytes = fm_round_up(panels * kernels->nr * kc * item, FM_ALIGNMENT);
        p.buffer_bytes = fm_round_up(p.panel_bytes + rows * kc * item, FM_ALIGNMENT);
        p.buffers = aligned_alloc(FM_ALIGNMENT, threads * p.buffer_bytes);
        if (!p.buffers) {
            return FM_ERROR_MEMORY;
        }
    }
    fm_in_parallel((int)threads, run_part, &p);
    free(p.buffers);
    return FM_OK;
}

/* Few columns leave most lanes of a vector idle. Where a' lies in rows, c' = b' a' is made instead,
 * and transposed. */
static fm_status narrow_product(const fm_kernels *kernels, const fm_gemm *g, int transpose_b)
{
    const size_t item = kernels->itemsize, m = g->n, n = g->m;
    void *c = malloc(m * n * item);
    if (!c) {
        return FM_ERROR_MEMORY;
    }
    const fm_gemm swapped = {.m = m,
                             .n = n,
                             .k = g->k,
                             .a = g->b,
                             .a_row = transpose_b ? g->b_row : 1,
                             .a_col = transpose_b ? 1 : g->b_row,
                             .b = g->a,
                             .b_row = g->a_col,
                             .c = c,
                             .c_row = (ptrdiff_t)n,
                             .mode = FM_GEMM_STORE};
    const fm_status status = fm_product(kernels, &swapped, 0);
    if (!status) {
        kernels->transpose(m, n, c, (ptrdiff_t)n, g->c, g->c_row);
    }
    free(c);
    return status;
}

fm_status fm_matmul(const fm_matrix *a, const fm_matrix *b, int transpose_a, int transpose_b,
                    const fm_matrix *out)
{
    const size_t m = transpose_a ? a->cols : a->rows, k = transpose_a ? a->rows : a->cols;
    const size_t n = transpose_b ? b->rows : b->cols;
    if (!fm_is_real(a->dtype) || b->dtype != a->dtype || out->dtype != a->dtype) {
        return FM_ERROR_DTYPE;
    }
    if ((transpose_b ? b->cols : b->rows) != k || out->rows != m || out->cols != n ||
        !fm_is_writable(out)) {
        return FM_ERROR_SHAPE;
    }
    const fm_gemm gemm = {.m = m,
                          .n = n,
                          .k = k,
                          .a = a->data,
                          .a_row = transpose_a ? 1 : a->stride,
                          .a_col = transpose_a ? a->stride : 1,
                          .b = b->data,
                          .b_row = b->stride,
                          .c = out->data,
                          .c_row = out->stride,
                          .mode = FM_GEMM_STORE};
    const fm_kernels *kernels = fm_kernels_for(a->dtype);
    const int swap = n * NARROW <= kernels->lanes && m >= MANY_ROWS && m * k <= SWAPPED_ELEMENTS;
    if (transpose_a && swap) {
        return narrow_product(kernels, &gemm, transpose_b);
    }
    return fm_product(kernels, &gemm, transpose_b);
}
