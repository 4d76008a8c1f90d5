# cython: language_level=3
"""The binding: NumPy arrays to views, a call without the GIL, a status to an exception.

Arrays come checked by the Python layer; nothing is checked twice and nothing is computed here.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp

cimport numpy as cnp
from cpython.unicode cimport PyUnicode_AsUTF8

cnp.import_array()

cdef extern from "fastconv.h" nogil:
    ctypedef enum fc_status:
        FC_OK
        FC_NO_MEMORY
        FC_CANNOT_SERVE
        FC_BAD_INDEX
    ctypedef enum fc_dtype:
        FC_F32
        FC_F64
    ctypedef enum fc_layout:
        FC_NCHW
        FC_NHWC
    ctypedef enum fc_operation:
        FC_FORWARD
        FC_BACKWARD_INPUT
        FC_BACKWARD_WEIGHT
    ctypedef struct fc_conv:
        fc_dtype dtype
        fc_layout layout
        Py_ssize_t n, c, h, w, k, kh, kw, oh, ow, groups
        Py_ssize_t stride_h, stride_w, dilation_h, dilation_w
        Py_ssize_t pad_top, pad_bottom, pad_left, pad_right
    ctypedef struct fc_pool:
        fc_dtype dtype
        fc_layout layout
        Py_ssize_t n, c, h, w, kh, kw, oh, ow
        Py_ssize_t stride_h, stride_w, dilation_h, dilation_w
        Py_ssize_t pad_top, pad_bottom, pad_left, pad_right
    ctypedef struct fc_lrn:
        fc_dtype dtype
        fc_layout layout
        Py_ssize_t n, c, h, w, size
        double alpha, beta, k
    ctypedef struct fc_view:
        const void *data
        Py_ssize_t stride[4]
    ctypedef struct fc_packed:
        pass
    ctypedef struct fc_algorithm_record:
        const char *name
        const char *variant
        const char *reason
        int eligible
        size_t workspace
        double multiply_adds, cost, error_bound
    enum:
        FC_ALGORITHM_COUNT
    const char *fc_status_text(fc_status status)
    fc_status fc_conv_check(const fc_conv *conv)
    fc_status fc_pool_check(const fc_pool *pool)
    fc_status fc_conv_algorithms(const fc_conv *conv, fc_operation operation, const char *algo, int threads,
                                 fc_algorithm_record *records)
    const char *fc_conv_refusal(const fc_conv *conv, fc_operation operation, const char *algo)
    fc_status fc_conv_forward(const fc_conv *conv, const char *algo, fc_view x, const void *w, fc_packed *packed,
                              const void *bias, int relu, void *y, int threads)
    fc_status fc_conv_backward_input(const fc_conv *conv, const char *algo, fc_view dy, const void *w,
                                     const void *bias, void *dx, int threads)
    fc_status fc_conv_backward_weight(const fc_conv *conv, const char *algo, fc_view dy, fc_view x, void *dw,
                                      int threads)
    fc_status fc_conv_backward_bias(const fc_conv *conv, fc_view dy, void *db, int threads)
    fc_packed *fc_packed_new()
    void fc_packed_free(fc_packed *packed)
    fc_status fc_max_pool_forward(const fc_pool *pool, fc_view x, void *y, int64_t *index, int threads)
    fc_status fc_max_pool_backward(const fc_pool *pool, fc_view dy, fc_view x, const int64_t *index, void *dx,
                                   int threads)
    fc_status fc_avg_pool_forward(const fc_pool *pool, fc_view x, int count_include_pad, void *y, int threads)
    fc_status fc_avg_pool_backward(const fc_pool *pool, fc_view dy, int count_include_pad, void *dx, int threads)
    fc_status fc_lrn_forward(const fc_lrn *lrn, fc_view x, void *y, int threads)
    fc_status fc_lrn_backward(const fc_lrn *lrn, fc_view dy, fc_view x, void *dx, int threads)
    int fc_isas_built(const char **names)
    int fc_isa_supported(const char *name)
    const char *fc_isa()
    fc_status fc_set_isa(const char *name)
    int fc_openmp()
    int fc_max_threads()
    ctypedef enum fc_phase:
        FC_PHASES
    void fc_phase_clock_start()
    uint64_t fc_phase_clock_stop(uint64_t *ticks)
    double fc_peak_gflops(fc_dtype dtype, int threads)

cdef extern from *:
    """
    #if defined(__clang__)
    #define FC_COMPILER "clang " __clang_version__
    #else
    #define FC_COMPILER "gcc " __VERSION__
    #endif
    """
    const char *FC_COMPILER


cdef int raise_for(fc_status status, str what) except -1:
    kind = MemoryError if status == FC_NO_MEMORY else ValueError
    raise kind(f"{what}: {fc_status_text(status).decode()}")


cdef fc_dtype dtype_of(cnp.dtype dtype):
    return FC_F32 if dtype.type_num == cnp.NPY_FLOAT32 else FC_F64


cdef fc_view view_of(cnp.ndarray a, fc_layout layout):
    """Strides in elements, in the order n, c, h, w."""
    cdef fc_view view
    cdef cnp.npy_intp *stride = cnp.PyArray_STRIDES(a)
    cdef Py_ssize_t item = cnp.PyArray_ITEMSIZE(a)
    view.data = cnp.PyArray_DATA(a)
    view.stride[0] = stride[0] // item
    view.stride[1] = stride[3 if layout == FC_NHWC else 1] // item
    view.stride[2] = stride[1 if layout == FC_NHWC else 2] // item
    view.stride[3] = stride[2 if layout == FC_NHWC else 3] // item
    return view


cdef inline void *data_of(cnp.ndarray a):
    return NULL if a is None else cnp.PyArray_DATA(a)


include "output_memory.pxi"
include "conv_problem.pxi"
include "pool_problem.pxi"
include "lrn_problem.pxi"


def isa():
    """Return the instruction set in use."""
    return fc_isa().decode()


def isas_built():
    """Return the instruction sets this build has kernels for, narrowest first."""
    cdef const char *names[4]
    cdef int count = fc_isas_built(names)
    return [names[i].decode() for i in range(count)]


def isas_supported():
    """Return the instruction sets built that this CPU has, narrowest first."""
    return [name for name in isas_built() if fc_isa_supported(name.encode())]


def set_isa(str name):
    """Use the kernels of an instruction set; a wider one than the CPU's caps at what it has.

    Raises
    ------
    ValueError
        If no kernels of that name were built.
    """
    built = isas_built()
    if name not in built:
        raise ValueError(f"unknown instruction set {name!r}: this build has {', '.join(built)}")
    best = [i for i in built[: built.index(name) + 1] if fc_isa_supported(i.encode())][-1]
    fc_set_isa(best.encode())


def compiler():
    """Return the compiler of this build, with its version."""
    return FC_COMPILER.decode()


def openmp():
    """Return whether this build has OpenMP."""
    return bool(fc_openmp())


def max_threads():
    """Return OpenMP's own default number of threads."""
    return fc_max_threads()


def peak_gflops(str dtype, int threads):
    """Return the GFLOP/s of a loop of multiply-adds on registers, the limit of every kernel."""
    cdef fc_dtype t = FC_F32 if dtype == "float32" else FC_F64
    cdef double gflops
    with nogil:
        gflops = fc_peak_gflops(t, threads)
    return gflops


def start_phase_clock():
    """From here on add up how long the kernels of convolutions run; one caller in a process at a time."""
    fc_phase_clock_start()


def stop_phase_clock():
    """Return ticks of all threads together to pack or transform, to multiply and to store, and those since the start."""
    cdef uint64_t ticks[FC_PHASES]
    cdef uint64_t elapsed = fc_phase_clock_stop(ticks)
    return ticks[0], ticks[1], ticks[2], elapsed
