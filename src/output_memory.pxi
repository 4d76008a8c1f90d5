"""Arrays whose memory earlier ones had: NumPy allocates large outputs in the blocks of output_blocks.c."""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

cdef extern from "fastconv.h":
    void *fc_output_take(size_t bytes)
    void *fc_output_resize(void *block, size_t bytes)
    void fc_output_give(void *block)

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyDataMemAllocator:
        void *ctx
        void *(*malloc)(void *ctx, size_t bytes) noexcept
        void *(*calloc)(void *ctx, size_t count, size_t bytes) noexcept
        void *(*realloc)(void *ctx, void *data, size_t bytes) noexcept
        void (*free)(void *ctx, void *data, size_t bytes) noexcept
    ctypedef struct PyDataMem_Handler:
        char name[127]
        uint8_t version
        PyDataMemAllocator allocator
    object PyDataMem_SetHandler(object handler)


cdef void *take_output(void *ctx, size_t bytes) noexcept:
    return fc_output_take(bytes)


cdef void *take_zeros(void *ctx, size_t count, size_t bytes) noexcept:
    cdef void *data = NULL if bytes and count > (<size_t>-1) // bytes else fc_output_take(count * bytes)
    if data != NULL:
        memset(data, 0, count * bytes)
    return data


cdef void *resize_output(void *ctx, void *data, size_t bytes) noexcept:
    return fc_output_resize(data, bytes)


cdef void give_output(void *ctx, void *data, size_t bytes) noexcept:
    fc_output_give(data)


cdef enum:
    LARGE_OUTPUT = 4 << 20  # from here on NumPy's own pages are new at each call, or may be

cdef PyDataMem_Handler output_handler
memcpy(output_handler.name, b"fastconv_outputs", 17)
output_handler.version = 1
output_handler.allocator = PyDataMemAllocator(NULL, take_output, take_zeros, resize_output, give_output)
cdef object output_memory = PyCapsule_New(&output_handler, "mem_handler", NULL)


cpdef cnp.ndarray empty(tuple shape, cnp.dtype dtype):
    """Return a new array whose elements are not set; large ones in memory that earlier ones had."""
    cdef cnp.npy_intp dims[4]
    cdef double size = cnp.PyDataType_ELSIZE(dtype)
    cdef int axis, axes = len(shape)
    try:
        for axis in range(axes):
            dims[axis] = shape[axis]
            size *= dims[axis]
    except OverflowError:
        raise ValueError(f"an array of shape {shape} is too large to be addressed") from None
    if size < LARGE_OUTPUT:
        return cnp.PyArray_EMPTY(axes, dims, dtype.type_num, 0)
    before = PyDataMem_SetHandler(output_memory)
    try:
        return cnp.PyArray_EMPTY(axes, dims, dtype.type_num, 0)
    finally:
        PyDataMem_SetHandler(before)
