/* Transposition, by blocks that are transposed within the 128-bit lanes of vectors, and packing. */
#include <string.h>

#include "real.h"

/* Elements of a lane. */
enum { SIDE = 16 / sizeof(real) };

typedef real quad __attribute__((vector_size(16)));

ALWAYS_INLINE quad load(const real *p)
{
    quad v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* From vectors a and b, one beside the other within every lane: elements 0 to SIDE - 1 of a lane
 * are a's, those after it b's. */
#if FM_REAL_BITS == 32
#define LANE(lanes, lane, i) ((i) % 4 + 4 * (lane) + ((i) / 4) * 4 * (lanes))
#define IN_LANE(lanes, lane, i, j, k, l)                                                           \
    LANE(lanes, lane, i), LANE(lanes, lane, j), LANE(lanes, lane, k), LANE(lanes, lane, l)
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#define FIRST 0, 1, 4, 5
#define SECOND 2, 3, 6, 7
#else
#define LANE(lanes, lane, i) ((i) % 2 + 2 * (lane) + ((i) / 2) * 2 * (lanes))
#define IN_LANE(lanes, lane, i, j) LANE(lanes, lane, i), LANE(lanes, lane, j)
#define LOW 0, 2
#define HIGH 1, 3
#endif
#define SELECT(lanes, lane, ...) IN_LANE(lanes, lane, __VA_ARGS__)
#define SHUFFLE_1(a, b, which) __builtin_shufflevector(a, b, SELECT(1, 0, which))
#define SHUFFLE_2(a, b, which)                                                                     \
    __builtin_shufflevector(a, b, SELECT(2, 0, which), SELECT(2, 1, which))
#define SHUFFLE_4(a, b, which)                                                                     \
    __builtin_shufflevector(a, b, SELECT(4, 0, which), SELECT(4, 1, which), SELECT(4, 2, which),   \
                            SELECT(4, 3, which))

/* Rows `next` apart, each in a lane of its own. */
#if FM_REAL_BITS == 32
#define JOIN_2(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7)
#define JOIN_4(a, b)                                                                               \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#else
#define JOIN_2(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3)
#define JOIN_4(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7)
#endif
#define STACK_1(from, next) load(from)
#define STACK_2(from, next) JOIN_2(load(from), load((from) + (next)))
#define STACK_4(from, next) JOIN_4(STACK_2(from, next), STACK_2((from) + 2 * (next), next))

#define PUT(to, v)                                                                                 \
    do {                                                                                           \
        const __typeof__(v) value = v;                                                             \
        memcpy(to, &value, sizeof value);                                                          \
    } while (0)

/* Rows [0, SIDE * lanes) of `from` become as many columns of `to`; cols is a multiple of SIDE. */
#if FM_REAL_BITS == 32
#define BAND(lanes)                                                                                \
    static void band_##lanes(size_t cols, const real *from, ptrdiff_t row, real *to,               \
                             ptrdiff_t to_row)                                                     \
    {                                                                                              \
        typedef real column __attribute__((vector_size(16 * lanes)));                              \
        for (size_t j = 0; j < cols; j += 4, from += 4, to += 4 * to_row) {                        \
            const column a = STACK_##lanes(from, 4 * row);                                         \
            const column b = STACK_##lanes(from + row, 4 * row);                                   \
            const column c = STACK_##lanes(from + 2 * row, 4 * row);                               \
            const column d = STACK_##lanes(from + 3 * row, 4 * row);                               \
            const column ab_low = SHUFFLE_##lanes(a, b, LOW);                                      \
            const column ab_high = SHUFFLE_##lanes(a, b, HIGH);                                    \
            const column cd_low = SHUFFLE_##lanes(c, d, LOW);                                      \
            const column cd_high = SHUFFLE_##lanes(c, d, HIGH);                                    \
            PUT(to, SHUFFLE_##lanes(ab_low, cd_low, FIRST));                                       \
            PUT(to + to_row, SHUFFLE_##lanes(ab_low, cd_low, SECOND));                             \
            PUT(to + 2 * to_row, SHUFFLE_##lanes(ab_high, cd_high, FIRST));                        \
            PUT(to + 3 * to_row, SHUFFLE_##lanes(ab_high, cd_high, SECOND));                       \
        }                                                                                          \
    }
#else
#define BAND(lanes)                                                                                \
    static void band_##lanes(size_t cols, const real *from, ptrdiff_t row, real *to,               \
                             ptrdiff_t to_row)                                                     \
    {                                                                                              \
        typedef real column __attribute__((vector_size(16 * lanes)));                              \
        for (size_t j = 0; j < cols; j += 2, from += 2, to += 2 * to_row) {                        \
            const column a = STACK_##lanes(from, 2 * row);                                         \
            const column b = STACK_##lanes(from + row, 2 * row);                                   \
            PUT(to, SHUFFLE_##lanes(a, b, LOW));                                                   \
            PUT(to + to_row, SHUFFLE_##lanes(a, b, HIGH));                                         \
        }                                                                                          \
    }
#endif

BAND(1)
#if FM_SIMD >= 256
BAND(2)
#endif
#if FM_SIMD >= 512
BAND(4)
#endif

static void edge(size_t rows, size_t cols, const real *from, ptrdiff_t from_row, real *to,
                 ptrdiff_t to_row)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            to[(ptrdiff_t)j * to_row + (ptrdiff_t)i] = from[(ptrdiff_t)i * from_row + (ptrdiff_t)j];
        }
    }
}

static void transpose(size_t rows, size_t cols, const void *src, ptrdiff_t src_row, void *dst,
                      ptrdiff_t dst_row)
{
    const size_t whole = cols / SIDE * SIDE;
    const real *from = src;
    real *to = dst;
    size_t i = 0;
#if FM_SIMD >= 512
    for (; i + 4 * SIDE <= rows; i += 4 * SIDE) {
        band_4(whole, from + (ptrdiff_t)i * src_row, src_row, to + i, dst_row);
    }
#endif
#if FM_SIMD >= 256
    for (; i + 2 * SIDE <= rows; i += 2 * SIDE) {
        band_2(whole, from + (ptrdiff_t)i * src_row, src_row, to + i, dst_row);
    }
#endif
    for (; i + SIDE <= rows; i += SIDE) {
        band_1(whole, from + (ptrdiff_t)i * src_row, src_row, to + i, dst_row);
    }
    edge(i, cols - whole, from + whole, src_row, to + (ptrdiff_t)whole * dst_row, dst_row);
    edge(rows - i, cols, from + (ptrdiff_t)i * src_row, src_row, to + i, dst_row);
}

/* A strip of contiguous elements: `strip` of them for every depth, but `width` that exist. */
static void copy_strip(size_t strip, size_t width, size_t depth, const real *from, ptrdiff_t down,
                       real *to)
{
    for (size_t p = 0; p < depth; p++) {
        size_t i = 0;
        for (; i + SIDE <= width; i += SIDE) {
            PUT(to + i, load(from + i));
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
