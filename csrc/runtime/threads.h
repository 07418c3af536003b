/* How many threads a call may use. */
#ifndef FM_THREADS_H
#define FM_THREADS_H

#include "fastmlp.h"

/* Threads for a region that makes `operations` floating-point operations on vectors of `lanes`
 * elements: never more than gain from it, and 1 where the work is too small for a second. */
int fm_threads_for(size_t lanes, double operations);

/* A call takes threads, and gives them back. */
void fm_take_threads(int n);
void fm_return_threads(int n);

#endif
