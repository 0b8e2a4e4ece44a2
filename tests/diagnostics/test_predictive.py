"""Predictive checks pass data of the model, and see what is wrong with others."""

import re

import arviz_stats  # noqa: F401, its accessor
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import scoresample as ss
from scoresample.samplers.base import Draws

SHAPE, CENTERS = (30, 32), np.array([[12.0, 11.0], [16.0, 20.0]])
FLUX = np.array([[300.0, 200.0], [150.0, 400.0]])


def gaussian(shape, center, sigma):
    y, x = np.indices(shape)
    return np.exp(-0.5 * ((y - center[0]) ** 2 + (x - center[1]) ** 2) / sigma**2) / (2 * np.pi * sigma**2)


@pytest.fixture
def make_draws(seed_shift):
    """Draws of two stars at their places, fluxes exact, for data with noise as asked; bands g and r."""

    def make(change=None, *, weights=1.0, num=60):
        rng = np.random.default_rng(3 + seed_shift)
        stars = np.stack([gaussian(SHAPE, center, 1.5) for center in CENTERS])
        noise = rng.normal(size=(2, *SHAPE))
        images = np.einsum("kb,kyx->byx", FLUX, stars) + 0.5 + (noise if change is None else change(noise))
        psf = gaussian((13, 13), (6, 6), 1.5)
        weight = np.broadcast_to(weights, images.shape)
        observation = ss.make_observation(images, weight, np.stack([psf / psf.sum()] * 2), "gr")
        scene = ss.initialize_scene(observation, ss.make_catalog(CENTERS, is_star=[True, True]))
        posterior = ss.Posterior(scene, observation, center=dist.Normal(0, 0.3))
        position = {
            name: 1e-3 * rng.normal(size=(2, num // 2, *leaf.shape)).astype(np.float32) + np.asarray(leaf)
            for name, leaf in posterior.initial_position().items()
        }
        stats = {"log_prob": np.zeros((2, num // 2))}
        return Draws(position, {}, stats, "done", {}, posterior)

    return make


def test_data_of_the_model_pass(make_draws, key):
    found = ss.predictive_check(key, make_draws())
    assert found.passed and "look like the model's own" in found.verdict
    assert list(found.table.index) == ["g", "r"] and (found.table["pixels"] == 30 * 32).all()
    np.testing.assert_allclose(found.table["chi2"], 1, atol=5 * np.sqrt(2 / 960))
    assert found.residual.shape == found.chi2.shape == (2, *SHAPE)
    assert np.nanmean(found.chi2[0]) == pytest.approx(found.table["chi2"]["g"])
    # Draws of fluxes scatter: the residual of their mean is smaller.
    assert np.mean(found.residual[0] ** 2) < found.table["chi2"]["g"]
    assert found.to_dict()["bands"][1]["band"] == "r" and found.to_dict()["draws"] == 60


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda noise: 1.3 * noise, "residuals are larger than the noise: chi-square per pixel 1.6"),
        (lambda noise: 0.7 * noise, "smaller than the noise"),
        (lambda noise: (noise + np.roll(noise, 1, axis=2)) / np.sqrt(2), "neighbours are correlated: 0.2"),
    ],
)
def test_noise_that_is_not_as_stated_is_seen(make_draws, key, change, said):
    found = ss.predictive_check(key, make_draws(change))
    assert not found.passed and "NOT" in found.verdict
    assert any(said in reason for reason in found.reasons), found.verdict


def test_one_bad_pixel_is_seen_and_named_by_its_band(make_draws, key):
    def hot(noise):
        noise[1, 2, 3] = 8.0
        return noise

    found = ss.predictive_check(key, make_draws(hot))
    assert len(found.reasons) == 1
    assert re.fullmatch(r"r: a pixel is off by [78]\.\d sigma \(p = \de-1\d\)", found.reasons[0]), (
        found.reasons
    )
    assert abs(found.residual[1, 2, 3] - 8) < 0.3


def test_replicated_data_have_the_noise_of_the_weights_and_arviz_reads_them(make_draws, key):
    weights = np.full((2, *SHAPE), 4.0)
    weights[0, :, 26:] = 0
    draws = make_draws(lambda noise: noise / 2, weights=weights)
    found = ss.predictive_check(key, draws)
    assert found.passed, found.verdict
    noise = (found.replicated - found.model)[:, weights > 0]
    assert abs(noise.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * noise.size)
    assert (found.replicated[:, weights == 0] == 0).all() and np.isnan(found.residual[weights == 0]).all()
    tree = found.to_arviz()
    images = tree["posterior_predictive"]["images"]
    assert images.dims == ("chain", "draw", "band", "y", "x") and list(images["band"]) == ["g", "r"]
    mean = tree.azstats.mean(group="posterior_predictive", dim=["chain", "draw"])["images"]
    np.testing.assert_allclose(mean, found.replicated.mean(axis=0), atol=1e-4)


def test_the_model_of_a_draw_is_its_sources_and_the_fluxes_those_of_its_posterior(make_draws, key):
    draws = make_draws(num=200)
    found = ss.predictive_check(key, draws, 200)
    position = jax.tree.map(lambda leaf: jnp.asarray(leaf[0, 0]), draws.position)
    best = np.asarray(draws.density.source_images(position)).sum(axis=0)
    residual = (found.model.mean(axis=0) - best) / found.model.std(axis=0)
    assert np.abs(residual).max() < 6 / np.sqrt(200)
    assert 0.3 < found.model.std(axis=0).max() < 10


def test_few_and_no_draws(make_draws, key):
    assert len(ss.predictive_check(key, make_draws(), 1).model) == 1
    empty = make_draws(num=0)
    with pytest.raises(ss.ConfigError, match="there are 0; sample again"):
        ss.predictive_check(key, empty)
    target = ss.Density(log_prob=lambda x: -0.5 * x**2)
    with pytest.raises(ss.ConfigError, match="of a scene"):
        ss.predictive_check(key, empty._replace(density=target))


def test_a_second_check_compiles_nothing(make_draws, key, compilations):
    draws = make_draws()
    ss.predictive_check(key, draws)
    other = eqx.tree_at(lambda p: p.likelihood.data, draws.density, draws.density.likelihood.data + 1)
    before = compilations()
    ss.predictive_check(key, draws._replace(density=other))
    assert compilations() == before
