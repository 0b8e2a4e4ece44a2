"""The most probable position: known maxima, bad starts, and how a climb ends."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from scoresample.density.base import Density
from scoresample.density.posterior import Posterior
from scoresample.errors import ConfigError, PositionError, ScoreOnlyError
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.initialization import gaussian_morphology
from scoresample.samplers.optimize import Climber, _is_flat, find_map

CENTER = {"a": jnp.array([1.0, -2.0, 30.0]), "b": jnp.array(0.5)}
START = jax.tree.map(jnp.zeros_like, CENTER)


def quadratic(x):
    """A correlated Gaussian around CENTER with scales from 1 to 10."""
    a, b = x["a"] - CENTER["a"], x["b"] - CENTER["b"]
    return -0.5 * (jnp.sum((a / jnp.array([1.0, 3.0, 10.0])) ** 2) + (b - 0.3 * a[0]) ** 2)


def test_a_gaussian_has_its_maximum_at_its_mean():
    best = find_map(Density(log_prob=quadratic), START)
    assert best.status == "converged"
    jax.tree.map(lambda x, m: np.testing.assert_allclose(x, m, atol=0.2), best.position, CENTER)
    assert best.history.log_prob[-1] > -0.01
    assert best.history.score_norm[-1] < 0.02
    assert len(best.history.log_prob) == len(best.history.step_norm) < 100


def test_a_density_with_only_a_score_is_climbed_by_adam():
    score_only = Density(score=jax.grad(quadratic))
    best = find_map(score_only, START)
    assert best.status == "converged"
    assert np.all(np.isnan(best.history.log_prob))
    jax.tree.map(lambda x, m: np.testing.assert_allclose(x, m, atol=0.4), best.position, CENTER)
    with pytest.raises(ScoreOnlyError, match="term 'score'"):
        find_map(score_only, START, method="lbfgs")


def test_too_few_steps_are_told():
    best = find_map(Density(log_prob=quadratic), START, method="adam", max_steps=5)
    assert best.status == "max_steps"
    assert len(best.history.log_prob) == 5


def test_a_density_that_breaks_is_told():
    best = find_map(Density(score=lambda x: jax.tree.map(lambda v: jnp.nan * v, x)), START)
    assert best.status == "not finite"


def test_ctrl_c_keeps_what_was_reached(monkeypatch):
    climb, calls = Climber.climb, []

    def climb_once(self, *arguments):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return climb(self, *arguments)

    monkeypatch.setattr(Climber, "climb", climb_once)
    density = Density(log_prob=quadratic)
    best = find_map(density, START, method="adam", max_steps=100)
    assert best.status == "interrupted"
    assert 0 < len(best.history.log_prob) < 100
    jax.tree.map(lambda x: np.testing.assert_array_equal(np.isfinite(x), True), best.position)
    assert float(density.log_prob(best.position)) > float(density.log_prob(START))


def test_bad_input():
    with pytest.raises(ConfigError, match="method is 'newton'"):
        find_map(Density(log_prob=quadratic), START, method="newton")
    with pytest.raises(ConfigError, match="no start of its own"):
        find_map(Density(log_prob=quadratic))


def test_a_posterior_without_free_parameters_is_at_its_maximum(make_scene):
    best = find_map(Posterior(*make_scene(), center=None))
    assert (best.position, best.status) == ({}, "converged")


def test_free_centers_find_the_stars(make_scene):
    posterior = Posterior(*make_scene(brightness=5.0))
    best = find_map(posterior)
    assert best.status == "converged"
    found = posterior.values(best.position)
    np.testing.assert_allclose(found["star_0.center"], [6.0, 4.9], atol=0.1)
    with pytest.raises(PositionError, match=r"star_0\.center"):
        find_map(posterior, {"other": jnp.zeros(2)})


def bad_starts(scene):
    """The scene with fluxes 20 times too bright, and with one flat spectrum for all."""
    bright = tuple(dataclasses.replace(s, flux=20 * s.flux) for s in scene.sources)
    flat = tuple(dataclasses.replace(s, flux=jnp.full_like(s.flux, 50.0)) for s in scene.sources)
    return [dataclasses.replace(scene, sources=sources) for sources in (bright, flat)]


@pytest.mark.parametrize("prior", [None, dist.Normal(50, 100)], ids=["flat", "normal"])
def test_gaussian_blobs_as_first_images_lead_to_one_maximum(make_scene, prior):
    """Round Gaussians of any width, too narrow or too wide; fluxes are integrated out."""
    scene, observation = make_scene(galaxies=True, background=False)
    found = []
    for width in (0.8, 1.2, 2.0):
        images = {f"galaxy_{k}.image": gaussian_morphology(7, width).image for k in range(2)}
        posterior = Posterior(scene.replace(images), observation, flux=prior, image=load_gaussian_prior())
        best = find_map(posterior, progress=False)
        assert best.status == "converged"
        found.append(
            (
                float(posterior.for_map(best.position).log_prob(best.position)),
                posterior.amplitudes(best.position),
            )
        )
    log_probs, amplitudes = zip(*found, strict=True)
    assert max(log_probs) - min(log_probs) < 0.2
    np.testing.assert_allclose(amplitudes[1], amplitudes[0], atol=2.0)
    np.testing.assert_allclose(amplitudes[2], amplitudes[0], atol=2.0)


def test_bad_spectra_lead_to_one_maximum(make_scene):
    """First images are round Gaussians; the prior on fluxes makes the maximum a single one."""
    scene, observation = make_scene(galaxies=True, background=False)
    found = []
    for bad in [scene, *bad_starts(scene)]:
        posterior = Posterior(
            bad, observation, flux=dist.Normal(50, 100), collapse=False, image=load_gaussian_prior()
        )
        start = posterior.initial_position()
        # What initial_position solves for is spoilt again.
        start |= {f"{source.name}.flux": source.flux for source in bad.sources}
        best = find_map(posterior, start)
        assert best.status == "converged"
        joint = posterior.for_map(best.position).log_prob(best.position)
        found.append((float(joint), np.asarray(posterior.amplitudes(best.position), float)))
    log_probs, amplitudes = zip(*found, strict=True)
    assert max(log_probs) - min(log_probs) < 0.2
    np.testing.assert_allclose(amplitudes[1], amplitudes[0], atol=2.0)
    np.testing.assert_allclose(amplitudes[2], amplitudes[0], atol=2.0)


def climb_of(gain, score, num=40):
    """Rows of a climb that rises evenly by ``gain`` in all and ends at a score."""
    return [np.array([1e4 + gain * k / (num - 1), score, 0.0]) for k in range(num)]


@pytest.mark.parametrize(
    ("rows", "flat"),
    [
        (climb_of(0.3, 0.05), True),
        (climb_of(0.7, 0.05), False),  # still rising
        (climb_of(0.0, 0.5), False),  # stuck on a slope
        (climb_of(0.3, 0.05, 20), False),  # not a whole round
        (climb_of(np.nan, 0.05), False),
    ],
)
def test_a_climb_that_gains_nothing_any_more_is_at_its_end(rows, flat):
    """10,000 coordinates at a tolerance of 0.02: half a nat in 40 steps, a quarter of what the tolerance allows."""
    assert _is_flat(rows, 0.02, 10_000) == flat
