/* How long a cache line takes from one core to another.
 *
 * Between cores that share a cache that is 25 ns, of which little is left to wait for when several
 * are on their way; between others 135 ns and more, and then it is often better to share less of a
 * step, or nothing. Which cores the threads run on is for the system to say, and on a virtual
 * machine for its host, which changes it while a training runs. So it is measured, and now and then
 * again. */
#include "exchange.h"

#include <math.h>
#include <omp.h>

#include "ops.h"

/* Threads hand a line on, one to the next, round and round. It is timed over so many hands, so
 * often, and the quickest time counts, as threads lose their cores now and then. In all that takes
 * 10 us between near cores, and 60 us between others. */
enum { HANDS = 64, TIMES = 6 };

/* Of a line's way, in ns, a core hides so much by working on what has come, and of the rest so
 * large a share by having several lines on their way. */
static const double hidden = 20, hidden_share = 0.7;

/* For how long a measurement is good, in seconds; and for how long threads try: where one of them
 * is without its core for longer, they had better share nothing, for a while. */
static const double good_for = 0.25, patience = 0.0005, late_for = 0.02;

static _Atomic int given = -1;

void fm_set_exchange(int exchange)
{
    given = exchange <= FM_MOST_EXCHANGE ? exchange : FM_MOST_EXCHANGE;
}

/* The last measurement; no threads: none yet. */
static _Atomic int known_exchange, known_threads;
static _Atomic double known_until;

typedef struct {
    _Alignas(FM_ALIGNMENT) _Atomic uint32_t hand;
    _Alignas(FM_ALIGNMENT) _Atomic int late;
    double began, quickest; /* of the first thread */
} ring;

/* Looks at the line between two looks at the clock. */
enum { LOOKS = 4096 };

/* Wait for the line to come with a number; whether it did. */
static int comes(ring *r, uint32_t number)
{
    for (size_t i = 1; r->hand != number; i++) {
        if (i % LOOKS == 0) {
            if (omp_get_wtime() - r->began > patience) {
                r->late = 1;
            }
            if (r->late) {
                return 0;
            }
        }
    }
    return 1;
}

/* Nobody waits for a thread that has left. */
static void hand_on(void *context, size_t part, size_t parts)
{
    ring *r = context;
    const size_t rounds = HANDS / parts + 1;
    double began = r->began;
    for (size_t round = 0; round <= TIMES * rounds; round++) {
        const uint32_t number = (uint32_t)(round * parts + part);
        if (!comes(r, number)) {
            return;
        }
        if (part == 0 && round % rounds == 0) {
            const double now = omp_get_wtime(), took = (now - began) / (double)(rounds * parts);
            began = now;
            /* At first threads were still on their way. */
            r->quickest = round > rounds && took < r->quickest ? took : r->quickest;
        }
        r->hand = number + 1;
    }
}

int fm_measure_exchange(int threads)
{
    const double now = omp_get_wtime();
    const int told = given;
    if (told >= 0) {
        return told;
    }
    if (known_threads == threads && now < known_until) {
        return known_exchange;
    }
    ring r = {.began = now, .quickest = 1};
    fm_in_parallel(threads, hand_on, &r);
    const double nanoseconds = (1 - hidden_share) * (r.quickest * 1e9 - hidden);
    const double exchange = nanoseconds > 1 ? round(log2(nanoseconds)) : 0;
    const int slow = r.late || exchange > FM_MOST_EXCHANGE;
    known_exchange = slow ? FM_MOST_EXCHANGE : (int)exchange;
    known_threads = threads;
    known_until = omp_get_wtime() + (r.late ? late_for : good_for);
    return known_exchange;
}
