"""Linear algebra in one thread: there, and nowhere else."""

import numpy as np
from threadpoolctl import threadpool_info

from scoresample.numerics.threads import in_one_thread


def blas_threads():
    assert np.linalg.det(np.eye(2)) == 1  # its library is there
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_a_decorated_function_has_one_thread_and_leaves_the_rest_as_it_was():
    outside = blas_threads()
    assert set(in_one_thread(blas_threads)()) == {1}
    assert blas_threads() == outside
