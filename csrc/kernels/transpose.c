/* Transposition, by square blocks that are transposed in 128-bit registers, and packing. */
#include <string.h>

#include "real.h"

typedef real quad __attribute__((vector_size(16)));

enum { SIDE = 16 / sizeof(real) };

ALWAYS_INLINE quad load(const real *p)
{
    quad v;
    memcpy(&v, p, sizeof v);
    return v;
}

ALWAYS_INLINE void store(real *p, quad v) { memcpy(p, &v, sizeof v); }

/* to (SIDE, SIDE) = from transposed */
ALWAYS_INLINE void block(const real *from, ptrdiff_t from_row, real *to, ptrdiff_t to_row)
{
    const quad a = load(from), b = load(from + from_row);
#if FM_REAL_BITS == 32
    const quad c = load(from + 2 * from_row), d = load(from + 3 * from_row);
    const quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const quad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const quad cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    store(to, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
    store(to + to_row, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
    store(to + 2 * to_row, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
    store(to + 3 * to_row, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
#else
    store(to, __builtin_shufflevector(a, b, 0, 2));
    store(to + to_row, __builtin_shufflevector(a, b, 1, 3));
#endif
}

/* The block that begins at row i and column j, which may reach past the edges. */
static void edge(size_t rows, size_t cols, const real *from, ptrdiff_t from_row, real *to,
                 ptrdiff_t to_row)
{
    for (size_t i = 0; i < rows && i < SIDE; i++) {
        for (size_t j = 0; j < cols && j < SIDE; j++) {
            to[(ptrdiff_t)j * to_row + (ptrdiff_t)i] = from[(ptrdiff_t)i * from_row + (ptrdiff_t)j];
        }
    }
}

static void tile(size_t rows, size_t cols, const real *src, ptrdiff_t src_row, real *dst,
                 ptrdiff_t dst_row)
{
    for (size_t j = 0; j < cols; j += SIDE) {
        for (size_t i = 0; i < rows; i += SIDE) {
            const real *from = src + (ptrdiff_t)i * src_row + (ptrdiff_t)j;
            real *to = dst + (ptrdiff_t)j * dst_row + (ptrdiff_t)i;
            if (rows - i >= SIDE && cols - j >= SIDE) {
                block(from, src_row, to, dst_row);
            } else {
                edge(rows - i, cols - j, from, src_row, to, dst_row);
            }
        }
    }
}

/* Rows that go together, so that their cache lines are still there for the next columns. */
enum { ROWS = 64 };

static void transpose(size_t rows, size_t cols, const void *src, ptrdiff_t src_row, void *dst,
                      ptrdiff_t dst_row)
{
    for (size_t i = 0; i < rows; i += ROWS) {
        tile(rows - i < ROWS ? rows - i : ROWS, cols, (const real *)src + (ptrdiff_t)i * src_row,
             src_row, (real *)dst + (ptrdiff_t)i, dst_row);
    }
}

/* A strip of contiguous elements: `strip` of them for every depth, but `width` that exist. */
static void copy_strip(size_t strip, size_t width, size_t depth, const real *from, ptrdiff_t down,
                       real *to)
{
    for (size_t p = 0; p < depth; p++) {
        size_t i = 0;
        for (; i + SIDE <= width; i += SIDE) {
            store(to + i, load(from + i));
        }
        for (; i < width; i++) {
            to[i] = from[i];
        }
        from += down;
        to += strip;
    }
}

static void pack(size_t strip, size_t count, size_t depth, const void *from, ptrdiff_t along,
                 ptrdiff_t down, void *to)
{
    for (size_t i = 0; i < count; i += strip) {
        const size_t width = count - i < strip ? count - i : strip;
        const real *source = (const real *)from + (ptrdiff_t)i * along;
        real *target = (real *)to + i * depth;
        if (along == 1) {
            copy_strip(strip, width, depth, source, down, target);
        } else {
            transpose(width, depth, source, along, target, (ptrdiff_t)strip);
        }
    }
}

void KERNEL(fill_transpose)(fm_kernels *table)
{
    table->transpose = transpose;
    table->pack = pack;
}
