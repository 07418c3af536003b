/* Matrix product: splitting over threads, blocking, packing.
 *
 * Threads share out c's rows or columns, so no element is ever the sum of two threads' parts. Where
 * b is transposed or large, each thread copies kc x nr panels of it into its own buffer, so that
 * the kernel reads b contiguously and from the cache; the chain of an element then goes on from
 * one block of k to the next in c itself, and its bits are those of the unblocked product. */
#include <stdlib.h>
#include <string.h>

#include "ops.h"

/* Panels packed at a time: with kc they fill about a third of a 2 MB second-level cache. */
enum { PANELS = 16 };
/* Rows of a that meet a packed group before the next rows do, for a's block to stay cached. */
enum { ROW_BLOCK = 192 };
/* Bytes of b beyond which packing pays even without a transposition. */
enum { PACK_BYTES = 1 << 18 };

typedef struct {
    const fm_kernels *kernels;
    fm_gemm gemm;
    int transpose_b, pack;
    char *buffers; /* one of buffer_bytes for each thread */
    size_t buffer_bytes;
} product;

static void *b_at(const product *p, size_t depth, size_t column)
{
    const ptrdiff_t offset = p->transpose_b ? (ptrdiff_t)column * p->gemm.b_row + (ptrdiff_t)depth
                                            : (ptrdiff_t)depth * p->gemm.b_row + (ptrdiff_t)column;
    return fm_at(p->gemm.b, offset, p->kernels->itemsize);
}

static void pack_panel(const product *p, size_t depth, size_t kc, size_t column, size_t width,
                       void *panel)
{
    const fm_kernels *kernels = p->kernels;
    const void *from = b_at(p, depth, column);
    const ptrdiff_t nr = (ptrdiff_t)kernels->nr;
    if (p->transpose_b) {
        kernels->transpose(width, kc, from, p->gemm.b_row, panel, nr);
        return;
    }
    for (size_t i = 0; i < kc; i++) {
        memcpy(fm_at(panel, (ptrdiff_t)i * nr, kernels->itemsize),
               fm_at(from, (ptrdiff_t)i * p->gemm.b_row, kernels->itemsize),
               width * kernels->itemsize);
    }
}

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
    g.b = b_at(p, d, j);
    g.c = fm_at(g.c, (ptrdiff_t)i * g.c_row + (ptrdiff_t)j, itemsize);
    g.mode = d ? FM_GEMM_CONTINUE : g.mode;
    g.bias = last && g.bias ? fm_at(g.bias, (ptrdiff_t)j, itemsize) : NULL;
    g.relu = last && g.relu;
    return g;
}

static void packed_part(const product *p, fm_range rows, fm_range columns, void *buffer)
{
    const fm_kernels *kernels = p->kernels;
    const size_t nr = kernels->nr, k = p->gemm.k;
    const size_t panel_size = kernels->kc * nr;

    for (size_t j0 = columns.begin; j0 < columns.end; j0 += PANELS * nr) {
        const size_t j1 = fm_min(j0 + PANELS * nr, columns.end);
        for (size_t d = 0; d < k; d += kernels->kc) {
            const size_t kc = fm_min(kernels->kc, k - d);
            for (size_t j = j0, q = 0; j < j1; j += nr, q++) {
                pack_panel(p, d, kc, j, fm_min(nr, j1 - j),
                           fm_at(buffer, (ptrdiff_t)(q * panel_size), kernels->itemsize));
            }
            for (size_t i = rows.begin; i < rows.end; i += ROW_BLOCK) {
                const size_t m = fm_min(ROW_BLOCK, rows.end - i);
                for (size_t j = j0, q = 0; j < j1; j += nr, q++) {
                    fm_gemm g = block(p, i, m, j, fm_min(nr, j1 - j), d, kc);
                    g.b = fm_at(buffer, (ptrdiff_t)(q * panel_size), kernels->itemsize);
                    g.b_row = (ptrdiff_t)nr;
                    kernels->gemm(&g);
                }
            }
        }
    }
}

static void run_part(void *context, size_t part, size_t parts)
{
    const product *p = context;
    const size_t m = p->gemm.m, n = p->gemm.n;
    fm_range rows = {0, m}, columns = {0, n};
    if (n > m) {
        columns = fm_share(n, p->kernels->nr, part, parts);
    } else {
        rows = fm_share(m, p->kernels->mr, part, parts);
    }
    if (rows.begin == rows.end || columns.begin == columns.end) {
        return;
    }
    if (p->pack) {
        packed_part(p, rows, columns, p->buffers + part * p->buffer_bytes);
    } else {
        const fm_gemm g = block(p, rows.begin, rows.end - rows.begin, columns.begin,
                                columns.end - columns.begin, 0, p->gemm.k);
        p->kernels->gemm(&g);
    }
}

fm_status fm_product(const fm_kernels *kernels, const fm_gemm *gemm, int transpose_b)
{
    product p = {.kernels = kernels, .gemm = *gemm, .transpose_b = transpose_b};
    const double operations = 2.0 * (double)gemm->m * (double)gemm->n * (double)gemm->k;
    const size_t threads = (size_t)fm_threads_for(kernels->lanes, operations);
    const size_t item = kernels->itemsize;
    const int large = (double)gemm->n * (double)gemm->k * (double)item > PACK_BYTES;
    p.pack = transpose_b || (large && gemm->m > 2 * kernels->mr);

    if (p.pack) {
        const size_t panels = fm_min(PANELS, (gemm->n + kernels->nr - 1) / kernels->nr);
        p.buffer_bytes = fm_round_up(panels * kernels->nr * kernels->kc * item, 64);
        p.buffers = aligned_alloc(64, threads * p.buffer_bytes);
        if (!p.buffers) {
            return FM_ERROR_MEMORY;
        }
    }
    fm_in_parallel((int)threads, run_part, &p);
    free(p.buffers);
    return FM_OK;
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
    return fm_product(fm_kernels_for(a->dtype), &gemm, transpose_b);
}
