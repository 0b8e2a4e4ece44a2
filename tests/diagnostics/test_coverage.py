"""Coverage, pulls, ranks and scores of posteriors that are right, and of those that are wrong in known ways."""

import numpy as np
import pytest
import scipy.stats

from scoresample.diagnostics.coverage import (
    coverage,
    crps,
    mean_over_scenes,
    pit,
    pull_mean,
    pull_width,
    uniformity,
)

SCENES, QUANTITIES, DRAWS = 400, 3, 200


@pytest.fixture
def simulate(seed_shift):
    """Give pits, pulls and scores over scenes: truth from N(0, 1), data with noise sd, posterior changed as asked."""

    def one(*, wider=1.0, shifted=0.0, sd=0.5, seed=1):
        rng = np.random.default_rng(seed + seed_shift)
        truth = rng.normal(size=(SCENES, QUANTITIES))
        data = truth + sd * rng.normal(size=truth.shape)
        mean, spread = data / (1 + sd**2), sd / np.sqrt(1 + sd**2)
        draws = (
            mean[..., None] + shifted * spread + wider * spread * rng.normal(size=(SCENES, QUANTITIES, DRAWS))
        )
        pits = np.array(
            [pit(t, d, rng) for t, d in zip(truth.ravel(), draws.reshape(-1, DRAWS), strict=True)]
        )
        scores = [crps(t, d) for t, d in zip(truth.ravel(), draws.reshape(-1, DRAWS), strict=True)]
        pulls = (draws.mean(axis=2) - truth) / draws.std(axis=2)
        return pits.reshape(truth.shape), pulls, np.array(scores)

    return one


def test_a_right_posterior_has_uniform_pits_and_covers_as_it_says(simulate):
    pits, pulls, scores = simulate()
    assert min(uniformity(column) for column in pits.T) > 1e-4
    for level in (0.68, 0.95):
        found = coverage(pits, level)
        assert abs(found.value - level) < 5 * found.error
        assert found.error == pytest.approx(np.sqrt(level * (1 - level) / pits.size), rel=0.2)
    assert abs(pull_mean(pulls).value) < 5 * pull_mean(pulls).error
    assert abs(pull_width(pulls).value - 1) < 5 * pull_width(pulls).error
    excess = scores[:, 0] - scores[:, 1]
    assert abs(excess.mean()) < 5 * excess.std() / np.sqrt(len(excess))


@pytest.mark.parametrize("wrong", [{"wider": 0.7}, {"wider": 1.4}])
def test_errors_that_are_too_small_or_too_large_are_seen(simulate, wrong):
    pits, pulls, _ = simulate(**wrong)
    assert max(uniformity(column) for column in pits.T) < 1e-4
    assert coverage(pits, 0.68).p_value < 1e-4
    assert pull_width(pulls).value == pytest.approx(1 / wrong["wider"], rel=0.1)
    assert pull_width(pulls).p_value < 1e-4
    assert pull_mean(pulls).p_value > 1e-4


def test_a_bias_is_seen(simulate):
    pits, pulls, scores = simulate(shifted=0.5)
    assert max(uniformity(column) for column in pits.T) < 1e-4
    assert pull_mean(pulls).value == pytest.approx(0.5, abs=5 * pull_mean(pulls).error)
    assert pull_mean(pulls).p_value < 1e-6
    assert scores[:, 0].mean() > 1.05 * scores[:, 1].mean()


def test_a_pit_is_the_share_of_draws_below_the_truth(seed_shift):
    rng = np.random.default_rng(seed_shift)
    assert 3 / 6 < pit(2.5, np.arange(5.0), rng) < 4 / 6
    assert pit(-1.0, np.arange(5.0), rng) < 1 / 6


def test_the_score_of_a_gaussian_is_that_of_the_formula(seed_shift):
    """Gneiting & Raftery (2007), eq. 5, for the standard normal; its mean absolute difference is 2 / sqrt(pi)."""
    draws = scipy.stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    for truth in (-1.3, 0.0, 2.0):
        normal = scipy.stats.norm
        exact = truth * (2 * normal.cdf(truth) - 1) + 2 * normal.pdf(truth) - 1 / np.sqrt(np.pi)
        score, expected = crps(truth, draws)
        assert score == pytest.approx(exact, abs=1e-3)
        assert expected == pytest.approx(1 / np.sqrt(np.pi), abs=1e-3)


def test_values_of_one_scene_that_go_together_count_once(seed_shift):
    rng = np.random.default_rng(3 + seed_shift)
    alone = rng.normal(size=(SCENES, 1))
    error = mean_over_scenes(alone, 0.0, 0.5).error
    assert mean_over_scenes(np.repeat(alone, 9, axis=1), 0.0, 0.5).error == pytest.approx(error)
    independent = mean_over_scenes(rng.normal(size=(SCENES, 9)), 0.0, 0.5).error
    assert independent == pytest.approx(error / 3, rel=0.2)


def test_values_that_do_not_count_change_nothing_and_scenes_that_agree_have_an_error_still(seed_shift):
    rng = np.random.default_rng(4 + seed_shift)
    values = rng.normal(size=(50, 2))
    gaps = np.concatenate([values, np.full((50, 3), np.nan)], axis=1)
    assert mean_over_scenes(gaps, 0.0, 1.0) == pytest.approx(mean_over_scenes(values, 0.0, 1.0))
    same = mean_over_scenes(np.ones((10, 1)), 0.95, 0.3)
    assert same.error == pytest.approx(0.3 / np.sqrt(10))
    assert np.isnan(mean_over_scenes(np.ones((1, 4)), 1.0, 1.0)).all()


def test_p_values_of_right_posteriors_are_spread_evenly(seed_shift):
    """A small p-value is as rare as it says: over many sets of 60 uniform values, and of 30 scenes of pulls."""
    rng = np.random.default_rng(5 + seed_shift)
    small = np.mean([uniformity(rng.uniform(size=60)) < 0.05 for _ in range(400)])
    assert small < 0.05 + 5 * np.sqrt(0.05 * 0.95 / 400)
    small = np.mean([pull_width(rng.normal(size=(30, 4))).p_value < 0.05 for _ in range(400)])
    assert small < 0.05 + 5 * np.sqrt(0.05 * 0.95 / 400)
