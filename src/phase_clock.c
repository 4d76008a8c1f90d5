#include "phase_clock.h"

#include <stdatomic.h>

#include "dispatch.h"
#include "ticks.h"

/* Sums by phase, of each thread in a cache line of its own; of more threads ever started some share one, and ticks may
 * be lost: a locked addition would cost a tenth of the time that it measures. */
enum { SLOTS = FC_MAX_THREADS };
typedef struct {
    _Alignas(64) atomic_uint_fast64_t ticks[FC_PHASES];
} phase_sums;

static phase_sums sums[SLOTS];
static atomic_uint slots_taken;
static _Thread_local phase_sums *own;

static const fc_kernels *plain[2];  /* by dtype: what `clocked` calls */
static fc_kernels clocked[2];
static atomic_int runs;
static uint64_t started;

static void add(fc_phase phase, uint64_t ticks)
{
    if (!own)
        own = &sums[atomic_fetch_add(&slots_taken, 1) % SLOTS];
    const uint64_t sum = atomic_load_explicit(&own->ticks[phase], memory_order_relaxed);
    atomic_store_explicit(&own->ticks[phase], sum + ticks, memory_order_relaxed);
}

/* One for each dtype, since nothing tells a kernel whose table it was called through. */
#define FC_CLOCKED(phase, name, parameters, arguments)                 \
    static void name##_f32 parameters                                  \
    {                                                                  \
        const uint64_t begin = fc_ticks();                             \
        plain[FC_F32]->name arguments;                                 \
        add(phase, fc_ticks() - begin);                                \
    }                                                                  \
    static void name##_f64 parameters                                  \
    {                                                                  \
        const uint64_t begin = fc_ticks();                             \
        plain[FC_F64]->name arguments;                                 \
        add(phase, fc_ticks() - begin);                                \
    }

FC_CLOCKED(FC_PHASE_PACK, pack_runs,
           (void *dst, ptrdiff_t dst_step, const void *src, ptrdiff_t src_step, ptrdiff_t src_stride, ptrdiff_t rows,
            const fc_run *run, int runs_in_row, ptrdiff_t clear),
           (dst, dst_step, src, src_step, src_stride, rows, run, runs_in_row, clear))
FC_CLOCKED(FC_PHASE_PACK, pack_pieces,
           (void *dst, ptrdiff_t dst_step, const void *src, ptrdiff_t src_step, ptrdiff_t rows, const fc_piece *pieces,
            const int *first_piece, int vectors),
           (dst, dst_step, src, src_step, rows, pieces, first_piece, vectors))
FC_CLOCKED(FC_PHASE_PACK, pack_columns,
           (void *dst, ptrdiff_t dst_step, const void *const *rows, int row_count, ptrdiff_t src_stride,
            ptrdiff_t count),
           (dst, dst_step, rows, row_count, src_stride, count))
FC_CLOCKED(FC_PHASE_PACK, pack_filters,
           (void *dst, ptrdiff_t dst_step, const void *src, ptrdiff_t src_step, ptrdiff_t row_step, int rows,
            int filled, int taps, ptrdiff_t count),
           (dst, dst_step, src, src_step, row_step, rows, filled, taps, count))
FC_CLOCKED(FC_PHASE_PACK, pack_strided,
           (void *dst, ptrdiff_t row_step, ptrdiff_t column_step, const void *src, ptrdiff_t ld, ptrdiff_t rows,
            ptrdiff_t columns),
           (dst, row_step, column_step, src, ld, rows, columns))
FC_CLOCKED(FC_PHASE_PACK, image_rows, (const fc_image_rows *rows), (rows))
FC_CLOCKED(FC_PHASE_PACK, winograd_rows, (const fc_winograd_rows *rows), (rows))
FC_CLOCKED(FC_PHASE_PACK, winograd_input, (const fc_winograd_lanes *lanes), (lanes))
FC_CLOCKED(FC_PHASE_PACK, winograd_filter, (const fc_winograd_filter *filter), (filter))
FC_CLOCKED(FC_PHASE_PACK, winograd_tile_filter, (const fc_winograd_lanes *lanes), (lanes))
FC_CLOCKED(FC_PHASE_MULTIPLY, dot_tile, (const fc_dot_tile *tile), (tile))
FC_CLOCKED(FC_PHASE_MULTIPLY, depthwise, (const fc_depthwise_block *block), (block))
FC_CLOCKED(FC_PHASE_MULTIPLY, depthwise_gradient, (const fc_depthwise_gradient *block), (block))
FC_CLOCKED(FC_PHASE_STORE, store_strided,
           (void *dst, ptrdiff_t row_step, ptrdiff_t column_step, const void *src, ptrdiff_t ld, ptrdiff_t rows,
            ptrdiff_t columns),
           (dst, row_step, column_step, src, ld, rows, columns))
FC_CLOCKED(FC_PHASE_STORE, sum_partials,
           (void *dst, const void *partial, ptrdiff_t step, ptrdiff_t partials, ptrdiff_t count, int relu),
           (dst, partial, step, partials, count, relu))
#undef FC_CLOCKED

static void clock_gemm_tile(const fc_kernels *kernels, const fc_tile *tile)
{
    fc_tile read = *tile;
    uint64_t epilogue;
    read.epilogue_ticks = &epilogue;
    const uint64_t begin = fc_ticks();
    kernels->gemm_tile(&read);
    add(FC_PHASE_MULTIPLY, epilogue - begin);
    add(FC_PHASE_STORE, fc_ticks() - epilogue);
}

static uint32_t clock_winograd_output(const fc_kernels *kernels, const fc_winograd_output *out)
{
    const uint64_t begin = fc_ticks();
    const uint32_t not_finite = kernels->winograd_output(out);
    add(FC_PHASE_STORE, fc_ticks() - begin);
    return not_finite;
}

static int clock_winograd_gradient(const fc_kernels *kernels, const fc_winograd_gradient *gradient)
{
    const uint64_t begin = fc_ticks();
    const int finite = kernels->winograd_gradient(gradient);
    add(FC_PHASE_STORE, fc_ticks() - begin);
    return finite;
}

static void gemm_tile_f32(const fc_tile *tile) { clock_gemm_tile(plain[FC_F32], tile); }
static void gemm_tile_f64(const fc_tile *tile) { clock_gemm_tile(plain[FC_F64], tile); }
static uint32_t winograd_output_f32(const fc_winograd_output *out) { return clock_winograd_output(plain[FC_F32], out); }
static uint32_t winograd_output_f64(const fc_winograd_output *out) { return clock_winograd_output(plain[FC_F64], out); }
static int winograd_gradient_f32(const fc_winograd_gradient *g) { return clock_winograd_gradient(plain[FC_F32], g); }
static int winograd_gradient_f64(const fc_winograd_gradient *g) { return clock_winograd_gradient(plain[FC_F64], g); }

static void wrap(fc_dtype dtype)
{
    const fc_kernels *kernels = fc_kernels_for(dtype);
    if (plain[dtype] == kernels)
        return;
    plain[dtype] = kernels;
    clocked[dtype] = *kernels;
#define FC_WRAP(name) clocked[dtype].name = dtype == FC_F32 ? name##_f32 : name##_f64
    FC_WRAP(gemm_tile);
    FC_WRAP(dot_tile);
    FC_WRAP(depthwise);
    FC_WRAP(depthwise_gradient);
    FC_WRAP(pack_runs);
    FC_WRAP(pack_pieces);
    FC_WRAP(image_rows);
    FC_WRAP(pack_columns);
    FC_WRAP(pack_filters);
    FC_WRAP(pack_strided);
    FC_WRAP(store_strided);
    FC_WRAP(sum_partials);
    FC_WRAP(winograd_rows);
    FC_WRAP(winograd_input);
    FC_WRAP(winograd_filter);
    FC_WRAP(winograd_output);
    FC_WRAP(winograd_tile_filter);
    FC_WRAP(winograd_gradient);
#undef FC_WRAP
}

const fc_kernels *fc_clocked_kernels(fc_dtype dtype, const fc_kernels *kernels)
{
    return atomic_load(&runs) && plain[dtype] == kernels ? &clocked[dtype] : kernels;
}

void fc_phase_clock_start(void)
{
    atomic_store(&runs, 0);
    wrap(FC_F32);
    wrap(FC_F64);
    for (int i = 0; i < SLOTS; i++)
        for (int phase = 0; phase < FC_PHASES; phase++)
            atomic_store(&sums[i].ticks[phase], 0);
    atomic_store(&runs, 1);
    started = fc_ticks();
}

uint64_t fc_phase_clock_stop(uint64_t ticks[FC_PHASES])
{
    const uint64_t elapsed = fc_ticks() - started;
    atomic_store(&runs, 0);
    for (int phase = 0; phase < FC_PHASES; phase++) {
        ticks[phase] = 0;
        for (int i = 0; i < SLOTS; i++)
            ticks[phase] += atomic_load(&sums[i].ticks[phase]);
    }
    return elapsed;
}
