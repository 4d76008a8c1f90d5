"""Pools: one problem, its maximum and its mean, forward and backward."""

cdef class PoolProblem:
    """One 2-D pooling: the C struct ``fc_pool``. Immutable."""

    cdef fc_pool pool

    def __init__(self, cnp.dtype dtype, bint nhwc, Py_ssize_t n, Py_ssize_t c, Py_ssize_t h, Py_ssize_t w,
                 Py_ssize_t kh, Py_ssize_t kw, Py_ssize_t oh, Py_ssize_t ow, Py_ssize_t stride_h, Py_ssize_t stride_w,
                 Py_ssize_t dilation_h, Py_ssize_t dilation_w, Py_ssize_t pad_top, Py_ssize_t pad_bottom,
                 Py_ssize_t pad_left, Py_ssize_t pad_right):
        self.pool = fc_pool(dtype_of(dtype), FC_NHWC if nhwc else FC_NCHW, n, c, h, w, kh, kw, oh, ow, stride_h,
                            stride_w, dilation_h, dilation_w, pad_top, pad_bottom, pad_left, pad_right)
        cdef fc_status status = fc_pool_check(&self.pool)
        if status != FC_OK:
            self.fail(status)

    cdef int fail(self, fc_status status) except -1:
        p = self.pool
        raise_for(status, f"pooling of a {p.n}x{p.c}x{p.h}x{p.w} input with windows of {p.kh}x{p.kw}, stride "
                          f"({p.stride_h}, {p.stride_w}), dilation ({p.dilation_h}, {p.dilation_w}), padding "
                          f"(({p.pad_top}, {p.pad_bottom}), ({p.pad_left}, {p.pad_right}))")

    def max_forward(self, cnp.ndarray x, cnp.ndarray y, cnp.ndarray indices, int threads):
        cdef fc_view view = view_of(x, self.pool.layout)
        cdef void *out = data_of(y)
        cdef void *index = data_of(indices)
        cdef fc_status status
        with nogil:
            status = fc_max_pool_forward(&self.pool, view, out, <int64_t *>index, threads)
        if status != FC_OK:
            self.fail(status)

    def max_backward(self, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray indices, cnp.ndarray dx, int threads):
        cdef fc_view dy_view = view_of(dy, self.pool.layout)
        cdef fc_view x_view = dy_view if x is None else view_of(x, self.pool.layout)
        cdef void *index = data_of(indices)
        cdef void *out = data_of(dx)
        cdef fc_status status
        with nogil:
            status = fc_max_pool_backward(&self.pool, dy_view, x_view, <const int64_t *>index, out, threads)
        if status == FC_BAD_INDEX:
            raise ValueError(f"indices must lie in [0, {self.pool.h * self.pool.w}), the pixels of a plane, but range "
                             f"from {indices.min()} to {indices.max()}")
        if status != FC_OK:
            self.fail(status)

    def avg_forward(self, cnp.ndarray x, cnp.ndarray y, bint count_include_pad, int threads):
        cdef fc_view view = view_of(x, self.pool.layout)
        cdef void *out = data_of(y)
        cdef fc_status status
        with nogil:
            status = fc_avg_pool_forward(&self.pool, view, count_include_pad, out, threads)
        if status != FC_OK:
            self.fail(status)

    def avg_backward(self, cnp.ndarray dy, cnp.ndarray dx, bint count_include_pad, int threads):
        cdef fc_view view = view_of(dy, self.pool.layout)
        cdef void *out = data_of(dx)
        cdef fc_status status
        with nogil:
            status = fc_avg_pool_backward(&self.pool, view, count_include_pad, out, threads)
        if status != FC_OK:
            self.fail(status)
