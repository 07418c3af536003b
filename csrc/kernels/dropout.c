/* What dropout multiplies units by, from a counter-based stream of random numbers: Philox 4x32 with
 * 7 rounds (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3",
 * where that many pass all tests of BigCrush).
 *
 * A block of the stream is eight draws of 16 bits. Of a group of 128 units, unit u has draw
 * u / 16 of block u % 16, so that blocks side by side hold draws of units side by side. */
#include "simd.h"

enum { BLOCKS = 16, WORDS = 4, GROUP = 2 * WORDS * BLOCKS };

/* Words of 32 bits in lanes of 64, whose upper halves do not count. */
#if FM_SIMD == 512
enum { WIDE = 64 };
#elif FM_SIMD == 256
enum { WIDE = 32 };
#else
enum { WIDE = 16 };
#endif
typedef uint64_t wide __attribute__((vector_size(WIDE)));
enum { WIDE_LANES = WIDE / sizeof(uint64_t) };

/* The products of the lower halves. */
ALWAYS_INLINE wide multiply(wide a, wide b)
{
#if FM_SIMD == 512
    return (wide)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif FM_SIMD == 256
    return (wide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif FM_SIMD == 128
    return (wide)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#elif defined(__SSE2__)
    return (wide)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & UINT32_MAX) * (b & UINT32_MAX);
#endif
}

ALWAYS_INLINE wide wide_set1(uint32_t x) { return (wide){0} + x; }

/* The words of the stream's blocks `block` of a sample. */
ALWAYS_INLINE void philox(const fm_dropout *d, uint64_t sample, wide block, wide word[WORDS])
{
    const wide multiplier0 = wide_set1(0xD2511F53u), multiplier1 = wide_set1(0xCD9E8D57u);
    word[0] = block;
    word[1] = wide_set1(d->layer ^ ((uint32_t)(sample >> 32) << 16));
    word[2] = wide_set1((uint32_t)sample);
    word[3] = wide_set1(d->epoch);
#pragma GCC unroll 7
    for (int i = 0; i < FM_DROPOUT_ROUNDS; i++) {
        const wide product0 = multiply(multiplier0, word[0]);
        const wide product1 = multiply(multiplier1, word[2]);
        word[0] = (product1 >> 32) ^ word[1] ^ d->keys[i][0];
        word[1] = product1;
        word[2] = (product0 >> 32) ^ word[3] ^ d->keys[i][1];
        word[3] = product0;
    }
}

#if FM_REAL_BITS == 32
typedef uint32_t words __attribute__((vector_size(WIDE)));
#else
typedef wide words;
#endif

/* The words of LANES blocks from `first` on, which in lanes of 64 bits are even and odd ones. */
ALWAYS_INLINE void philox_lanes(const fm_dropout *d, uint64_t sample, uint32_t first,
                                words word[WORDS])
{
    enum { APART = 64 / FM_REAL_BITS };
    wide block, part[APART][WORDS];
    for (uint32_t i = 0; i < WIDE_LANES; i++) {
        block[i] = first + APART * i;
    }
    for (uint32_t k = 0; k < APART; k++) {
        philox(d, sample, block + k, part[k]);
    }
    for (int w = 0; w < WORDS; w++) {
        const wide lower = part[0][w] & UINT32_MAX;
        word[w] = (words)(APART == 1 ? lower : lower | part[APART - 1][w] << 32);
    }
}

/* The factors of runs [begin, end) of a group, of BLOCKS units each. */
ALWAYS_INLINE void draw_runs(const fm_dropout *d, uint64_t sample, size_t group, size_t begin,
                             size_t end, real *factors)
{
    const words threshold = (words){0} + d->threshold, kept = (words)vec_set1((real)d->factor);
    for (uint32_t first = 0; first < BLOCKS; first += LANES) {
        words word[WORDS];
        philox_lanes(d, sample, (uint32_t)group * BLOCKS + first, word);
        for (size_t run = begin; run < end; run++) {
            const words drawn = run % 2 ? word[run / 2] >> 16 : word[run / 2] & 0xffff;
            const words stays = (words)(drawn >= threshold);
            vec_store(factors + (run - begin) * BLOCKS + first, (vec)(stays & kept));
        }
    }
}

static void draw(const fm_dropout *d, uint64_t sample, size_t first, size_t n, void *factors)
{
    enum { RUNS = GROUP / BLOCKS };
    real whole[GROUP], *to = factors;
    for (size_t i = first; i < first + n;) {
        const size_t skip = i % GROUP, left = first + n - i;
        const size_t count = left < GROUP - skip ? left : GROUP - skip;
        if (count == GROUP) {
            draw_runs(d, sample, i / GROUP, 0, RUNS, to);
        } else if (skip % BLOCKS == 0 && count % BLOCKS == 0) {
            draw_runs(d, sample, i / GROUP, skip / BLOCKS, (skip + count) / BLOCKS, to);
        } else {
            draw_runs(d, sample, i / GROUP, 0, RUNS, whole);
            memcpy(to, whole + skip, count * sizeof *to);
        }
        to += count;
        i += count;
    }
}

/* Units that lie apart have a block each. */
static void draw_at(const fm_dropout *d, uint64_t sample, size_t n, const uint32_t *units,
                    void *factors)
{
    const real factor = (real)d->factor;
    real *to = factors;
    for (size_t p = 0; p < n; p += WIDE_LANES) {
        const size_t count = n - p < WIDE_LANES ? n - p : WIDE_LANES;
        wide unit = {0}, word[WORDS];
        for (size_t i = 0; i < count; i++) {
            unit[i] = units[p + i];
        }
        philox(d, sample, unit / GROUP * BLOCKS + unit % BLOCKS, word);
        for (size_t i = 0; i < count; i++) {
            const uint32_t at = units[p + i] % GROUP / BLOCKS;
            const uint32_t drawn = (uint32_t)word[at / 2][i] >> (at % 2 ? 16 : 0) & 0xffff;
            to[p + i] = drawn < d->threshold ? 0 : factor;
        }
    }
}

void KERNEL(fill_dropout)(fm_kernels *table)
{
    table->dropout = draw;
    table->dropout_at = draw_at;
}
