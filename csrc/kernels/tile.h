/* A tile of a product, held in registers while it walks down k: per step it loads nv vectors of a
 * row of b and broadcasts one element of a per row. */
#ifndef FM_TILE_H
#define FM_TILE_H

#include "simd.h"

typedef struct {
    size_t k;
    const real *a;
    ptrdiff_t a_row, a_col;
    const real *b;
    ptrdiff_t b_row;
    real *c;
    ptrdiff_t c_row;
    const real *bias; /* NULL for none */
    fm_gemm_mode mode;
    real alpha;
    int relu, half_end;   /* see fm_gemm */
    const uint32_t *list; /* in listed tiles: the k depths to visit, ascending */
    /* Unless NULL, in place of a: where its rows begin, or where its columns do, the depths; the
     * elements of each from `first` on. */
    const void *const *lines;
    size_t first;
    /* In listed tiles, unless NULL: lines are of bytes, each of which stands for one of these. */
    const real *values;
    int b_ahead, c_ahead; /* whether to ask for rows of b, and for c, before they are needed */
} tile_args;

typedef enum { WHOLE, LISTED_BY_ROW, LISTED_BY_DEPTH } tile_list;

/* Where multiply finds a. */
typedef enum {
    STRIDED,
    LINES_OF_ROWS,
    LINES_OF_DEPTHS,
    BYTES_OF_ROWS,
    BYTES_OF_DEPTHS
} tile_source;

/* Of the last vector all lanes count, or the first `columns`, or the first half, the others of b's
 * being zeros. */
typedef enum { FULL_END, PARTIAL_END, HALF_END } tile_end;

/* Rows of b that are asked for ahead: at 12 cycles a row, about what the way to the last cache
 * takes. The hardware does not foresee rows that lie far apart. Which rows a list names next is not
 * looked up: most would be asked for in vain, or lie in the first-level cache. */
enum { PREFETCH = 24 };

/* What takes more bytes than this comes from beyond the second-level cache, for which a core waits
 * longer than it can fill with other work. To ask for what is nearer costs more than it spares. */
enum { NEAR_BYTES = 512 * 1024 };

ALWAYS_INLINE int asks_for_b(const tile_args *t)
{
    return t->k * (size_t)t->b_row * sizeof(real) > NEAR_BYTES;
}

/* Whether tiles that add to c ask for it, in a product of so many rows. */
ALWAYS_INLINE int asks_for_c(const tile_args *t, size_t m)
{
    return t->mode != FM_GEMM_STORE && m * (size_t)t->c_row * sizeof(real) > NEAR_BYTES;
}

/* Whether vector j of nv is the partial one. */
#define ENDS(j) (end == PARTIAL_END && (j) == nv - 1)

/* Add the products of all depths, or of the listed ones, to the sums of a tile. */
ALWAYS_INLINE void multiply(const tile_args *t, vec sum[8][8], const int rows, const int nv,
                            const tile_end end, size_t columns, const int listed,
                            const tile_source source, const int asks, ptrdiff_t a_row,
                            ptrdiff_t a_col, ptrdiff_t b_row)
{
    const vec zero = vec_set1(0);
    const vec_mask mask = vec_first(end == PARTIAL_END ? columns : 0);
    const int whole = end == HALF_END ? nv - 1 : nv;
    const real *a = t->a, *b = t->b;
    const real *line[8];
    const uint8_t *bytes[8];
    vec_half half[8];
    UNROLL
    for (int i = 0; i < rows && source == LINES_OF_ROWS; i++) {
        line[i] = (const real *)t->lines[i] + t->first;
    }
    UNROLL
    for (int i = 0; i < rows && source == BYTES_OF_ROWS; i++) {
        bytes[i] = (const uint8_t *)t->lines[i] + t->first;
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        half[i] = vec_half_of(sum[i][nv - 1]);
    }
    /* What the loop itself costs competes with the multiplications for ports. */
#pragma GCC unroll 4
    for (size_t p = 0; p < t->k; p++) {
        vec row[8];
        const size_t depth = listed ? t->list[p] : p;
        if (listed) {
            b = t->b + (ptrdiff_t)depth * b_row;
        }
        if (source == LINES_OF_DEPTHS) {
            a = (const real *)t->lines[depth] + t->first;
        }
        if (source == BYTES_OF_DEPTHS) {
            bytes[0] = (const uint8_t *)t->lines[depth] + t->first;
        }
        UNROLL
        for (int j = 0; j < nv; j++) {
            const real *from = b + j * LANES;
            if (asks) {
                __builtin_prefetch(from + PREFETCH * b_row);
            }
            if (j < whole) {
                row[j] = ENDS(j) ? vec_load_first(from, mask, zero) : vec_load(from);
            }
        }
        const vec_half row_end = end == HALF_END ? vec_half_load(b + whole * LANES) : half[0];
        UNROLL
        for (int i = 0; i < rows; i++) {
            const vec x = vec_set1(source == LINES_OF_ROWS     ? line[i][depth]
                                   : source == BYTES_OF_ROWS   ? t->values[bytes[i][depth]]
                                   : source == BYTES_OF_DEPTHS ? t->values[bytes[0][i]]
                                                               : a[i * a_row]);
            UNROLL
            for (int j = 0; j < whole; j++) {
                sum[i][j] = vec_fma(x, row[j], sum[i][j]);
            }
            if (end == HALF_END) {
                half[i] = vec_half_fma(vec_half_of(x), row_end, half[i]);
            }
        }
        if (!listed) {
            b += b_row;
        }
        if (source == STRIDED) {
            a += a_col;
        }
    }
    UNROLL
    for (int i = 0; i < rows && end == HALF_END; i++) {
        sum[i][nv - 1] = vec_of_half(half[i]);
    }
}

/* One tile of `rows` x `nv` vectors, the last as `end` says; unless WHOLE, only the listed depths
 * are visited. All but t and columns are constants at each call, so the accumulators live in
 * registers. */
ALWAYS_INLINE void tile(const tile_args *t, const int rows, const int nv, const tile_end end,
                        size_t columns, const tile_list listed)
{
    vec sum[8][8];
    const vec zero = vec_set1(0);
    const vec_mask mask = vec_first(end == PARTIAL_END ? columns : 0);

    if (t->mode == FM_GEMM_CONTINUE) {
        UNROLL
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int j = 0; j < nv; j++) {
                const real *c = t->c + i * t->c_row + j * LANES;
                sum[i][j] = ENDS(j) ? vec_load_first(c, mask, zero) : vec_load(c);
            }
        }
    } else {
        UNROLL
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int j = 0; j < nv; j++) {
                sum[i][j] = zero;
            }
        }
    }

    /* c is wanted at the end, or, where a chain goes on, at the beginning of the next tile. */
    if (t->c_ahead) {
        const int ahead = t->mode == FM_GEMM_CONTINUE ? nv * LANES : 0;
        UNROLL
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int j = 0; j < nv; j++) {
                __builtin_prefetch(t->c + i * t->c_row + ahead + j * LANES, 1);
            }
        }
    }

    /* Strides that the compiler knows spare it the address arithmetic, which competes with the
     * multiplications for ports. */
    if (listed && t->values) {
        multiply(t, sum, rows, nv, end, columns, 1,
                 listed == LISTED_BY_ROW ? BYTES_OF_ROWS : BYTES_OF_DEPTHS, 0, 1, 0, t->b_row);
    } else if (listed) {
        multiply(t, sum, rows, nv, end, columns, 1,
                 listed == LISTED_BY_ROW ? LINES_OF_ROWS : LINES_OF_DEPTHS, 0, 1, 0, t->b_row);
    } else if (t->a_row == 1 && t->lines) {
        multiply(t, sum, rows, nv, end, columns, 0, LINES_OF_DEPTHS, 0, 1, 0, t->b_row);
    } else if (t->a_row == 1) {
        multiply(t, sum, rows, nv, end, columns, 0, STRIDED, 0, 1, t->a_col, t->b_row);
    } else if (t->lines && t->b_ahead) {
        multiply(t, sum, rows, nv, end, columns, 0, LINES_OF_ROWS, 1, 1, 0, t->b_row);
    } else if (t->lines) {
        multiply(t, sum, rows, nv, end, columns, 0, LINES_OF_ROWS, 0, 1, 0, t->b_row);
    } else if (t->b_ahead) {
        multiply(t, sum, rows, nv, end, columns, 0, STRIDED, 1, t->a_row, 1, t->b_row);
    } else {
        multiply(t, sum, rows, nv, end, columns, 0, STRIDED, 0, t->a_row, 1, t->b_row);
    }

    real *const c = t->c;
    const ptrdiff_t c_row = t->c_row;
    if (t->mode == FM_GEMM_ADD_SCALED) {
        const vec alpha = vec_set1(t->alpha);
        UNROLL
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int j = 0; j < nv; j++) {
                real *to = c + i * c_row + j * LANES;
                if (ENDS(j)) {
                    const vec old = vec_load_first(to, mask, zero);
                    vec_store_first(to, vec_fma(alpha, sum[i][j], old), mask);
                } else {
                    vec_store(to, vec_fma(alpha, sum[i][j], vec_load(to)));
                }
            }
        }
        return;
    }
    if (t->bias) {
        UNROLL
        for (int j = 0; j < nv; j++) {
            const real *from = t->bias + j * LANES;
            const vec bias = ENDS(j) ? vec_load_first(from, mask, zero) : vec_load(from);
            UNROLL
            for (int i = 0; i < rows; i++) {
                sum[i][j] = sum[i][j] + bias;
            }
        }
    }
    if (t->relu) {
        UNROLL
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int j = 0; j < nv; j++) {
                sum[i][j] = vec_max(zero, sum[i][j]);
            }
        }
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int j = 0; j < nv; j++) {
            real *to = c + i * c_row + j * LANES;
            if (ENDS(j)) {
                vec_store_first(to, sum[i][j], mask);
            } else {
                vec_store(to, sum[i][j]);
            }
        }
    }
}

#undef ENDS

#endif
