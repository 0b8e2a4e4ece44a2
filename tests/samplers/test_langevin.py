"""Unadjusted Langevin samplers: the bias that theory gives, and how good their steps are said to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scoresample as ss
from scoresample.samplers.base import Tuning
from scoresample.samplers.energies import ValueTarget
from scoresample.samplers.integrators import leapfrog, rotation
from scoresample.samplers.langevin import LangevinState
from scoresample.samplers.unadjusted import ULA, UnderdampedLangevin, langevin_move

SIZE = 10
NORMAL = ss.Density(log_prob=lambda x: -0.5 * jnp.sum(x**2))
NORMAL_SCORE = ss.Density(score=jnp.negative)


def log_prob(x):
    """Gamma(2) variables in their logarithm, seen by a Gaussian likelihood."""
    return jnp.sum(2 * x - jnp.exp(x)) - 0.5 * jnp.sum((x - 1.0) ** 2)


def moments():
    """Mean and standard deviation of one coordinate, by quadrature."""
    x = np.linspace(-12, 6, 200_001)
    weight = np.exp(2 * x - np.exp(x) - 0.5 * (x - 1.0) ** 2)
    mean = weight @ x / weight.sum()
    return mean, np.sqrt(weight @ (x - mean) ** 2 / weight.sum())


def run(key, sampler, density, num_draws=2000, **options):
    sizes = {"num_chains": 4, "num_warmup": 300, "start": jnp.zeros(SIZE), "progress": False}
    return ss.sample(key, density, sampler, num_draws=num_draws, **(sizes | options))


def deviations(draws, errors_of_mean, mean, sd):
    """Of mean and of mean square deviation from the truth, over all coordinates, in their Monte-Carlo errors."""
    x = np.asarray(draws.position, float)
    found = []
    for values, truth in ((x, mean), ((x - mean) ** 2, sd**2)):
        average, error, _ = errors_of_mean(values)
        found.append((average.mean() - truth) / np.sqrt(np.mean(error**2) / SIZE))
    return np.abs(found)


@pytest.mark.parametrize("density", [NORMAL, NORMAL_SCORE], ids=["value", "score"])
def test_ula_has_the_variance_of_its_step_size(key, errors_of_mean, density):
    # Scales are learned in warm-up: steps are h times the variance found, which the bias itself makes larger.
    draws = run(key, ULA(step_size=0.4), density, num_warmup=0)
    assert (deviations(draws, errors_of_mean, 0, 1 / np.sqrt(1 - 0.4 / 2)) < 5).all()
    assert deviations(draws, errors_of_mean, 0, 1)[1] > 5


def test_underdamped_positions_of_a_gaussian_are_exact_at_a_long_step(key, errors_of_mean):
    draws = run(key, UnderdampedLangevin(step_size=1.0), NORMAL_SCORE, num_warmup=0)
    assert (deviations(draws, errors_of_mean, 0, 1) < 5).all()
    assert np.mean(draws.stats["acceptance_rate"]) < 0.9


def test_on_a_skewed_target_the_splitting_is_nearly_exact_and_ula_is_not(key, errors_of_mean):
    mean, sd = moments()
    density = ss.Density(log_prob=lambda x: -0.5 * jnp.sum((x - 1.0) ** 2), score=lambda x: 2 - jnp.exp(x))
    good = run(key, UnderdampedLangevin(), density, num_draws=4000)
    assert (deviations(good, errors_of_mean, mean, sd) < 5).all()
    assert np.std(good.position) == pytest.approx(sd, rel=0.01)
    rough = run(key, ULA(), density, num_draws=4000)
    assert deviations(rough, errors_of_mean, mean, sd)[1] > 5
    assert 1.01 < np.std(rough.position) / sd < 1.07  # first order in the step size that warm-up found


@pytest.mark.parametrize("sampler", [ULA(), UnderdampedLangevin()], ids=lambda s: s.name)
def test_warm_up_finds_the_step_of_the_wanted_acceptance(key, sampler):
    draws = run(key, sampler, ss.Density(log_prob=log_prob), num_draws=500)
    assert np.mean(draws.stats["acceptance_rate"]) == pytest.approx(0.95, abs=0.02)
    by_score = run(key, sampler, ss.Density(score=jax.grad(log_prob)), num_draws=500)
    assert by_score.settings["step_size"] == pytest.approx(draws.settings["step_size"], rel=0.05)
    assert "log_prob" in draws.stats and "log_prob" not in by_score.stats


def test_the_log_ratio_is_that_of_metropolis_and_hastings(key):
    target = ValueTarget(log_prob)
    z = 0.3 * jax.random.normal(key, (SIZE,))
    h, mass = 0.1, jnp.linspace(0.5, 2, SIZE)
    tuning = Tuning(jnp.asarray(h), mass, jnp.asarray(1), jnp.ones(()))
    value, known = target.start(z)
    moved, log_ratio = langevin_move(key, LangevinState(z, jnp.zeros(SIZE), value, known), target, tuning)

    def log_proposal(end, begin):
        return -jnp.sum((end - begin - h * mass * jax.grad(log_prob)(begin)) ** 2 / (4 * h * mass))

    there, back = log_proposal(moved.position, z), log_proposal(z, moved.position)
    expected = log_prob(moved.position) - log_prob(z) + back - there
    assert float(log_ratio) == pytest.approx(float(expected), abs=2e-4)
    assert abs(float(expected)) > 0.01


@pytest.mark.parametrize("integrator", [leapfrog, rotation])
def test_without_friction_a_step_is_the_integrators_and_its_ratio_the_error_of_energy(key, integrator):
    target, size = ValueTarget(log_prob), 0.3
    z, momentum = 0.3 * jax.random.normal(key, (2, SIZE))
    value, known = target.start(z)
    state = LangevinState(z, momentum, value, known)
    tuning = Tuning(jnp.asarray(size), jnp.ones(SIZE), jnp.asarray(1), jnp.ones(()))
    moved, log_ratio = UnderdampedLangevin(friction=1e-12).move(key, state, target, integrator, tuning)
    from blackjax.mcmc.integrators import IntegratorState

    step = integrator(target, lambda p: 0.5 * jnp.sum(p**2))
    end = step(IntegratorState(z, momentum, value, known), size)
    np.testing.assert_allclose(moved.position, end.position, atol=1e-5)
    np.testing.assert_allclose(moved.momentum, end.momentum, atol=1e-5)
    error = log_prob(end.position) - log_prob(z) - 0.5 * (jnp.sum(end.momentum**2) - jnp.sum(momentum**2))
    assert float(log_ratio) == pytest.approx(float(error), abs=1e-4)
    assert abs(float(error)) > 1e-3


@pytest.mark.parametrize("sampler", [ULA(), UnderdampedLangevin()], ids=lambda s: s.name)
def test_the_same_key_gives_the_same_draws_and_a_second_run_compiles_nothing(key, compilations, sampler):
    first = run(key, sampler, NORMAL, num_draws=30, num_warmup=30)
    before = compilations()
    np.testing.assert_array_equal(
        run(key, sampler, NORMAL, num_draws=30, num_warmup=30).position, first.position
    )
    assert compilations() == before


def test_a_posterior_is_sampled_in_its_own_scales_and_resumed(make_scene, key, monkeypatch, tmp_path):
    posterior = ss.Posterior(*make_scene())
    sizes = {"num_chains": 2, "num_warmup": 60, "num_draws": 60, "progress": False}
    whole = ss.sample(key, posterior, UnderdampedLangevin(), **sizes)
    assert whole.derived["flux"].shape == (2, 60, 2, 2)
    assert whole.settings["step_size"] > 0.3  # coordinates are of order one
    from scoresample.samplers import chunks

    with monkeypatch.context() as patch:
        real, calls = chunks.draw, []

        def pressed(*arguments):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return real(*arguments)

        patch.setattr(chunks, "draw", pressed)
        stopped = ss.sample(key, posterior, UnderdampedLangevin(), checkpoint=tmp_path / "run.npz", **sizes)
    assert stopped.status == "interrupted"
    resumed = ss.sample(key, posterior, UnderdampedLangevin(), checkpoint=tmp_path / "run.npz", **sizes)
    for name, values in whole.position.items():
        np.testing.assert_array_equal(resumed.position[name], values)


def test_a_place_that_is_not_finite_is_not_entered_and_counts_as_a_divergence(key):
    edge = ss.Density(log_prob=lambda x: jnp.where(x[0] > 1.0, jnp.nan, -0.5 * jnp.sum(x**2)))
    draws = run(key, ULA(step_size=0.3), edge, num_draws=200)
    assert np.isfinite(draws.position).all()
    assert draws.position[..., 0].max() <= 1.0
    assert draws.stats["diverging"].sum() > 10


def test_settings_and_verdict_say_that_draws_are_unadjusted(key):
    draws = run(key, UnderdampedLangevin(), NORMAL, num_draws=500)
    assert draws.settings["unadjusted"] is True
    diagnosis = ss.diagnose(draws)
    assert diagnosis.converged
    assert len(diagnosis.notes) == 1 and "the draws are unadjusted" in diagnosis.verdict
    assert diagnosis.to_dict()["notes"] == list(diagnosis.notes)
    adjusted = run(key, ss.MALA(), NORMAL, num_draws=500)
    assert adjusted.settings["unadjusted"] is False and ss.diagnose(adjusted).notes == ()


def test_unadjusted_steps_that_are_too_long_do_not_pass(key):
    diagnosis = ss.diagnose(run(key, ULA(step_size=0.8), NORMAL, num_draws=1000, num_warmup=0))
    assert not diagnosis.converged
    assert len(diagnosis.reasons) == 1
    assert "unadjusted steps are too long: Metropolis' rule would accept" in diagnosis.reasons[0]
    assert not diagnosis.more_draws_may_help


def test_settings_that_cannot_be(key):
    with pytest.raises(ss.ConfigError, match=r"step_size is 0\.0; it must be positive, or None"):
        run(key, ULA(step_size=0.0), NORMAL)
    with pytest.raises(ss.ConfigError, match="steps_per_draw is 0; it must be at least 1"):
        run(key, ULA(steps_per_draw=0), NORMAL)
    with pytest.raises(ss.ConfigError, match=r"friction is -1\.0; it must be positive"):
        run(key, UnderdampedLangevin(friction=-1.0), NORMAL)
