"""Workers share the cores of their parent."""

import os

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
