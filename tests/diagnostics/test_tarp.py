"""TARP sees what ranks of single quantities cannot: correlations."""

import numpy as np
import pytest

from scoresample.diagnostics.coverage import pit, uniformity
from scoresample.diagnostics.tarp import tarp, tarp_value

SCENES, DRAWS, QUANTITIES, CORRELATION = 400, 300, 5, 0.9


@pytest.fixture
def simulate(seed_shift):
    """Give TARP values and pits of correlated quantities with a posterior changed as asked."""

    def one(*, correlation=CORRELATION, wider=1.0, shifted=0.0, seed=1):
        rng = np.random.default_rng(seed + seed_shift)
        root = lambda c: np.linalg.cholesky(c + (1 - c) * np.eye(QUANTITIES))
        values, pits = [], []
        for _ in range(SCENES):
            mean = 10 * rng.normal(size=QUANTITIES)
            truth = mean + root(CORRELATION) @ rng.normal(size=QUANTITIES)
            draws = mean + shifted + wider * rng.normal(size=(DRAWS, QUANTITIES)) @ root(correlation).T
            values.append(tarp_value(truth, draws, rng))
            pits.append([pit(t, d, rng) for t, d in zip(truth, draws.T, strict=True)])
        return np.array(values), np.array(pits)

    return one


def test_a_right_posterior_is_on_the_diagonal(simulate):
    values, _ = simulate()
    found = tarp(values)
    assert found.p_value > 1e-4
    assert np.abs(found.coverage - found.level).max() < 5 * 0.5 / np.sqrt(SCENES)


def test_a_correlation_that_is_missed_is_seen_by_tarp_alone(simulate):
    values, pits = simulate(correlation=0.0)
    assert tarp(values).p_value < 1e-4
    assert min(uniformity(column) for column in pits.T) > 1e-4


@pytest.mark.parametrize("wrong", [{"wider": 0.7}, {"wider": 1.4}, {"shifted": 0.7}])
def test_wrong_widths_and_biases_are_seen(simulate, wrong):
    assert tarp(simulate(**wrong)[0]).p_value < 1e-4


def test_quantities_that_do_not_vary_are_left_out(seed_shift):
    rng, again = (np.random.default_rng(7 + seed_shift) for _ in range(2))
    draws = rng.normal(size=(50, 3))
    draws[:, 1] = 4.0
    value = tarp_value(np.array([0.1, 4.0, 0.2]), draws, rng)
    again.normal(size=(50, 3))
    assert value == tarp_value(np.array([0.1, 9.0, 0.2]), draws, again)


def test_no_scene_is_no_verdict():
    assert np.isnan(tarp(np.zeros(0)).p_value)
