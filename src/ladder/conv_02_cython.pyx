"""Step 2: seven loops in Cython.

The loops of step 0, with C types for the variables and typed views for the arrays. What was a call of the interpreter for
each index, product and sum is now a machine instruction each. Included by ladder.pyx.
"""


def conv_02_cython(const float[:, :, :, ::1] x, const float[:, :, :, ::1] w, float[:, :, :, ::1] y, d):
    cdef Py_ssize_t n, k, i, j, c, r, s, row, column
    cdef Py_ssize_t u = d.u, v = d.v, p = d.p, q = d.q
    cdef float total
    for n in range(x.shape[0]):
        for k in range(w.shape[0]):
            for i in range(y.shape[2]):
                for j in range(y.shape[3]):
                    total = 0
                    for c in range(x.shape[1]):
                        for r in range(w.shape[2]):
                            for s in range(w.shape[3]):
                                row, column = i * u + r - p, j * v + s - q
                                if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                                    total += x[n, c, row, column] * w[k, c, r, s]
                    y[n, k, i, j] = total
