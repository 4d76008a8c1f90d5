# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The binding of the compiled steps. Arrays come checked by `fastconv.ladder`: float32, C-contiguous, of the right shapes."""

import numpy as np

from fastconv import _core

include "conv_02_cython.pyx"

cdef extern from "steps.h":
    ctypedef struct ladder_problem:
        Py_ssize_t n, c, h, w, k, r, s, u, v, p, q, oh, ow
        int (*blas)(const float *a, const float *b, float *c, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k) except -1
    enum:
        LADDER_NO_MEMORY
    ctypedef int ladder_step(const float *x, const float *w, float *y, const ladder_problem *d) except -1
    ladder_step *ladder_find(const char *name, const char *isa)
    ctypedef struct ladder_width:
        Py_ssize_t tile_rows, tile_columns
        float (*read)(const float *data, Py_ssize_t count) nogil
    const ladder_width *ladder_width_of(const char *isa)


cdef int blas(const float *a, const float *b, float *c, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k) except -1:
    """NumPy's product, for the steps that leave it to a BLAS."""
    np.matmul(<const float[:m, :k]> a, <const float[:k, :n]> b, out=np.asarray(<float[:m, :n]> c))
    return 0


def run(str name, const float[:, :, :, ::1] x, const float[:, :, :, ::1] w, float[:, :, :, ::1] y, d):
    """Run a compiled step with the instruction set in use."""
    cdef ladder_problem problem = ladder_problem(
        d.n, d.c, d.h, d.w, d.k, d.r, d.s, d.u, d.v, d.p, d.q, d.y_shape[2], d.y_shape[3], blas
    )
    cdef ladder_step *step = ladder_find(name.encode(), _core.isa().encode())
    if step == NULL:
        raise LookupError(f"no step {name!r}")
    cdef const float *weights = NULL
    if w is not None:
        weights = &w[0, 0, 0, 0]
    if x.size > 0 and step(&x[0, 0, 0, 0], weights, &y[0, 0, 0, 0], &problem) == LADDER_NO_MEMORY:
        raise MemoryError(f"{name}: no memory for scratch")


def tile():
    """Rows and columns of step 8's register tile with the instruction set in use."""
    cdef const ladder_width *width = ladder_width_of(_core.isa().encode())
    return width.tile_rows, width.tile_columns


def read(const float[::1] data, Py_ssize_t passes):
    """Read an array, aligned to 64 bytes, so many times; the sum that it gives shows the compiler that it is wanted."""
    cdef const ladder_width *width = ladder_width_of(_core.isa().encode())
    cdef float total = 0
    cdef Py_ssize_t i
    with nogil:
        for i in range(passes):
            total += width.read(&data[0], data.shape[0])
    return total
