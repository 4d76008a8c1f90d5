/* Which instruction sets this build has, which the CPU has, and the one in use. */
#include "dispatch.h"

#include <stdatomic.h>
#include <string.h>
#ifdef FC_HAVE_AVX512
#include <cpuid.h>
#endif

#include "phase_clock.h"

typedef struct {
    const char *name;
    const fc_kernels *f32, *f64;
    int (*supported)(void);
} fc_isa_entry;

static int always(void) { return 1; }

#if defined(FC_HAVE_AVX2) || defined(FC_HAVE_AVX512)
/* Each subset is asked for by itself; the compiler's run-time library also asks whether the system saves the
 * registers. */
static int has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif
#ifdef FC_HAVE_AVX512
static int has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
#endif

/* AMD's family 25 with AVX-512 (Zen 4) takes 64 bytes in halves. */
static int has_half_units(void)
{
#ifdef FC_HAVE_AVX512
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx) || ebx != signature_AMD_ebx)
        return 0;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (eax >> 8 & 15) + (eax >> 20 & 255) == 25;
#else
    return 0;
#endif
}

/* Narrowest first. */
static const fc_isa_entry isas[] = {
#ifdef FC_HAVE_NEON
    {"neon", &fc_table_f32__neon, &fc_table_f64__neon, always},
#else
    {"baseline", &fc_table_f32__baseline, &fc_table_f64__baseline, always},
#endif
#ifdef FC_HAVE_AVX2
    {"avx2", &fc_table_f32__avx2, &fc_table_f64__avx2, has_avx2},
#endif
#ifdef FC_HAVE_AVX512
    {"avx512", &fc_table_f32__avx512, &fc_table_f64__avx512, has_avx512},
#endif
};
enum { ISA_COUNT = sizeof isas / sizeof isas[0] };

static _Atomic(const fc_isa_entry *) chosen;
static int half_units;

__attribute__((constructor)) static void choose_widest(void)
{
    int i = ISA_COUNT - 1;
    while (!isas[i].supported())
        i--;
    chosen = &isas[i];
    half_units = has_half_units();
}

int fc_vector_passes(void) { return half_units && chosen->f32->lanes * sizeof(float) == 64 ? 2 : 1; }

int fc_isas_built(const char *names[4])
{
    for (int i = 0; i < ISA_COUNT; i++)
        names[i] = isas[i].name;
    return ISA_COUNT;
}

static const fc_isa_entry *find(const char *name)
{
    for (int i = 0; i < ISA_COUNT; i++)
        if (strcmp(isas[i].name, name) == 0 && isas[i].supported())
            return &isas[i];
    return NULL;
}

int fc_isa_supported(const char *name) { return find(name) != NULL; }

const char *fc_isa(void) { return chosen->name; }

fc_status fc_set_isa(const char *name)
{
    const fc_isa_entry *entry = find(name);
    if (!entry)
        return FC_BAD_PROBLEM;
    chosen = entry;
    return FC_OK;
}

const fc_kernels *fc_kernels_for(fc_dtype dtype)
{
    const fc_isa_entry *entry = chosen;
    return fc_clocked_kernels(dtype, dtype == FC_F32 ? entry->f32 : entry->f64);
}
