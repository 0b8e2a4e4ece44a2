"""Energies from the score alone: the same posterior as with the density, where wrong energies give another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.density.base import Density
from scoresample.errors import ConfigError, ScoreOnlyError
from scoresample.samplers import energies
from scoresample.samplers.energies import QUADRATURES, Quadrature, ValueTarget, WorkTarget
from scoresample.samplers.hmc import HMC, MALA, NUTS
from scoresample.samplers.run import sample

SIZE = 10


def log_prior(x):
    """Gamma(2) variables, in their logarithm."""
    return jnp.sum(2 * x - jnp.exp(x))


def log_likelihood(x):
    return -0.5 * jnp.sum((x - 1.0) ** 2)


def log_prob(x):
    return log_prior(x) + log_likelihood(x)


def moments():
    """Mean and standard deviation of one coordinate, by quadrature."""
    x = np.linspace(-12, 6, 200_001)
    weight = np.exp(2 * x - np.exp(x) - 0.5 * (x - 1.0) ** 2)
    weight /= weight.sum()
    mean = weight @ x
    return mean, np.sqrt(weight @ (x - mean) ** 2)


SCORE_ONLY = Density(log_prob=log_likelihood, score=jax.grad(log_prior))


def deviations(draws, errors_of_mean):
    """Of mean and of mean square deviation, over all coordinates, in their Monte-Carlo errors."""
    mean, sd = moments()
    x = np.asarray(draws.position, float)
    found = []
    for values, truth in ((x, mean), ((x - mean) ** 2, sd**2)):
        average, error, _ = errors_of_mean(values)
        found.append((average.mean() - truth) / (np.sqrt(np.mean(error**2) / SIZE)))
    return np.abs(found)


def run(key, density, sampler, num_draws):
    return sample(
        key, density, sampler, start=jnp.zeros(SIZE), num_chains=4, num_warmup=400, num_draws=num_draws,
        progress=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sampler", "num_draws"),
    [
        (NUTS(), 2000),
        (NUTS(quadrature="gauss2"), 2000),
        (HMC(), 3000),
        (HMC(quadrature="chord"), 3000),
        (HMC(integrator="two_stage"), 3000),
        (MALA(), 8000),
    ],
    ids=["NUTS", "NUTS gauss2", "HMC", "HMC chord", "HMC two stages", "MALA"],
)
def test_samplers_are_right_without_the_value_of_the_prior(key, errors_of_mean, sampler, num_draws):
    draws = run(key, SCORE_ONLY, sampler, num_draws)
    assert draws.settings["sampler"]["energy"] == "line_integral"
    assert (deviations(draws, errors_of_mean) < 5).all()


def test_they_take_the_steps_they_take_with_the_value(key):
    # Step sizes of single warm-ups scatter, and acceptance with them: means of twelve.
    steps, acceptance, last = np.empty((2, 12)), np.empty((2, 12)), []
    for row, density in enumerate((SCORE_ONLY, Density(log_prob=log_prob))):
        for turn in range(12):
            draws = run(jax.random.fold_in(key, turn), density, NUTS(), 500)
            steps[row, turn] = draws.settings["step_size"]
            acceptance[row, turn] = np.mean(draws.stats["acceptance_rate"])
        last.append(draws)
    without, exact = last
    ratio, change = np.log(steps[0] / steps[1]), acceptance[0] - acceptance[1]
    for differences, limit in ((ratio, 0.05), (change, 0.02)):
        assert abs(differences.mean()) < limit
        assert differences.std(ddof=1) / np.sqrt(12) < limit / 2
    assert "log_prob" in exact.stats
    assert "log_prob" not in without.stats  # it has none: a change from an unknown value is no log_prob


class ValueZero(NUTS):
    """What happens to the posterior where a prior claims that its log density is 0."""

    @property
    def rule(self):
        return Quadrature(0.0, (), ())


class Trapezoid(NUTS):
    """The rule that costs nothing, and passes every test on Gaussians."""

    @property
    def rule(self):
        return Quadrature(0.5, (), ())


def test_the_trapezoid_gives_another_distribution(key, errors_of_mean):
    assert deviations(run(key, SCORE_ONLY, Trapezoid(), 6000), errors_of_mean).max() > 5


def test_a_prior_of_value_zero_gives_another_distribution(key):
    # It hardly moves, so that Monte-Carlo errors say nothing; it goes where the likelihood alone is, of sd 1.
    wrong, right = (run(key, SCORE_ONLY, sampler, 500).position for sampler in (ValueZero(), NUTS()))
    _, sd = moments()
    assert np.std(wrong) / sd > 1.2
    assert np.std(right) / sd == pytest.approx(1, abs=0.05)


def test_the_trapezoid_passes_on_a_gaussian(key, errors_of_mean):
    gaussian = Density(log_prob=log_likelihood, score=lambda x: -x - 1.0)
    x = np.asarray(run(key, gaussian, Trapezoid(), 2000).position, float)
    average, error, _ = errors_of_mean(x)
    assert np.abs(average / error).max() < 5
    assert np.var(x) == pytest.approx(0.5, rel=0.05)


def test_the_whole_density_can_be_integrated(key, errors_of_mean):
    draws = run(key, Density(log_prob=log_prob), NUTS(energy="line_integral"), 2000)
    assert (deviations(draws, errors_of_mean) < 5).all()
    assert "log_prob" not in draws.stats


def test_the_energy_of_a_chain_goes_on_from_draw_to_draw(key):
    draws = run(key, SCORE_ONLY, HMC(quadrature="gauss4"), 200)
    value = np.asarray(jax.vmap(jax.vmap(log_prob))(jnp.asarray(draws.position)))
    change = np.asarray(draws.stats["log_prob_change"])
    np.testing.assert_allclose(np.diff(change, axis=1), np.diff(value, axis=1), atol=0.02)
    assert np.std(value) > 1


@pytest.mark.parametrize("name", ["simpson", "gauss2", "gauss3", "gauss4", "chord"])
def test_rules_have_their_order(name):
    rule = QUADRATURES[name]
    t = np.array([0.0, *rule.points, 1.0])
    weights = np.array([rule.at_ends, *rule.weights, rule.at_ends])
    exact_up_to = 3 if name == "simpson" else 2 * len(rule.points) - 1
    for power in range(exact_up_to + 2):
        error = weights @ t**power - 1 / (power + 1)
        assert (abs(error) < 1e-12) == (power <= exact_up_to)


def test_work_is_the_difference_of_values():
    z, way = np.random.default_rng(0).normal(size=(2, SIZE)) * 0.3
    begin, end = jnp.asarray(z), jnp.asarray(z + way)
    target = WorkTarget(log_likelihood, jax.grad(log_prior), energies.gauss_legendre(4))
    value, known = target.start(begin)
    state = type("State", (), {"position": begin, "logdensity": value, "logdensity_grad": known})
    value, known = target.follow(state, end)
    assert float(value) == pytest.approx(float(log_prob(end) - log_prob(begin)), abs=1e-5)
    exact, score = ValueTarget(log_prob).start(end)
    np.testing.assert_allclose(target.score(known), score, rtol=1e-5)
    assert float(exact) == pytest.approx(float(log_prob(end)))
    assert float(target.work(begin, end, QUADRATURES["gauss3"])) == pytest.approx(
        float(log_prior(end) - log_prior(begin)), abs=1e-4
    )


@pytest.mark.parametrize("sampler", [NUTS, HMC, MALA])
def test_settings_that_cannot_be(key, sampler):
    with pytest.raises(ScoreOnlyError, match="term 'score' gives only a score"):
        run(key, SCORE_ONLY, sampler(energy="log_prob"), 10)
    with pytest.raises(ConfigError, match="energy is 'values'; it must be one of auto"):
        run(key, SCORE_ONLY, sampler(energy="values"), 10)
    with pytest.raises(ConfigError, match="quadrature is 'trapezoid'; it must be one of simpson"):
        run(key, SCORE_ONLY, sampler(quadrature="trapezoid"), 10)


@pytest.mark.parametrize("sampler", [NUTS, MALA])
def test_one_integral_for_a_trajectory_is_for_hmc(key, sampler):
    with pytest.raises(ConfigError, match="quadrature is 'chord'"):
        run(key, SCORE_ONLY, sampler(quadrature="chord"), 10)
