"""Linear algebra in one thread."""

from threadpoolctl import threadpool_limits

in_one_thread = threadpool_limits.wrap(limits=1, user_api="blas")
"""Decorates a function whose numpy and scipy products and factorizations shall not start threads.

Threads of the library behind them wait for each other in loops that hold the processor. On 2 cores beside other work,
that of compiled code included, a factorization of 961 x 961 took up to 2 s, where one thread takes 0.02 s.
"""
