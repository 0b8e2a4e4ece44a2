"""p-values of discrepancies are how often noise has larger ones."""

import numpy as np
import pytest

from scoresample.diagnostics.discrepancies import autocorrelation, chi_square, largest, neighbour_correlation

SHAPE = (12, 14)


@pytest.fixture
def seen():
    """Pixels with data: not all."""
    mask = np.ones(SHAPE, bool)
    mask[4:7, 3:9] = False
    return mask


@pytest.fixture
def noise(seed_shift):
    """Replicated residuals of many draws."""
    return np.random.default_rng(5 + seed_shift).normal(size=(4000, *SHAPE))


def all_three(residual, seen):
    flat = residual[:, seen]
    return {"chi2": chi_square(flat), "largest": largest(flat), "near": neighbour_correlation(residual, seen)}


@pytest.mark.parametrize("name", ["chi2", "largest", "near"])
def test_of_noise_the_p_values_are_uniform_and_the_formulas_those_of_replicated_data(noise, seen, name):
    found = all_three(noise, seen)[name]
    order = np.argsort(found.value)[::-1]
    # The share of noise that is larger than each, and what the formula says.
    share = (np.arange(len(noise)) + 0.5) / len(noise)
    assert np.abs(found.larger[order] - share).max() < 1.95 / np.sqrt(
        len(noise)
    )  # 0.1 % of Kolmogorov-Smirnov


@pytest.mark.parametrize("name", ["chi2", "largest", "near"])
def test_that_test_sees_wrong_formulas(noise, seen, name):
    wrong = all_three(1.05 * noise if name != "near" else noise + 0.3, seen)[name]
    share = (np.arange(len(noise)) + 0.5) / len(noise)
    assert np.abs(np.sort(wrong.larger) - share).max() > 1.95 / np.sqrt(len(noise))


def test_p_values_of_both_sides(noise, seen):
    small = chi_square(0.7 * noise[:, seen])
    assert small.p_value > 0.95 and small.p_two_sided < 0.1
    assert chi_square(1.4 * noise[:, seen]).p_two_sided == 2 * chi_square(1.4 * noise[:, seen]).p_value


def test_pixels_without_data_count_for_nothing(noise, seen):
    hidden = np.where(seen, noise, 1e6)
    np.testing.assert_array_equal(
        neighbour_correlation(hidden, seen).value, neighbour_correlation(noise, seen).value
    )
    np.testing.assert_allclose(autocorrelation(hidden[0], seen, 3), autocorrelation(noise[0], seen, 3))


def test_the_autocorrelation_is_the_sum_over_pairs(noise, seen):
    r = np.where(seen, noise[0], 0)
    found = autocorrelation(noise[0], seen, 3)
    assert found.shape == (7, 7) and found[3, 3] == pytest.approx(1)
    pairs = seen[2:, :-1] & seen[:-2, 1:]
    expected = np.sum(r[2:, :-1] * r[:-2, 1:]) / pairs.sum() / (np.sum(r**2) / seen.sum())
    assert found[3 + 2, 3 - 1] == pytest.approx(expected) == pytest.approx(found[3 - 2, 3 + 1])
    near = neighbour_correlation(noise[:1], seen).value[0]
    vertical, horizontal = ((seen[1:] & seen[:-1]).sum(), (seen[:, 1:] & seen[:, :-1]).sum())
    together = (found[4, 3] * vertical + found[3, 4] * horizontal) / (vertical + horizontal)
    assert near == pytest.approx(together)


def test_nothing_seen_and_single_pixels_give_nan():
    none = np.zeros(SHAPE, bool)
    assert np.isnan(autocorrelation(np.ones(SHAPE), none, 2)).all()
    lonely = none.copy()
    lonely[2, 2] = True
    assert np.isnan(neighbour_correlation(np.ones((3, *SHAPE)), lonely).value).all()
