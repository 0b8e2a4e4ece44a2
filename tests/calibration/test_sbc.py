"""Ranks of the truth are uniform for every flux; error bars that are too narrow would be seen."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from benchmarks import calibration

NUM_BINS = 10
LEAST_P = 1e-3


def uniformity(ranks, names):
    """Return the smallest p-value that ranks are uniform, by counts in bins and by width, times the number of tests."""
    smallest = []
    for name in names:
        values = ranks[name].to_numpy()
        counts, _ = np.histogram(values, NUM_BINS, (0, 1))
        z = scipy.stats.norm.ppf(np.clip(values, 1e-3, 1 - 1e-3))
        width = scipy.stats.chi2(len(z)).cdf(np.sum(z**2))
        smallest += [
            scipy.stats.chisquare(counts).pvalue,
            scipy.stats.kstest(values, "uniform").pvalue,
            2 * min(width, 1 - width),
        ]
    return min(smallest) * len(smallest)


def check(ranks):
    names = [name for name in ranks.columns if "[" in name]
    fluxes = [name for name in names if name.startswith("flux")]
    assert len(fluxes) == 6
    assert uniformity(ranks, [name for name in names if not name.startswith("narrow")]) > LEAST_P
    assert (
        uniformity(ranks, [f"narrow {name}" for name in fluxes]) < LEAST_P
    )  # errors 30 % too small are seen


@pytest.mark.slow
def test_ranks_of_new_scenes_are_uniform(seed_shift):
    rows = [calibration.rank_scene(1000 + 1000 * seed_shift + k) for k in range(100)]
    check(pd.DataFrame(rows))
