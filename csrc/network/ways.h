/* Which way of sharing a training step is the quickest: what the model says, put to the test. */
#ifndef FM_WAYS_H
#define FM_WAYS_H

#include "split.h"

enum { FM_MOST_WAYS = 5 };
typedef struct {
    fm_split of[FM_MOST_WAYS]; /* the model's choice comes first */
    size_t count;
    uint64_t key; /* of what is trained, and how */
} fm_ways;

/* Add a way unless it is there. */
void fm_add_way(fm_ways *ways, fm_split way);

int fm_are_equal_ways(fm_split a, fm_split b);

/* Have a key depend on a number. */
uint64_t fm_mix_key(uint64_t key, uint64_t number);

/* Which of the ways to go next, and for how many of the `left` steps: for all or, where it is a
 * trial, perhaps for fewer. */
size_t fm_choose_way(const fm_ways *ways, size_t left, size_t *steps, int *is_trial);

/* How long a trial's steps took. */
void fm_tell_way(const fm_ways *ways, size_t way, size_t steps, double seconds);

#endif
