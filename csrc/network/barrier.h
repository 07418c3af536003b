/* Where the threads of a parallel region meet, twice a training step. */
#ifndef FM_BARRIER_H
#define FM_BARRIER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* All zero to begin with. */
typedef struct {
    _Atomic uint32_t arrived, generation, sleepers;
} fm_barrier;

/* Return once all `threads` threads have called this. */
void fm_barrier_meet(fm_barrier *barrier, size_t threads);

#endif
