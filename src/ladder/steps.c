/* The table of all compiled steps. */
#include "steps.h"

ladder_step ladder_conv_03_order, ladder_conv_04_im2col, ladder_conv_05_blocks, ladder_conv_06_packing;
ladder_step ladder_pool_00_windows, ladder_pool_01_rows, ladder_backward_00_scatter, ladder_backward_01_col2im;

/* Instruction sets as setup.py names them. */
#ifdef FC_HAVE_BASELINE
#define BASELINE(X) X(baseline)
#else
#define BASELINE(X)
#endif
#ifdef FC_HAVE_NEON
#define NEON(X) X(neon)
#else
#define NEON(X)
#endif
#ifdef FC_HAVE_AVX2
#define AVX2(X) X(avx2)
#else
#define AVX2(X)
#endif
#ifdef FC_HAVE_AVX512
#define AVX512(X) X(avx512)
#else
#define AVX512(X)
#endif
#define EVERY_ISA(X) BASELINE(X) NEON(X) AVX2(X) AVX512(X)

#define DECLARE(isa)                                                    \
    ladder_step ladder_conv_07_vectors__##isa, ladder_conv_08_tile__##isa; \
    extern const ladder_width ladder_width__##isa;
EVERY_ISA(DECLARE)

#define STEPS(isa)                                                   \
    {"conv_07_vectors", #isa, ladder_conv_07_vectors__##isa},        \
    {"conv_08_tile", #isa, ladder_conv_08_tile__##isa},
#define WIDTH(isa) &ladder_width__##isa,

static const struct {
    const char *name, *isa;
    ladder_step *step;
} steps[] = {
    {"conv_03_order", NULL, ladder_conv_03_order},
    {"conv_04_im2col", NULL, ladder_conv_04_im2col},
    {"conv_05_blocks", NULL, ladder_conv_05_blocks},
    {"conv_06_packing", NULL, ladder_conv_06_packing},
    EVERY_ISA(STEPS)
    {"pool_00_windows", NULL, ladder_pool_00_windows},
    {"pool_01_rows", NULL, ladder_pool_01_rows},
    {"backward_00_scatter", NULL, ladder_backward_00_scatter},
    {"backward_01_col2im", NULL, ladder_backward_01_col2im},
};

static const ladder_width *const widths[] = {EVERY_ISA(WIDTH)};

ladder_step *ladder_find(const char *name, const char *isa)
{
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (strcmp(steps[i].name, name) == 0 && (!steps[i].isa || strcmp(steps[i].isa, isa) == 0))
            return steps[i].step;
    return NULL;
}

const ladder_width *ladder_width_of(const char *isa)
{
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        if (strcmp(widths[i]->isa, isa) == 0)
            return widths[i];
    return NULL;
}
