"""Diagnostics of many pixels at once are those of arviz_stats, one at a time."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from scoresample.diagnostics.pixelwise import BLOCK, pixel_diagnostics


def autoregressive(rng, num_chains, num_draws, num_pixels, correlation):
    """Chains of a first-order process of unit innovations, (chain, draw, pixel)."""
    x = rng.normal(size=(num_chains, num_draws, num_pixels))
    for i in range(1, num_draws):
        x[:, i] += correlation * x[:, i - 1]
    return x


@pytest.mark.parametrize(
    ("num_chains", "num_draws", "correlation"),
    [(4, 200, 0.9), (4, 201, 0.3), (2, 100, -0.5), (4, 300, 0.995), (2, 60, 0.0)],
)
def test_agrees_with_arviz_stats(num_chains, num_draws, correlation, seed_shift):
    rng = np.random.default_rng(5 + seed_shift)
    draws = autoregressive(rng, num_chains, num_draws, 12, correlation)
    draws[:, 1:-1:4] = draws[:, :-2:4]  # rejected moves: equal draws in a row
    found = pixel_diagnostics(draws)
    axes = {"chain_axis": 0, "draw_axis": 1}
    np.testing.assert_allclose(found.r_hat, array_stats.rhat(draws, **axes), rtol=1e-10)
    np.testing.assert_allclose(found.ess_bulk, array_stats.ess(draws, **axes), rtol=1e-10)
    tail = array_stats.ess(draws, method="tail", prob=(0.05, 0.95), **axes)
    np.testing.assert_allclose(found.ess_tail, tail, rtol=1e-10)


def test_blocks_do_not_matter(seed_shift):
    draws = np.random.default_rng(seed_shift).normal(size=(2, 20, BLOCK + 3)).astype(np.float32)
    together, last = pixel_diagnostics(draws), pixel_diagnostics(draws[:, :, BLOCK:])
    for a, b in zip(together, last, strict=True):
        assert a.shape == (BLOCK + 3,)
        np.testing.assert_array_equal(a[BLOCK:], b)


def test_what_cannot_be_computed_is_nan_and_touches_nothing_else(seed_shift):
    draws = np.random.default_rng(seed_shift).normal(size=(3, 50, 4))
    alone = pixel_diagnostics(draws)
    draws[:, :, 1] = 2.5
    draws[1, 7, 2] = np.nan
    for values, before in zip(pixel_diagnostics(draws), alone, strict=True):
        np.testing.assert_array_equal(np.isnan(values), [False, True, True, False])
        np.testing.assert_array_equal(values[[0, 3]], before[[0, 3]])


def test_one_chain_has_no_r_hat(seed_shift):
    found = pixel_diagnostics(np.random.default_rng(seed_shift).normal(size=(1, 50, 3)))
    assert np.isnan(found.r_hat).all()
    assert np.isfinite(found.ess_bulk).all()


@pytest.mark.parametrize("num_draws", [0, 1, 3])
def test_too_few_draws_are_nan(num_draws):
    found = pixel_diagnostics(np.arange(4.0 * num_draws).reshape(2, num_draws, 2))
    assert all(np.isnan(values).all() for values in found)


def test_a_stuck_chain_is_seen(seed_shift):
    draws = np.random.default_rng(seed_shift).normal(size=(4, 200, 2))
    draws[0, :, 1] += 3
    r_hat = pixel_diagnostics(draws).r_hat
    assert r_hat[0] < 1.05 < 1.3 < r_hat[1]
