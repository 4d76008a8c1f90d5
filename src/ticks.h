/* A clock for spans of some hundred cycles. */
#ifndef FC_TICKS_H
#define FC_TICKS_H

#include <stdint.h>
#if !defined(__x86_64__) && !defined(__i386__) && !defined(__aarch64__)
#include <time.h>
#endif

/* A count that grows evenly, read after what stands before it is done. */
static inline uint64_t fc_ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
    unsigned core;
    return __builtin_ia32_rdtscp(&core);
#elif defined(__aarch64__)
    uint64_t count;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(count) : : "memory");
    return count;
#else
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
#endif
}

#endif
