/* What it costs threads to need each other's results. */
#ifndef FM_EXCHANGE_H
#define FM_EXCHANGE_H

#include "fastmlp.h"

/* A thread has no core to itself. */
enum { FM_NO_EXCHANGE = -1 };

/* See fm_set_exchange: as it was set, or else as it is on so many threads now, or was at most a
 * quarter of a second ago; or FM_NO_EXCHANGE. `seconds` is about how long the work takes that this
 * decides about: for longer work, threads wait longer for a core. */
int fm_measure_exchange(int threads, double seconds);

/* Whether it was set. */
int fm_exchange_is_given(void);

#endif
