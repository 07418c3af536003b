/* The model of a step's cost has constants of one machine, and others differ in how many operations
 * a core makes while a line is on its way. So ways that the model takes for nearly as quick are
 * tried for some steps each, and then the quickest is taken. No way changes a result. */
#include "ways.h"

#include <math.h>
#include <omp.h>
#include <stdatomic.h>

/* A trial takes so many steps at least, and so many seconds; what is left of an epoch afterwards is
 * as long, or else belongs to it, so that trials within short epochs are of the same steps. Each
 * way has some, and the quickest counts, as threads lose their cores now and then. Then it is known
 * for so many seconds. */
enum { LEAST_STEPS = 4, TRIALS = 3 };
static const double trial_seconds = 0.002, good_for = 10;

/* More threads must take less than this share of the time of one. The model asks for more, as it
 * may err. */
static const double worthwhile = 0.95;

/* Among steps that take longer, ways differ by little, and trials would take long. */
static const double longest_step = 0.002;

typedef struct {
    uint64_t key;
    double until;
    int trials[FM_MOST_WAYS];
    double seconds[FM_MOST_WAYS]; /* of a step */
} record;

/* What is known, of the last few trainings. Who finds it in use does without: it may be in use for
 * ever in a process that was forked meanwhile. */
enum { RECORDS = 16 };
static record records[RECORDS];
static atomic_flag in_use = ATOMIC_FLAG_INIT;

static int may_look(void)
{
    return !atomic_flag_test_and_set_explicit(&in_use, memory_order_acquire);
}

static void looked(void)
{
    atomic_flag_clear_explicit(&in_use, memory_order_release);
}

/* What is known of the ways, or room for that. */
static record *record_of(const fm_ways *ways)
{
    const double now = omp_get_wtime();
    record *oldest = records;
    for (size_t i = 0; i < RECORDS; i++) {
        if (records[i].key == ways->key && records[i].until > now) {
            return &records[i];
        }
        oldest = records[i].until < oldest->until ? &records[i] : oldest;
    }
    *oldest = (record){.key = ways->key, .until = now + good_for};
    return oldest;
}

int fm_are_equal_ways(fm_split a, fm_split b)
{
    return a.threads == b.threads && a.by_columns == b.by_columns && a.replicated == b.replicated &&
           a.by_layers == b.by_layers;
}

void fm_add_way(fm_ways *ways, fm_split way)
{
    for (size_t i = 0; i < ways->count; i++) {
        if (fm_are_equal_ways(ways->of[i], way)) {
            return;
        }
    }
    if (ways->count < FM_MOST_WAYS) {
        ways->of[ways->count++] = way;
    }
}

/* By FNV-1a, a number at a time. */
uint64_t fm_mix_key(uint64_t key, uint64_t number)
{
    return ((key ? key : 0xcbf29ce484222325u) ^ number) * 0x100000001b3u;
}

static size_t quickest(const fm_ways *ways, const record *known)
{
    size_t best = 0;
    double least = INFINITY;
    for (size_t i = 0; i < ways->count; i++) {
        const double cost = known->seconds[i] / (ways->of[i].threads > 1 ? worthwhile : 1);
        if (cost < least) {
            least = cost;
            best = i;
        }
    }
    return best;
}

size_t fm_choose_way(const fm_ways *ways, size_t left, size_t *steps, int *is_trial)
{
    *steps = left;
    *is_trial = 0;
    if (ways->count == 1 || ways->of[0].seconds > longest_step || !may_look()) {
        return 0;
    }
    const record *known = record_of(ways);
    size_t way = 0;
    for (size_t i = 1; i < ways->count; i++) {
        way = known->trials[i] < known->trials[way] ? i : way;
    }
    const int is_known = known->trials[way] >= TRIALS;
    *is_trial = !is_known && left >= LEAST_STEPS;
    if (*is_trial) {
        const double few = fmax(LEAST_STEPS, ceil(trial_seconds / ways->of[way].seconds));
        *steps = 2 * few < (double)left ? (size_t)few : left;
    } else {
        way = is_known ? quickest(ways, known) : 0;
    }
    looked();
    return way;
}

void fm_tell_way(const fm_ways *ways, size_t way, size_t steps, double seconds)
{
    if (!may_look()) {
        return;
    }
    record *known = record_of(ways);
    const double took = seconds / (double)steps;
    if (!known->trials[way]++ || took < known->seconds[way]) {
        known->seconds[way] = took;
    }
    looked();
}
