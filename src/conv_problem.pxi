"""Convolutions: one problem and its passes, weights that are held, and a forward pass that is ready but for images."""

cdef class PackedWeights:
    """One convolution's weights, packed for each algorithm when a call first takes it."""

    cdef fc_packed *packed

    def __cinit__(self):
        self.packed = fc_packed_new()
        if self.packed == NULL:
            raise MemoryError("no memory for packed weights")

    def __dealloc__(self):
        fc_packed_free(self.packed)


cdef class ConvProblem:
    """One 2-D convolution: the C struct ``fc_conv``. Immutable."""

    cdef fc_conv conv

    def __init__(self, cnp.dtype dtype, bint nhwc, Py_ssize_t n, Py_ssize_t c, Py_ssize_t h, Py_ssize_t w,
                 Py_ssize_t k, Py_ssize_t kh, Py_ssize_t kw, Py_ssize_t oh, Py_ssize_t ow, Py_ssize_t groups,
                 Py_ssize_t stride_h, Py_ssize_t stride_w, Py_ssize_t dilation_h, Py_ssize_t dilation_w,
                 Py_ssize_t pad_top, Py_ssize_t pad_bottom, Py_ssize_t pad_left, Py_ssize_t pad_right):
        self.conv = fc_conv(dtype_of(dtype), FC_NHWC if nhwc else FC_NCHW, n, c, h, w, k, kh, kw, oh, ow, groups,
                            stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_bottom, pad_left, pad_right)
        cdef fc_status status = fc_conv_check(&self.conv)
        if status != FC_OK:
            self.fail(status, "forward", "auto")

    cdef int fail(self, fc_status status, str operation, str algo) except -1:
        p = self.conv
        if status == FC_CANNOT_SERVE:
            refusal = fc_conv_refusal(&self.conv, operation_of(operation), PyUnicode_AsUTF8(algo))
            raise ValueError(f"algo={algo!r} cannot serve this problem: {refusal.decode()}")
        raise_for(status, f"convolution of a {p.n}x{p.c}x{p.h}x{p.w} input with {p.k} filters of {p.kh}x{p.kw}, stride "
                          f"({p.stride_h}, {p.stride_w}), dilation ({p.dilation_h}, {p.dilation_w}), padding "
                          f"(({p.pad_top}, {p.pad_bottom}), ({p.pad_left}, {p.pad_right}))")

    cpdef forward(self, cnp.ndarray x, cnp.ndarray w, cnp.ndarray b, cnp.ndarray y, bint relu, str algo, int threads,
                  PackedWeights packed):
        cdef fc_view view = view_of(x, self.conv.layout)
        cdef void *weights = data_of(w)
        cdef void *bias = data_of(b)
        cdef void *out = data_of(y)
        cdef fc_packed *panels = NULL if packed is None else packed.packed
        cdef const char *algorithm = PyUnicode_AsUTF8(algo)
        cdef fc_status status
        with nogil:
            status = fc_conv_forward(&self.conv, algorithm, view, weights, panels, bias, relu, out, threads)
        if status != FC_OK:
            self.fail(status, "forward", algo)

    def backward_input(self, cnp.ndarray dy, cnp.ndarray w, cnp.ndarray b, cnp.ndarray dx, str algo, int threads):
        cdef fc_view view = view_of(dy, self.conv.layout)
        cdef void *weights = data_of(w)
        cdef void *bias = data_of(b)
        cdef void *out = data_of(dx)
        cdef const char *algorithm = PyUnicode_AsUTF8(algo)
        cdef fc_status status
        with nogil:
            status = fc_conv_backward_input(&self.conv, algorithm, view, weights, bias, out, threads)
        if status != FC_OK:
            self.fail(status, "backward_input", algo)

    def backward_weight(self, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray dw, str algo, int threads):
        cdef fc_view dy_view = view_of(dy, self.conv.layout)
        cdef fc_view x_view = view_of(x, self.conv.layout)
        cdef void *out = data_of(dw)
        cdef const char *algorithm = PyUnicode_AsUTF8(algo)
        cdef fc_status status
        with nogil:
            status = fc_conv_backward_weight(&self.conv, algorithm, dy_view, x_view, out, threads)
        if status != FC_OK:
            self.fail(status, "backward_weight", algo)

    def backward_bias(self, cnp.ndarray dy, cnp.ndarray db, int threads):
        cdef fc_view view = view_of(dy, self.conv.layout)
        cdef void *out = data_of(db)
        cdef fc_status status
        with nogil:
            status = fc_conv_backward_bias(&self.conv, view, out, threads)
        if status != FC_OK:
            self.fail(status, "backward_weight", "auto")

    def algorithms(self, str operation, str algo, int threads):
        cdef fc_algorithm_record[FC_ALGORITHM_COUNT] records
        cdef fc_status status = fc_conv_algorithms(&self.conv, operation_of(operation), PyUnicode_AsUTF8(algo), threads,
                                                   records)
        if status != FC_OK:
            self.fail(status, operation, "auto")
        return [
            (r.name.decode(), r.variant.decode(), r.workspace, int(r.multiply_adds), r.cost, r.error_bound,
             bool(r.eligible), r.reason.decode())
            for r in records[:FC_ALGORITHM_COUNT]
        ]


cdef class HeldConv:
    """One convolution with weights that are held: of a call, the images alone are new."""

    cdef ConvProblem problem
    cdef cnp.ndarray w, b
    cdef PackedWeights packed
    cdef bint relu
    cdef int type_num
    cdef cnp.npy_intp x_shape[4]
    cdef readonly tuple y_shape
    cdef readonly cnp.dtype dtype

    def __init__(self, ConvProblem problem, tuple x_shape, cnp.ndarray w, cnp.ndarray b, PackedWeights packed,
                 bint relu, tuple y_shape, cnp.dtype dtype):
        self.problem, self.w, self.b, self.packed, self.relu = problem, w, b, packed, relu
        self.y_shape, self.dtype, self.type_num = y_shape, dtype, dtype.type_num
        for axis in range(4):
            self.x_shape[axis] = x_shape[axis]

    def fits(self, x):
        if not cnp.PyArray_CheckExact(x):
            return False
        cdef cnp.ndarray a = x
        return (cnp.PyArray_TYPE(a) == self.type_num and cnp.PyArray_NDIM(a) == 4 and cnp.PyArray_ISCARRAY_RO(a) and
                memcmp(cnp.PyArray_DIMS(a), self.x_shape, sizeof(self.x_shape)) == 0)

    def forward(self, cnp.ndarray x, cnp.ndarray y, str algo, int threads):
        if y is None:
            y = empty(self.y_shape, self.dtype)
        self.problem.forward(x, self.w, self.b, y, self.relu, algo, threads, self.packed)
        return y


cdef fc_operation operation_of(str name) except *:
    if name == "forward":
        return FC_FORWARD
    return FC_BACKWARD_INPUT if name == "backward_input" else FC_BACKWARD_WEIGHT
