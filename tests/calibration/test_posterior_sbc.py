"""With a network as the prior, ranks of the truth are uniform by its value and by its score alone."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import posterior_calibration as study
from scoresample.diagnostics.coverage import uniformity

LEAST_P = 1e-3


@pytest.fixture(scope="module", params=study.PATHS)
def ranks(request):
    """The stored ranks, made by ``python -m benchmarks.posterior_calibration``."""
    rows = pd.read_csv(study.STORED)
    return rows[rows["path"] == request.param].reset_index(drop=True)


def smallest(ranks, names):
    """Return the smallest p-value that ranks are uniform, times the number of tests."""
    return min(uniformity(ranks[name].to_numpy()) for name in names) * len(names)


def test_stored_ranks_are_uniform(ranks):
    assert list(ranks["seed"]) == list(range(study.NUM_SCENES))
    # One scene of 64 does not mix in 2,000 draws by the value, and is counted all the same.
    mixed = (ranks["r_hat"] < 1.05) & (ranks["ess"] >= study.LEAST_ESS)
    assert np.sum(~mixed) <= 1
    names = [name for name in ranks.columns if "[" in name and not name.startswith("narrow")]
    assert len(names) == 6 + 2 + 2 + 2  # fluxes, backgrounds, light of the images, center of the star
    assert smallest(ranks, names) > LEAST_P


def test_errors_that_are_too_small_would_be_seen(ranks):
    narrow = [name for name in ranks.columns if name.startswith("narrow")]
    assert smallest(ranks, narrow) < LEAST_P


def test_both_paths_saw_the_same_scenes_and_drew_anew():
    one, other = (part for _, part in pd.read_csv(study.STORED).groupby("path", sort=False))
    names = [name for name in one.columns if name.startswith("flux")]
    off = one[names].to_numpy() - other[names].to_numpy()
    assert 0 < np.sqrt(np.mean(off**2)) < 0.1  # of independent truths 0.41
