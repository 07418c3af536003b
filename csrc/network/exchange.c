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

#include "barrier.h"
#include "ops.h"

/* Threads hand a line on, one to the next, round and round. It is timed over so many hands, so
 * often, and the quickest time counts, as threads lose their cores now and then. In all that takes
 * 10 us between near cores, and 60 us between others. */
enum { HANDS = 64, TIMES = 6 };

/* Of a line's way, in ns, a core hides so much by working on what has come, and of the rest so
 * large a share by having several lines on their way. */
static const double hidden = 20, hidden_share = 0.7;

/* For how long a measurement is good, in seconds. */
static const double good_for = 0.25;
/* For how long threads try, once all have come, as a share of the work, and at least and at most:
 * where one of them is without its core for longer, they had better share nothing. That is good for
 * at least so long, and for so many times as long as it took to find out. */
static const double patience_share = 0.01, least_patience = 0.0005, most_patience = 0.2;
static const double late_for = 0.02, late_times = 20;

static _Atomic int given = -1;

void fm_set_exchange(int exchange)
{
    given = exchange <= FM_MOST_EXCHANGE ? exchange : FM_MOST_EXCHANGE;
}

/* The last measurement; no threads: none yet. */
static _Atomic int known_exchange, known_threads;
static _Atomic double known_until, known_patience;

typedef struct {
    _Alignas(FM_ALIGNMENT) _Atomic uint32_t hand;
    _Alignas(FM_ALIGNMENT) _Atomic int late;
    fm_barrier barrier;
    size_t parts;
    double patience, quickest; /* in seconds */
} ring;

/* Looks at the line between two looks at the clock. */
enum { LOOKS = 4096 };

/* Wait for the line to come with a number; whether it did in time. */
static int comes(ring *r, uint32_t number, double began)
{
    for (size_t i = 1; r->hand != number; i++) {
        if (i % LOOKS == 0) {
            if (omp_get_wtime() - began > r->patience) {
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
    fm_barrier_meet(&r->barrier, parts);
    const double met = omp_get_wtime();
    double began = met;
    if (part == 0) {
        r->parts = parts;
    }
    for (size_t round = 0; round <= TIMES * rounds; round++) {
        const uint32_t number = (uint32_t)(round * parts + part);
        if (!comes(r, number, met)) {
            return;
        }
        if (part == 0 && round % rounds == 0) {
            const double now = omp_get_wtime(), took = (now - began) / (double)(rounds * parts);
            began = now;
            r->quickest = round && took < r->quickest ? took : r->quickest;
        }
        r->hand = number + 1;
    }
}

static int exchange_of(const ring *r)
{
    const double nanoseconds = (1 - hidden_share) * (r->quickest * 1e9 - hidden);
    const double exchange = nanoseconds > 1 ? round(log2(nanoseconds)) : 0;
    return exchange < FM_MOST_EXCHANGE ? (int)exchange : FM_MOST_EXCHANGE;
}

int fm_exchange_is_given(void)
{
    return given >= 0;
}

int fm_measure_exchange(int threads, double seconds)
{
    const int told = given;
    if (told >= 0) {
        return told;
    }
    const double began = omp_get_wtime();
    const double patience = fmax(patience_share * seconds, least_patience);
    ring r = {.patience = fmin(patience, most_patience), .quickest = 1};
    /* Who has more patience asks again. */
    const int holds = known_exchange != FM_NO_EXCHANGE || r.patience <= known_patience;
    if (known_threads == threads && began < known_until && holds) {
        return known_exchange;
    }
    fm_in_parallel(threads, hand_on, &r);
    const double ended = omp_get_wtime();
    const int exchange = r.late ? FM_NO_EXCHANGE : exchange_of(&r);
    /* OpenMP may have given fewer threads, this time. */
    if (r.parts == (size_t)threads) {
        known_exchange = exchange;
        known_patience = r.patience;
        known_until = ended + (r.late ? fmax(late_for, late_times * (ended - began)) : good_for);
        known_threads = threads;
    }
    return exchange;
}
