"""Linear algebra in one thread: there, and nowhere else."""

import threading
from concurrent.futures import ThreadPoolExecutor

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


def test_of_two_threads_neither_leaves_the_limit_of_the_other():
    """The first to come is the first to go, which without a lock would leave one thread for good."""
    outside, second = blas_threads(), threading.Event()

    @in_one_thread
    def first():
        second.wait(0.2)  # until the other has begun, if it can

    @in_one_thread
    def other():
        second.set()
        threading.Event().wait(0.2)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(other)]:
            done.result()
    assert blas_threads() == outside
