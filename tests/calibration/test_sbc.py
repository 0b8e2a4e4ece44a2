"""Ranks of the truth are uniform for every flux; error bars that are too narrow would be seen."""

import jax
import numpy as np
import pandas as pd
import pytest

from benchmarks import calibration
from scoresample.diagnostics.coverage import uniformity

LEAST_P = 1e-3
LEAST_DRAWS = 100
"""Effective draws of the worst scene."""


@pytest.fixture(scope="module", params=["gaussian", "log-gaussian", "profile"])
def prior(request):
    return request.param


@pytest.fixture(scope="module")
def ranks(prior):
    """The stored ranks of 100 scenes or more, made by ``python benchmarks/calibration.py``."""
    return pd.read_csv(calibration.STORED[prior])


def smallest(ranks, names):
    """Return the smallest p-value that ranks are uniform, times the number of tests."""
    return min(uniformity(ranks[name].to_numpy()) for name in names) * len(names)


def check(ranks):
    names = [name for name in ranks.columns if "[" in name]
    fluxes = [name for name in names if name.startswith("flux")]
    assert len(fluxes) == 6
    assert smallest(ranks, [name for name in names if not name.startswith("narrow")]) > LEAST_P
    # Errors 30 % too small would be seen.
    assert smallest(ranks, [f"narrow {name}" for name in fluxes]) < LEAST_P


def test_stored_ranks_are_uniform(ranks):
    assert len(ranks) >= 100 and list(ranks["seed"]) == list(range(len(ranks)))
    assert ranks["r_hat"].max() < 1.05 and ranks["ess"].min() > LEAST_DRAWS
    check(ranks)


@pytest.mark.skipif(jax.config.jax_enable_x64, reason="random numbers are others in double precision")
def test_a_scene_has_the_stored_ranks_still(ranks, prior):
    """One scene made anew: its ranks are those stored, but for the Monte-Carlo error of a thousand draws."""
    again, stored = calibration.rank_scene(0, prior), ranks.iloc[0]
    names = [name for name in ranks.columns if "[" in name]
    assert max(abs(again[name] - stored[name]) for name in names) < 5 * 0.5 / np.sqrt(ranks["ess"].iloc[0])


@pytest.mark.slow
def test_ranks_of_new_scenes_are_uniform(seed_shift, prior):
    rows = [calibration.rank_scene(1000 + 1000 * seed_shift + k, prior) for k in range(100)]
    check(pd.DataFrame(rows))
