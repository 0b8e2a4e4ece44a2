"""Workers share the cores of their parent."""

import os
import subprocess
import sys

import pytest

from scoresample.products.workers import shares_of_cores, work_on


def cores_of(common, item):
    """Return which cores a worker keeps to."""
    return sorted(os.sched_getaffinity(0))


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="the system does not tell which cores are its"
)
def test_workers_keep_to_cores_of_their_own():
    mine = os.sched_getaffinity(0)
    for workers in (1, 2, len(mine), len(mine) + 1):
        assert set.union(*shares_of_cores(workers)) == mine
    if len(mine) < 2:
        pytest.skip("there is one core")
    found = list(work_on(cores_of, None, range(6), 2))
    assert {tuple(cores) for cores in found} <= {tuple(sorted(share)) for share in shares_of_cores(2)}
    assert all(len(cores) < len(mine) for cores in found)


THREADS = """
import os
import jax
from scoresample.products.workers import keep_to
jax.numpy.ones(3).block_until_ready()  # XLA has its threads now
first = min(os.sched_getaffinity(0))
HOW
tasks = [int(thread) for thread in os.listdir("/proc/self/task")]
print(*sorted(set().union(*map(os.sched_getaffinity, tasks))), first)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="the system does not list threads")
def test_threads_that_xla_has_already_keep_to_those_cores_too():
    """Those of a process whose imports began them; set for the process alone, they stay on all cores."""

    def cores_after(how):
        command = [sys.executable, "-c", THREADS.replace("HOW", how)]
        *cores, first = map(
            int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        )
        return set(cores), first

    cores, first = cores_after("keep_to({first})")
    assert cores == {first}
    if len(os.sched_getaffinity(0)) > 1:
        assert len(cores_after("os.sched_setaffinity(0, {first})")[0]) > 1
