"""Local response normalisation, forward and backward."""

cdef fc_lrn lrn_of(cnp.ndarray x, bint nhwc, Py_ssize_t size, double alpha, double beta, double k):
    cdef cnp.npy_intp *shape = cnp.PyArray_DIMS(x)
    return fc_lrn(dtype_of(x.dtype), FC_NHWC if nhwc else FC_NCHW, shape[0], shape[3 if nhwc else 1],
                  shape[1 if nhwc else 2], shape[2 if nhwc else 3], size, alpha, beta, k)


def lrn_forward(cnp.ndarray x, cnp.ndarray y, bint nhwc, Py_ssize_t size, double alpha, double beta, double k,
                int threads):
    cdef fc_lrn lrn = lrn_of(x, nhwc, size, alpha, beta, k)
    cdef fc_view view = view_of(x, lrn.layout)
    cdef void *out = data_of(y)
    cdef fc_status status
    with nogil:
        status = fc_lrn_forward(&lrn, view, out, threads)
    if status != FC_OK:
        raise_for(status, f"normalisation of a {lrn.n}x{lrn.c}x{lrn.h}x{lrn.w} input")


def lrn_backward(cnp.ndarray dy, cnp.ndarray x, cnp.ndarray dx, bint nhwc, Py_ssize_t size, double alpha, double beta,
                 double k, int threads):
    cdef fc_lrn lrn = lrn_of(x, nhwc, size, alpha, beta, k)
    cdef fc_view dy_view = view_of(dy, lrn.layout)
    cdef fc_view x_view = view_of(x, lrn.layout)
    cdef void *out = data_of(dx)
    cdef fc_status status
    with nogil:
        status = fc_lrn_backward(&lrn, dy_view, x_view, out, threads)
    if status != FC_OK:
        raise_for(status, f"normalisation of a {lrn.n}x{lrn.c}x{lrn.h}x{lrn.w} input")
