/* What the steps of the ladder share: the problem, the one signature, and which outputs a tap reaches. */
#ifndef LADDER_H
#define LADDER_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* The letters of fastconv.cli.problems. Arrays are float32, C-contiguous, NCHW; filters are (k, c, r, s). */
typedef struct {
    ptrdiff_t n, c, h, w;  /* images, channels, rows and columns of pixels */
    ptrdiff_t k, r, s;     /* filters, rows and columns of each */
    ptrdiff_t u, v, p, q;  /* stride down and across; padding above and below, left and right */
    ptrdiff_t oh, ow;      /* rows and columns of the output */
    /* C[m, n] = A[m, k] B[k, n] by NumPy, which hands it to its BLAS; not zero if it raised an exception. */
    int (*blas)(const float *a, const float *b, float *c, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k);
} ladder_problem;

enum { LADDER_OK = 0, LADDER_NO_MEMORY = 1, LADDER_RAISED = -1 };

/* Every step: y from x and w. A pool has no w; a backward step takes dy as x and gives dx as y. */
typedef int ladder_step(const float *x, const float *w, float *y, const ladder_problem *d);

/* The outputs i whose tap reads a pixel, 0 <= i*stride + tap - pad < size, are first <= i < end. */
static inline ptrdiff_t ladder_first(ptrdiff_t tap, ptrdiff_t stride, ptrdiff_t pad)
{
    return tap >= pad ? 0 : (pad - tap + stride - 1) / stride;
}

static inline ptrdiff_t ladder_end(ptrdiff_t tap, ptrdiff_t stride, ptrdiff_t pad, ptrdiff_t size, ptrdiff_t outputs)
{
    const ptrdiff_t last = size - 1 + pad - tap;
    return last < 0 ? 0 : last / stride < outputs ? last / stride + 1 : outputs;
}

static inline ptrdiff_t ladder_min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* conv_04_im2col.c: the windows of one image as a matrix, (c r s) rows of (oh ow) columns. */
void ladder_im2col(const float *image, float *columns, const ladder_problem *d);

#endif
