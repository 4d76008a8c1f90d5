/* Stands between the core and malloc: counts what the core takes, and fails the call that a test chooses.
 *
 * Preloaded with glibc. A call belongs to the core if it returns into the addresses that `watch` names. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);

enum { MOST_LIVE = 4096 };
static uintptr_t low, high;
static long taken, failing;
static size_t largest;
static void *live[MOST_LIVE];

static int watched(void *caller) { return (uintptr_t)caller >= low && (uintptr_t)caller < high; }

void watch(uintptr_t from, uintptr_t to) { low = from, high = to; }

/* The `n`-th call from now on finds no memory; 0: none does. */
void fail_at(long n) { failing = n, taken = 0, largest = 0; }

long calls_taken(void) { return taken; }
size_t largest_taken(void) { return largest; }

long blocks_alive(void)
{
    long count = 0;
    for (int i = 0; i < MOST_LIVE; i++)
        count += live[i] != NULL;
    return count;
}

static int refused(size_t size)
{
    largest = size > largest ? size : largest;
    if (__atomic_add_fetch(&taken, 1, __ATOMIC_SEQ_CST) != failing)
        return 0;
    errno = ENOMEM;
    return 1;
}

static void *note(void *block)
{
    for (int i = 0; block && i < MOST_LIVE; i++) {
        void *none = NULL;
        if (__atomic_compare_exchange_n(&live[i], &none, block, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return block;
    }
    return block;
}

void *malloc(size_t size)
{
    if (!watched(__builtin_return_address(0)))
        return __libc_malloc(size);
    return refused(size) ? NULL : note(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
    if (!watched(__builtin_return_address(0)))
        return __libc_calloc(count, size);
    return refused(count * size) ? NULL : note(__libc_calloc(count, size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
    if (!watched(__builtin_return_address(0)))
        return __libc_memalign(alignment, size);
    return refused(size) ? NULL : note(__libc_memalign(alignment, size));
}

void free(void *block)
{
    if (block && watched(__builtin_return_address(0)))
        for (int i = 0; i < MOST_LIVE; i++) {
            void *same = block;
            if (__atomic_compare_exchange_n(&live[i], &same, NULL, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
                break;
        }
    __libc_free(block);
}
