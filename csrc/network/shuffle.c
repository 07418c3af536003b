/* The random stream: Philox 4x64-10 (Salmon, Moraes, Dror and Shaw, 2011), counter-based, so that
 * any part of it can be drawn by any thread or after any interruption. */
#include "fastmlp.h"

typedef struct {
    uint64_t word[4];
} block;

static uint64_t multiply(uint64_t a, uint64_t b, uint64_t *high)
{
    const unsigned __int128 product = (unsigned __int128)a * b;
    *high = (uint64_t)(product >> 64);
    return (uint64_t)product;
}

static block philox(block counter, uint64_t key0, uint64_t key1)
{
    enum { ROUNDS = 10 };
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t high0, high1;
        const uint64_t low0 = multiply(0xD2E7470EE14C6C93u, counter.word[0], &high0);
        const uint64_t low1 = multiply(0xCA5A826395121157u, counter.word[2], &high1);
        counter = (block){
            {high1 ^ counter.word[1] ^ key0, low1, high0 ^ counter.word[3] ^ key1, low0}};
        key0 += 0x9E3779B97F4A7C15u;
        key1 += 0xBB67AE8584CAA73Bu;
    }
    return counter;
}

void fm_shuffle(size_t n, uint64_t seed, uint64_t epoch, uint64_t part, size_t *order)
{
    for (size_t i = 0; i < n; i++) {
        order[i] = i;
    }
    block drawn = {{0}};
    for (size_t i = n, draw = 0; i > 1; i--, draw++) {
        if (draw % 4 == 0) {
            drawn = philox((block){{draw / 4 + 1, epoch, part, 0}}, seed, 1);
        }
        /* A 64-bit fraction of i: its bias, i / 2^64, is far below what any test could see. */
        uint64_t j;
        multiply(drawn.word[draw % 4], i, &j);
        const size_t swapped = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swapped;
    }
}
