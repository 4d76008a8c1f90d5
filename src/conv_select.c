/* The ordered list of algorithms, and the choice among them by estimated cost. */
#include <stdlib.h>
#include <string.h>

#include "blocking.h"
#include "correlation.h"

/* Ties go to the first. Adding an algorithm is adding a line. */
static const fc_conv_algorithm *const algorithms[FC_ALGORITHM_COUNT] = {
    &fc_algorithm_direct,       &fc_algorithm_im2col,       &fc_algorithm_winograd_2_3, &fc_algorithm_winograd_4_3,
    &fc_algorithm_winograd_6_3, &fc_algorithm_winograd_2_5, &fc_algorithm_winograd_3_5, &fc_algorithm_winograd_4_5};

/* RMS error, in rounding units, beyond which an algorithm must be asked for: 1.5e-6 of the output's RMS in float32. */
static const double error_limit = 25;

const char fc_other_variant[] = "its filters are another variant's";

/* Costs are counted in cycles; the clock only matters for the thresholds below which a call stays serial. */
static const double seconds_per_cycle = 1.0 / 3.5e9;

/* What one algorithm says of all correlations of an operation. */
static void assess(const fc_conv *conv, fc_operation operation, const fc_conv_algorithm *algorithm, int threads,
                   int held, int want_workspace, fc_tap *tap, fc_algorithm_record *record)
{
    *record = (fc_algorithm_record){
        .name = algorithm->name, .variant = algorithm->variant, .reason = algorithm->rank, .eligible = 1};
    /* Nothing is read or written, but a driver plans otherwise where it has no output to store in. */
    static const double place;
    const fc_view image = fc_dense_view(&place, conv->layout, conv->c, conv->h, conv->w),
                  lattice = fc_dense_view(&place, conv->layout, conv->k, conv->oh, conv->ow);
    const int backward = operation == FC_BACKWARD_INPUT;
    const fc_operands operands = {.x = backward ? lattice : image, .y = backward ? image : lattice};
    double longest = 1;
    const ptrdiff_t count = fc_correlation_count(conv, operation);
    for (ptrdiff_t i = 0; i < count; i++) {
        fc_correlation c;
        fc_correlation_of(conv, operation, i, &operands, algorithm, tap, &c);
        if (c.taps == 0)
            continue;
        c.held = held;
        const char *refusal = algorithm->refuses(&c, operation);
        if (refusal) {
            record->eligible = 0;
            record->reason = refusal;
            return;
        }
        record->cost += algorithm->cycles(&c, operation) * seconds_per_cycle;
        const double terms = operation == FC_BACKWARD_WEIGHT ? (double)c.n * (double)(c.oh * c.ow)
                                                             : (double)c.q * (double)c.taps;
        longest = terms > longest ? terms : longest;
        if (want_workspace) {
            fc_workspace sizes = {0};
            fc_choose_way(&c, algorithm, operation);
            fc_drive(conv, operation, &operands, &c, algorithm, threads, &sizes);
            record->workspace = sizes.used > record->workspace ? sizes.used : record->workspace;
        }
    }
    record->multiply_adds = (double)conv->n * (double)conv->k * (double)(conv->oh * conv->ow) *
                            (double)(conv->c / conv->groups) * (double)(conv->kh * conv->kw);
    /* A chain of up to a depth block's products is summed in registers, the chains one after another in memory: rounding
     * accumulates like a random walk over the longer of the two. */
    const double unit = conv->dtype == FC_F32 ? 0x1p-24 : 0x1p-53;
    const double chain = longest < FC_DEPTH_BLOCK ? longest : FC_DEPTH_BLOCK + longest / FC_DEPTH_BLOCK;
    record->error_bound = unit * (algorithm->transforms ? algorithm->error : 2 + __builtin_sqrt(chain));
}

/* Whether the choice by cost may fall on an algorithm. */
static int may_choose(const fc_conv *conv, const fc_conv_algorithm *algorithm, const char *algo)
{
    const int bounded = algorithm->error <= error_limit;
    if (strcmp(algo, "auto") == 0)
        return !algorithm->transforms || (conv->dtype == FC_F32 && bounded);
    if (strcmp(algo, "fast") == 0)
        return !algorithm->transforms || conv->dtype == FC_F32;
    if (strcmp(algo, "exact") == 0)
        return !algorithm->transforms;
    if (strcmp(algo, "winograd-fast") == 0)
        return algorithm->transforms;
    return (strcmp(algo, algorithm->name) == 0 && bounded) || strcmp(algo, algorithm->variant) == 0;
}

static int by_rank(const void *a, const void *b)
{
    const fc_algorithm_record *left = a, *right = b;
    if (left->eligible != right->eligible)
        return right->eligible - left->eligible;
    return (left->cost > right->cost) - (left->cost < right->cost);
}


fc_status fc_conv_algorithms(const fc_conv *conv, fc_operation operation, const char *algo, int threads,
                             fc_algorithm_record records[FC_ALGORITHM_COUNT])
{
    fc_tap *tap = fc_take_taps(conv);
    if (!tap)
        return FC_NO_MEMORY;
    for (int i = 0; i < FC_ALGORITHM_COUNT; i++) {
        assess(conv, operation, algorithms[i], threads, 0, 1, tap, &records[i]);
        records[i].eligible += records[i].eligible && may_choose(conv, algorithms[i], algo);
    }
    free(tap);
    qsort(records, FC_ALGORITHM_COUNT, sizeof records[0], by_rank);
    return FC_OK;
}

const char *fc_conv_refusal(const fc_conv *conv, fc_operation operation, const char *algo)
{
    fc_tap *tap = fc_take_taps(conv);
    if (!tap)
        return fc_status_text(FC_NO_MEMORY);
    const char *refusal = "this build has no kernels for it";
    for (int i = 0; i < FC_ALGORITHM_COUNT; i++)
        if (may_choose(conv, algorithms[i], algo)) {
            fc_algorithm_record record;
            assess(conv, operation, algorithms[i], 1, 0, 0, tap, &record);
            if (record.reason != fc_other_variant)
                refusal = record.reason;
            if (record.eligible) {
                refusal = NULL;
                break;
            }
        }
    free(tap);
    return refusal;
}

static const fc_conv_algorithm *cheapest(const fc_conv *conv, fc_operation operation, const char *algo, int held,
                                         fc_tap *tap, double *seconds)
{
    const fc_conv_algorithm *best = NULL;
    for (int i = 0; i < FC_ALGORITHM_COUNT; i++) {
        fc_algorithm_record record;
        if (!may_choose(conv, algorithms[i], algo))
            continue;
        assess(conv, operation, algorithms[i], 1, held, 0, tap, &record);
        if (record.eligible && (!best || record.cost < *seconds)) {
            best = algorithms[i];
            *seconds = record.cost;
        }
    }
    return best;
}

/* A thread's last choices: to estimate all costs takes a microsecond, a tenth of a small layer's time. */
typedef struct {
    fc_conv conv;
    fc_operation operation;
    int held;
    char algo[24];
    const fc_kernels *kernels;  /* NULL if there is no choice yet */
    const fc_conv_algorithm *algorithm;
    double seconds;
} choice;

enum { REMEMBERED = 64, WORDS = sizeof(fc_conv) / sizeof(uint64_t) };
_Static_assert(sizeof(fc_conv) == 2 * sizeof(int) + 18 * sizeof(ptrdiff_t), "bytes between members would not compare");

static choice *place_of(const fc_conv *conv, fc_operation operation)
{
    static _Thread_local choice remembered[REMEMBERED];
    uint64_t word[WORDS], hash = (uint64_t)operation;
    memcpy(word, conv, sizeof word);
    for (int i = 0; i < WORDS; i++)
        hash = (hash ^ word[i]) * 0x9E3779B97F4A7C15u;
    return &remembered[hash >> 58];
}

const fc_conv_algorithm *fc_select(const fc_conv *conv, fc_operation operation, const char *algo, int held,
                                   fc_tap *tap, double *seconds)
{
    const fc_kernels *kernels = fc_kernels_for(conv->dtype);
    choice *last = place_of(conv, operation);
    if (last->kernels != kernels || last->operation != operation || last->held != held ||
        memcmp(&last->conv, conv, sizeof *conv) != 0 || strcmp(last->algo, algo) != 0) {
        *seconds = 0;
        const fc_conv_algorithm *best = cheapest(conv, operation, algo, held, tap, seconds);
        if (!best)  /* perhaps an unknown name, of any length */
            return NULL;
        *last = (choice){*conv, operation, held, "", kernels, best, *seconds};
        strncpy(last->algo, algo, sizeof last->algo - 1);
    }
    *seconds = last->seconds;
    return last->algorithm;
}
