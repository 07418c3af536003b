/* Products whose left factor is mostly zeros: a chain of fused multiply-adds that leaves out the
 * terms which are zero has the same value as one that adds them.
 *
 * Forward, a row of x becomes the list of its non-zeros, and each adds one row of w. The gradient
 * x' dy walks down samples, and a tile of GROUP features needs only the samples in which one of
 * the features is not zero: neighboring features (pixels of a stroke, columns of a one-hot code)
 * tend to be zero together. */
#include <string.h>

#include "tile.h"

enum { GROUP = FM_MARK_GROUP };

/* Vectors of a gradient's tile: GROUP * NV accumulators, in 32 registers or in 16. */
#if FM_SIMD == 512 || FM_SIMD == 128
#define NV 4
#else
#define NV 2
#endif

/* Two rows share a list of the columns where one of them is not zero, so that a row of w is loaded
 * once for both: with images, that spares a quarter of the loads, and they are what limits. */
#if FM_SIMD == 512 && FM_REAL_BITS == 32
static size_t compress(size_t n, const void *row0, const void *row1, uint32_t *index, void *value0,
                       void *value1)
{
    const real *x = row0, *y = row1;
    real *to_x = value0, *to_y = value1;
    size_t count = 0;
    __m512i position = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (size_t i = 0; i < n; i += LANES) {
        const vec_mask mask = vec_first(n - i < LANES ? n - i : LANES);
        const vec v = vec_load_first(x + i, mask, vec_set1(0));
        const vec w = vec_load_first(y + i, mask, vec_set1(0));
        const __mmask16 set = (__mmask16)(vec_not_zero(v) | vec_not_zero(w));
        _mm512_storeu_si512(index + count, _mm512_maskz_compress_epi32(set, position));
        vec_store(to_x + count, _mm512_maskz_compress_ps(set, v));
        vec_store(to_y + count, _mm512_maskz_compress_ps(set, w));
        count += (size_t)__builtin_popcount(set);
        position = _mm512_add_epi32(position, _mm512_set1_epi32(LANES));
    }
    return count;
}
#else
static size_t compress(size_t n, const void *row0, const void *row1, uint32_t *index, void *value0,
                       void *value1)
{
    const real *x = row0, *y = row1;
    real *to_x = value0, *to_y = value1;
    size_t count = 0, i = 0;
    for (; i + LANES <= n; i += LANES) {
        unsigned set = vec_not_zero(vec_load(x + i)) | vec_not_zero(vec_load(y + i));
        for (; set; set &= set - 1) {
            const size_t at = i + (size_t)__builtin_ctz(set);
            index[count] = (uint32_t)at;
            to_x[count] = x[at];
            to_y[count++] = y[at];
        }
    }
    for (; i < n; i++) {
        index[count] = (uint32_t)i;
        to_x[count] = x[i];
        to_y[count] = y[i];
        count += (x[i] != 0) | (y[i] != 0);
    }
    return count;
}
#endif

/* What bytes stand for, once the table is filled. */
static real byte_values[256];

/* The columns where one of `count` rows is not zero, a constant at each call. */
#if FM_SIMD == 512
static size_t list_bytes(size_t n, const void *const *rows, const int count, uint32_t *list)
{
    enum { BYTES = 64, PART = 16 };
    size_t listed = 0;
    __m512i position = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (size_t i = 0; i < n; i += BYTES) {
        const __mmask64 mask = n - i < BYTES ? ((__mmask64)1 << (n - i)) - 1 : ~(__mmask64)0;
        __m512i any = _mm512_setzero_si512();
        UNROLL
        for (int r = 0; r < count; r++) {
            const char *row = rows[r];
            any = _mm512_or_si512(any, _mm512_maskz_loadu_epi8(mask, row + i));
        }
        __mmask64 set = _mm512_test_epi8_mask(any, any);
        UNROLL
        for (int part = 0; part < BYTES / PART; part++, set >>= PART) {
            const __mmask16 some = (__mmask16)set;
            _mm512_storeu_si512(list + listed, _mm512_maskz_compress_epi32(some, position));
            listed += (size_t)__builtin_popcount(some);
            position = _mm512_add_epi32(position, _mm512_set1_epi32(PART));
        }
    }
    return listed;
}
#else
static size_t list_bytes(size_t n, const void *const *rows, const int count, uint32_t *list)
{
    enum { BYTES = 8 };
    size_t listed = 0;
    for (size_t i = 0; i < n; i += BYTES) {
        const size_t width = n - i < BYTES ? n - i : BYTES;
        uint64_t any = 0;
        uint8_t set[BYTES];
        for (int r = 0; r < count; r++) {
            uint64_t some = 0;
            memcpy(&some, (const uint8_t *)rows[r] + i, width);
            any |= some;
        }
        if (!any) {
            continue;
        }
        memcpy(set, &any, BYTES);
        for (size_t j = 0; j < width; j++) {
            list[listed] = (uint32_t)(i + j);
            listed += set[j] != 0;
        }
    }
    return listed;
}
#endif

static size_t compress_bytes(size_t n, const void *row0, const void *row1, uint32_t *index,
                             void *value0, void *value1)
{
    const void *rows[] = {row0, row1};
    const uint8_t *x = row0, *y = row1;
    real *to_x = value0, *to_y = value1;
    const size_t count = list_bytes(n, rows, 2, index);
    for (size_t p = 0; p < count; p++) {
        to_x[p] = byte_values[x[index[p]]];
        to_y[p] = byte_values[y[index[p]]];
    }
    return count;
}

/* Of the chains over the non-zeros of a row, a strip of nv vectors or, if `partial`, one vector of
 * which `columns` lanes count. */
ALWAYS_INLINE void chains(const fm_sparse_row *x, const real *b, ptrdiff_t b_row, vec sum[8],
                          const int nv, const int partial, vec_mask mask)
{
    const vec zero = vec_set1(0);
    const real *value = x->value;
    UNROLL
    for (int j = 0; j < nv; j++) {
        sum[j] = zero;
    }
    for (size_t p = 0; p < x->count; p++) {
        const real *row = b + (ptrdiff_t)x->index[p] * b_row;
        const vec v = vec_set1(value[p]);
        UNROLL
        for (int j = 0; j < nv; j++) {
            const vec w = partial ? vec_load_first(row, mask, zero) : vec_load(row + j * LANES);
            sum[j] = vec_fma(v, w, sum[j]);
        }
    }
}

ALWAYS_INLINE vec finish(vec sum, const real *bias, int relu)
{
    if (bias) {
        sum = sum + vec_load(bias);
    }
    return relu ? vec_max(vec_set1(0), sum) : sum;
}

static const real *bias_at(const real *bias, size_t column) { return bias ? bias + column : NULL; }

/* One vector-wide strip of a row of c. */
ALWAYS_INLINE void strip(const fm_sparse_row *x, const real *b, ptrdiff_t b_row, const real *bias,
                         int relu, real *c, const int nv)
{
    vec sum[8];
    chains(x, b, b_row, sum, nv, 0, vec_first(0));
    UNROLL
    for (int j = 0; j < nv; j++) {
        vec_store(c + j * LANES, finish(sum[j], bias_at(bias, (size_t)j * LANES), relu));
    }
}

/* The last columns of a row of c, fewer than a vector holds. */
static void strip_end(const fm_sparse_row *x, const real *b, ptrdiff_t b_row, const real *bias,
                      int relu, real *c, size_t columns)
{
    vec sum[8];
    const vec zero = vec_set1(0);
    const vec_mask mask = vec_first(columns);
    chains(x, b, b_row, sum, 1, 1, mask);
    if (bias) {
        sum[0] = sum[0] + vec_load_first(bias, mask, zero);
    }
    vec_store_first(c, relu ? vec_max(zero, sum[0]) : sum[0], mask);
}

/* A strip of what sparse_sum makes. */
ALWAYS_INLINE void sum_strip(const fm_sparse_row *x, const real *b, ptrdiff_t b_row,
                             fm_gemm_mode mode, real alpha, real *c, const int nv)
{
    vec sum[8];
    chains(x, b, b_row, sum, nv, 0, vec_first(0));
    UNROLL
    for (int j = 0; j < nv; j++) {
        const vec old = vec_load(c + j * LANES);
        vec_store(c + j * LANES,
                  mode == FM_GEMM_ADD_SCALED ? vec_fma(vec_set1(alpha), sum[j], old) : sum[j]);
    }
}

static void sum_end(const fm_sparse_row *x, const real *b, ptrdiff_t b_row, fm_gemm_mode mode,
                    real alpha, real *c, size_t columns)
{
    vec sum[8];
    const vec_mask mask = vec_first(columns);
    chains(x, b, b_row, sum, 1, 1, mask);
    const vec old = vec_load_first(c, mask, vec_set1(0));
    vec_store_first(c, mode == FM_GEMM_ADD_SCALED ? vec_fma(vec_set1(alpha), sum[0], old) : sum[0],
                    mask);
}

static void sparse_sum(size_t n, const fm_sparse_row *x, const void *b, ptrdiff_t b_row,
                       fm_gemm_mode mode, double alpha, void *c)
{
    const real *from = b, scale = (real)alpha;
    real *to = c;
    size_t j = 0;
    for (; n - j >= 8 * LANES; j += 8 * LANES) {
        sum_strip(x, from + j, b_row, mode, scale, to + j, 8);
    }
    for (; n - j >= 2 * LANES; j += 2 * LANES) {
        sum_strip(x, from + j, b_row, mode, scale, to + j, 2);
    }
    for (; n - j >= LANES; j += LANES) {
        sum_strip(x, from + j, b_row, mode, scale, to + j, 1);
    }
    if (n - j) {
        sum_end(x, from + j, b_row, mode, scale, to + j, n - j);
    }
}

/* Two rows side by side, for strips too narrow to hide the latency of one row's chains. */
ALWAYS_INLINE void strip_pair(const fm_sparse_row *x, const real *b, ptrdiff_t b_row,
                              const real *bias, int relu, real *c, ptrdiff_t c_row, const int nv)
{
    vec sum[2][4];
    UNROLL
    for (int j = 0; j < nv; j++) {
        sum[0][j] = sum[1][j] = vec_set1(0);
    }
    const size_t both = x[0].count < x[1].count ? x[0].count : x[1].count;
    const real *value0 = x[0].value, *value1 = x[1].value;
    for (size_t p = 0; p < both; p++) {
        const real *row0 = b + (ptrdiff_t)x[0].index[p] * b_row;
        const real *row1 = b + (ptrdiff_t)x[1].index[p] * b_row;
        const vec v0 = vec_set1(value0[p]), v1 = vec_set1(value1[p]);
        UNROLL
        for (int j = 0; j < nv; j++) {
            sum[0][j] = vec_fma(v0, vec_load(row0 + j * LANES), sum[0][j]);
            sum[1][j] = vec_fma(v1, vec_load(row1 + j * LANES), sum[1][j]);
        }
    }
    UNROLL
    for (int i = 0; i < 2; i++) {
        const real *value = x[i].value;
        for (size_t p = both; p < x[i].count; p++) {
            const real *row = b + (ptrdiff_t)x[i].index[p] * b_row;
            const vec v = vec_set1(value[p]);
            UNROLL
            for (int j = 0; j < nv; j++) {
                sum[i][j] = vec_fma(v, vec_load(row + j * LANES), sum[i][j]);
            }
        }
        UNROLL
        for (int j = 0; j < nv; j++) {
            vec_store(c + i * c_row + j * LANES,
                      finish(sum[i][j], bias_at(bias, (size_t)j * LANES), relu));
        }
    }
}

/* Vectors of a strip of two rows that share a list: their sums, in 32 registers or in 16. */
#if FM_SIMD == 512 || FM_SIMD == 128
#define SHARED 8
#else
#define SHARED 4
#endif

ALWAYS_INLINE void shared_strip(const fm_sparse_row x[2], const real *b, ptrdiff_t b_row,
                                const real *bias, int relu, real *c, ptrdiff_t c_row, const int nv,
                                const int partial, size_t columns)
{
    const vec zero = vec_set1(0);
    const vec_mask mask = vec_first(partial ? columns : 0);
    const real *value0 = x[0].value, *value1 = x[1].value;
    vec sum[2][8];
    UNROLL
    for (int j = 0; j < nv; j++) {
        sum[0][j] = sum[1][j] = zero;
    }
    for (size_t p = 0; p < x[0].count; p++) {
        const real *row = b + (ptrdiff_t)x[0].index[p] * b_row;
        const vec v0 = vec_set1(value0[p]), v1 = vec_set1(value1[p]);
        UNROLL
        for (int j = 0; j < nv; j++) {
            const vec w = vec_keep(partial ? vec_load_first(row, mask, zero)
                                           : vec_load(row + j * LANES));
            sum[0][j] = vec_fma(v0, w, sum[0][j]);
            sum[1][j] = vec_fma(v1, w, sum[1][j]);
        }
    }
    UNROLL
    for (int i = 0; i < 2; i++) {
        real *to = c + i * c_row;
        if (partial) {
            vec y = sum[i][0] + (bias ? vec_load_first(bias, mask, zero) : zero);
            vec_store_first(to, relu ? vec_max(zero, y) : y, mask);
            continue;
        }
        UNROLL
        for (int j = 0; j < nv; j++) {
            vec_store(to + j * LANES, finish(sum[i][j], bias_at(bias, (size_t)j * LANES), relu));
        }
    }
}

static void sparse_pair(size_t n, const fm_sparse_row *x, const void *b, ptrdiff_t b_row,
                        const void *bias, int relu, void *c, ptrdiff_t c_row)
{
    const real *from = b;
    real *to = c;
    for (size_t j = 0; j < n;) {
        const size_t vectors = (n - j) / LANES;
        const real *const add = bias_at(bias, j);
        if (vectors >= SHARED) {
            shared_strip(x, from + j, b_row, add, relu, to + j, c_row, SHARED, 0, 0);
            j += SHARED * LANES;
        } else if (vectors >= 4) {
            shared_strip(x, from + j, b_row, add, relu, to + j, c_row, 4, 0, 0);
            j += 4 * LANES;
        } else if (vectors >= 2) {
            shared_strip(x, from + j, b_row, add, relu, to + j, c_row, 2, 0, 0);
            j += 2 * LANES;
        } else if (vectors) {
            shared_strip(x, from + j, b_row, add, relu, to + j, c_row, 1, 0, 0);
            j += LANES;
        } else {
            shared_strip(x, from + j, b_row, add, relu, to + j, c_row, 1, 1, n - j);
            j = n;
        }
    }
}

static void sparse_rows(size_t m, size_t n, const fm_sparse_row *x, const void *b, ptrdiff_t b_row,
                        const void *bias, int relu, void *c, ptrdiff_t c_row)
{
    const real *from = b, *offset = bias;
    real *to = c;
    for (size_t j = 0; j < n;) {
        const size_t vectors = (n - j) / LANES;
        const real *const add = bias_at(offset, j);
        if (!vectors) {
            for (size_t i = 0; i < m; i++) {
                strip_end(x + i, from + j, b_row, add, relu, to + (ptrdiff_t)i * c_row + j, n - j);
            }
            break;
        }
        if (vectors >= 8) {
            for (size_t i = 0; i < m; i++) {
                strip(x + i, from + j, b_row, add, relu, to + (ptrdiff_t)i * c_row + j, 8);
            }
            j += 8 * LANES;
            continue;
        }
        const int nv = vectors >= 4 ? 4 : vectors >= 2 ? 2 : 1;
        size_t i = 0;
        for (; i + 2 <= m; i += 2) {
            real *row = to + (ptrdiff_t)i * c_row + j;
            if (nv == 4) {
                strip_pair(x + i, from + j, b_row, add, relu, row, c_row, 4);
            } else if (nv == 2) {
                strip_pair(x + i, from + j, b_row, add, relu, row, c_row, 2);
            } else {
                strip_pair(x + i, from + j, b_row, add, relu, row, c_row, 1);
            }
        }
        if (i < m) {
            real *row = to + (ptrdiff_t)i * c_row + j;
            if (nv == 4) {
                strip(x + i, from + j, b_row, add, relu, row, 4);
            } else if (nv == 2) {
                strip(x + i, from + j, b_row, add, relu, row, 2);
            } else {
                strip(x + i, from + j, b_row, add, relu, row, 1);
            }
        }
        j += (size_t)nv * LANES;
    }
}

/* Set bit `sample` of each group's word where one of the group's features is not zero. */
static void mark(size_t n, const void *row, unsigned sample, uint32_t *marks)
{
    const real *x = row;
    size_t i = 0;
#if FM_SIMD == 512 && FM_REAL_BITS == 32
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        uint64_t set = 0;
        UNROLL
        for (size_t j = 0; j < 4; j++) {
            set |= (uint64_t)vec_not_zero(vec_load(x + i + j * LANES)) << (j * LANES);
        }
        set |= set >> 1;
        set |= set >> 2;
        const __mmask16 groups = (__mmask16)_pext_u64(set, 0x1111111111111111u);
        uint32_t *to = marks + i / GROUP;
        const __m512i old = _mm512_loadu_si512(to), bit = _mm512_set1_epi32((int)(1u << sample));
        _mm512_storeu_si512(to, _mm512_mask_or_epi32(old, groups, old, bit));
    }
#endif
    for (; i + GROUP <= n; i += GROUP) {
        const real *v = x + i;
        const int set = (v[0] != 0) | (v[1] != 0) | (v[2] != 0) | (v[3] != 0);
        marks[i / GROUP] |= (uint32_t)set << sample;
    }
    for (; i < n; i++) {
        marks[i / GROUP] |= (uint32_t)(x[i] != 0) << sample;
    }
}

static void mark_bytes(size_t n, const void *row, unsigned sample, uint32_t *marks)
{
    const uint8_t *x = row;
    for (size_t g = 0; g < n / GROUP; g++) {
        uint32_t four;
        memcpy(&four, x + GROUP * g, GROUP);
        marks[g] |= (uint32_t)(four != 0) << sample;
    }
    for (size_t i = n / GROUP * GROUP; i < n; i++) {
        marks[i / GROUP] |= (uint32_t)(x[i] != 0) << sample;
    }
}

#define LISTED_TILES(name, rows, listed)                                                           \
    static void name##_1(const tile_args *t) { tile(t, rows, 1, FULL_END, 0, listed); }            \
    static void name##_2(const tile_args *t) { tile(t, rows, 2, FULL_END, 0, listed); }            \
    static void name##_nv(const tile_args *t) { tile(t, rows, NV, FULL_END, 0, listed); }          \
    static void name(const tile_args *t, int nv)                                                   \
    {                                                                                              \
        nv == NV ? name##_nv(t) : nv == 2 ? name##_2(t) : name##_1(t);                             \
    }

LISTED_TILES(gradient_row, 1, LISTED_BY_DEPTH)

#if FM_SIMD == 512
/* With the half that may come last. */
#define HALVED_TILES(name, rows, listed)                                                           \
    LISTED_TILES(whole_##name, rows, listed)                                                       \
    static void name##_half(const tile_args *t) { tile(t, rows, 1, HALF_END, 0, listed); }         \
    static void name##_1_half(const tile_args *t) { tile(t, rows, 2, HALF_END, 0, listed); }       \
    static void name##_2_half(const tile_args *t) { tile(t, rows, 3, HALF_END, 0, listed); }       \
    static void name##_3_half(const tile_args *t) { tile(t, rows, 4, HALF_END, 0, listed); }       \
    static void name(const tile_args *t, int nv)                                                   \
    {                                                                                              \
        static void (*const with_half[])(const tile_args *) = {name##_half, name##_1_half,         \
                                                               name##_2_half, name##_3_half};      \
        t->half_end ? with_half[nv - 1](t) : whole_##name(t, nv);                                  \
    }

HALVED_TILES(gradient_tile, GROUP, LISTED_BY_DEPTH)
HALVED_TILES(forward_tile, GROUP, LISTED_BY_ROW)
#else
LISTED_TILES(gradient_tile, GROUP, LISTED_BY_DEPTH)
#endif

/* The vectors of the next tile, where so many columns are left. */
static int next_vectors(tile_args *t, size_t columns, int half_end)
{
    const size_t vectors = columns / LANES;
    t->half_end = FM_SIMD == 512 && half_end && vectors <= NV;
    return t->half_end ? (int)vectors : vectors >= NV ? NV : vectors >= 2 ? 2 : 1;
}

#if FM_SIMD == 512
/* The columns where one of GROUP rows is not zero. */
static size_t list_columns(size_t n, const void *const *x, uint32_t *list)
{
    size_t count = 0;
    __m512i position = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (size_t i = 0; i < n; i += LANES) {
        const vec_mask mask = vec_first(n - i < LANES ? n - i : LANES);
        unsigned set = 0;
        UNROLL
        for (int r = 0; r < GROUP; r++) {
            set |= vec_not_zero(vec_load_first((const real *)x[r] + i, mask, vec_set1(0)));
        }
        _mm512_storeu_si512(list + count, _mm512_maskz_compress_epi32((__mmask16)set, position));
        count += (size_t)__builtin_popcount(set);
        position = _mm512_add_epi32(position, _mm512_set1_epi32(LANES));
    }
    return count;
}

/* Four rows have half as many more columns in their list than two, and need a third fewer vectors
 * of b, which come from the second-level cache. That pays where a vector is a cache line. */
static void listed_gemm(const fm_gemm *g, uint32_t *list)
{
    const void *const *x = g->a_lines;
    tile_args t = {
        .k = g->a_bytes ? list_bytes(g->k, x, GROUP, list) : list_columns(g->k, x, list),
        .lines = x,
        .values = g->a_bytes ? byte_values : NULL,
        .b_row = g->b_row,
        .c_row = g->c_row,
        .mode = FM_GEMM_STORE,
        .relu = g->relu,
        .list = list,
    };
    for (size_t j = 0; j < g->n;) {
        const int nv = next_vectors(&t, g->n - j, g->half_end);
        t.b = (const real *)g->b + j;
        t.c = (real *)g->c + j;
        t.bias = bias_at(g->bias, j);
        forward_tile(&t, nv);
        j += (size_t)nv * LANES;
    }
}
#endif

static size_t list_samples(size_t words, const uint32_t *marks, size_t stride, uint32_t *list)
{
    size_t count = 0;
    for (size_t w = 0; w < words; w++) {
        uint32_t bits = marks[w * stride];
        if (!bits) {
            continue;
        }
#if FM_SIMD == 512
        __m512i sample = _mm512_add_epi32(
            _mm512_set1_epi32((int)(32 * w)),
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
        for (int half = 0; half < 2; half++, bits >>= 16) {
            const __mmask16 set = (__mmask16)bits;
            _mm512_storeu_si512(list + count, _mm512_maskz_compress_epi32(set, sample));
            count += (size_t)__builtin_popcount(set);
            sample = _mm512_add_epi32(sample, _mm512_set1_epi32(16));
        }
#else
        for (; bits; bits &= bits - 1) {
            list[count++] = (uint32_t)(32 * w) + (uint32_t)__builtin_ctz(bits);
        }
#endif
    }
    return count;
}

static void marked_gemm(const fm_gemm *g, const uint32_t *marks, size_t words, size_t stride,
                        uint32_t *list)
{
    tile_args t = {
        .lines = g->a_lines,
        .values = g->a_bytes ? byte_values : NULL,
        .b_row = g->b_row,
        .c_row = g->c_row,
        .mode = g->mode,
        .alpha = (real)g->alpha,
        .list = list,
    };
    t.c_ahead = asks_for_c(&t, g->m);
    for (size_t i = 0; i < g->m; i += GROUP) {
        t.k = list_samples(words, marks + i / GROUP, stride, list);
        if (!t.k && g->mode == FM_GEMM_ADD_SCALED) {
            continue;
        }
        const size_t rows = g->m - i < GROUP ? 1 : GROUP;
        const size_t end = g->m - i < GROUP ? g->m : i + GROUP;
        for (size_t r = i; r < end; r += rows) {
            t.first = g->a_first + r;
            for (size_t j = 0; j < g->n;) {
                const int nv = next_vectors(&t, g->n - j, g->half_end && rows == GROUP);
                t.b = (const real *)g->b + j;
                t.c = (real *)g->c + (ptrdiff_t)r * g->c_row + j;
                rows == GROUP ? gradient_tile(&t, nv) : gradient_row(&t, nv);
                j += (size_t)nv * LANES;
            }
        }
    }
}

void KERNEL(fill_sparse)(fm_kernels *table)
{
    uint8_t bytes[256];
    for (size_t i = 0; i < 256; i++) {
        bytes[i] = (uint8_t)i;
    }
    /* The table has it already, see runtime/isa.c. */
    table->convert[FM_UINT8](256, bytes, byte_values);
    table->compress[0] = compress;
    table->compress[1] = compress_bytes;
    table->sparse_rows = sparse_rows;
    table->sparse_pair = sparse_pair;
    table->sparse_sum = sparse_sum;
#if FM_SIMD == 512
    table->listed_gemm = listed_gemm;
#endif
    table->mark[0] = mark;
    table->mark[1] = mark_bytes;
    table->marked_gemm = marked_gemm;
}
