"""The learned prior as a density: whatever its weights, it has the properties of one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.errors import ConfigError, DataError, ShapeError
from scoresample.models.brightness import off_brightness
from scoresample.models.energy_network import EnergyNetwork
from scoresample.models.galaxy_box import galaxy_box
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.learned_prior import LearnedPrior, _outside
from scoresample.models.reverse_diffusion import draw_from_noise, noise_levels_down, remove_noise


@pytest.fixture(scope="module")
def prior():
    return LearnedPrior(
        EnergyNetwork(jax.random.key(1), "residual", (8, 12, 16)), load_gaussian_prior().tables
    )


@pytest.mark.parametrize("shape", [(16, 16), (17, 21), (32, 24)])
def test_the_score_is_the_gradient(prior, shape):
    u = jax.random.normal(jax.random.key(2), shape)
    score = prior.score(u)
    direction = jax.random.normal(jax.random.key(3), shape)
    step = 1e-2
    difference = (prior.log_prob(u + step * direction) - prior.log_prob(u - step * direction)) / (2 * step)
    np.testing.assert_allclose(difference, jnp.sum(score * direction), rtol=0.02)
    assert score.shape == shape
    assert score.dtype == u.dtype


def test_its_jacobian_is_symmetric(prior):
    u, v, w = (jax.random.normal(jax.random.key(k), (16, 16)) for k in range(3))
    product = lambda one, other: jnp.sum(other * jax.jvp(prior.score, (u,), (one,))[1])
    np.testing.assert_allclose(product(v, w), product(w, v), rtol=1e-3, atol=1e-2)


def test_another_noise_level_is_that_of_a_prior_of_it(prior):
    u = jax.random.normal(jax.random.key(2), (16, 16))
    blurred = LearnedPrior(prior.network, prior.tables, noise_level=0.5)
    np.testing.assert_allclose(prior.score_at(u, jnp.asarray(0.5)), blurred.score(u), rtol=1e-4, atol=1e-4)
    assert not np.allclose(prior.score_at(u, 0.5), prior.score(u), rtol=0.1)


def test_with_more_noise_it_is_the_same_prior_at_that_level(prior):
    u = jax.random.normal(jax.random.key(2), (16, 16))
    assert prior.largest_noise_level == 10.0
    noisier = prior.at_noise_level(jnp.asarray(0.5))
    np.testing.assert_array_equal(noisier.score(u), prior.score_at(u, jnp.asarray(0.5)))
    assert float(noisier.log_prob(u)) == pytest.approx(float(prior.log_prob_at(u, 0.5)), rel=1e-5)
    assert (noisier.noise_level, noisier.name) == (0.5, prior.name)
    assert float(noisier.scale((16, 16)).diagonal[0]) == pytest.approx(0.5)
    with pytest.raises(ShapeError, match="16 to 128 pixels"):
        noisier.for_shape((15, 20))


def test_many_images_at_once(prior):
    u = jax.random.normal(jax.random.key(2), (3, 17, 17))
    np.testing.assert_allclose(jax.vmap(prior.log_prob)(u), [prior.log_prob(image) for image in u], rtol=1e-4)


def test_bad_input(prior):
    with pytest.raises(ShapeError, match=r"16 to 128 pixels a side, not \(15, 20\)"):
        prior.for_shape((15, 20))
    with pytest.raises(ShapeError, match=r"not \(130, 130\)"):
        prior.sample(jax.random.key(0), (130, 130), 1)
    with pytest.raises(DataError, match="1 of 256 values of a morphology are not finite"):
        prior.log_prob(jnp.zeros((16, 16)).at[3, 4].set(jnp.nan))
    with pytest.raises(DataError, match="1 of 256 values of a morphology are not finite"):
        prior.score(jnp.zeros((16, 16)).at[3, 4].set(jnp.nan))
    with pytest.raises(ConfigError, match=r"noise_level is 0.0001; the network was trained for 0.05 to 80"):
        prior.score_at(jnp.zeros((16, 16)), 1e-4)
    with pytest.raises(ConfigError, match=r"noise_level is 0.001; the network was trained for 0.05 to 10"):
        LearnedPrior(prior.network, prior.tables, noise_level=0.001)
    with pytest.raises(ConfigError, match="has no density"):
        LearnedPrior(EnergyNetwork(jax.random.key(1), "score", (8, 12, 16)), prior.tables)


def test_draws_come_from_the_energy(prior):
    """Where nothing was learned the energy is that of a Gaussian, whose draws are known."""
    last = lambda p: (
        p.network.image_head.weight,
        p.network.pooled_head.weight,
        *(head.weight for head in p.network.scalar_heads),
    )
    plain = eqx.tree_at(last, prior, tuple(jnp.zeros_like(w) for w in last(prior)))
    draws = np.asarray(plain.sample(jax.random.key(4), (16, 16), 60))
    assert draws.shape == (60, 16, 16)
    box = galaxy_box(plain.tables, (16, 16))
    along = np.einsum("kyx,nyx->nk", box.modes, draws - box.mean)
    variance = box.variances + plain.noise_level**2
    assert abs(np.mean(along / np.sqrt(variance)) * np.sqrt(along.size)) < 5
    z = (np.mean(along**2 / variance) - 1) / np.sqrt(2 / along.size)
    assert abs(z) < 5


def test_noise_is_removed_along_the_flow():
    """Of a Gaussian of width w, whose flow scales by the ratio of the widths with noise."""
    width, levels = 2.0, noise_levels_down(50.0, 0.1, 60)
    start = jax.random.normal(jax.random.key(5), (10,)) * 50
    denoise = lambda u, level: u * width**2 / (width**2 + level**2)
    end = remove_noise(denoise, start, levels)
    ratio = np.sqrt((width**2 + 0.1**2) / (width**2 + 50.0**2))
    np.testing.assert_allclose(end, ratio * start, rtol=5e-3)
    coarse = remove_noise(denoise, start, noise_levels_down(50.0, 0.1, 3))
    assert np.abs(coarse / (ratio * start) - 1).max() > 0.05


def test_draws_of_a_gaussian_have_its_mean_and_width():
    """Also where the mean is large, as it is for galaxies: noise alone, without it, ends 0.6 widths off."""
    mean, width, levels = 40.0, 1.0, noise_levels_down(80.0, 0.1, 40)
    denoise = lambda u, level: (u * width**2 + mean * level**2) / (width**2 + level**2)
    noise = jax.random.normal(jax.random.key(6), (4000,))
    draws = np.asarray(draw_from_noise(denoise, noise, levels))
    error = np.sqrt((width**2 + 0.1**2) / 4000)
    assert abs(draws.mean() - mean - np.mean(noise) * width) < 0.02
    assert abs(draws.std() / np.std(noise) - np.sqrt(width**2 + 0.1**2)) < 0.02
    without = np.asarray(remove_noise(denoise, 80.0 * noise, levels))
    assert without.mean() < mean - 10 * error


def test_what_is_seen_is_the_image_without_noise(prior):
    """By Tweedie's formula, from the score of the network: without the terms that only bound it."""
    u, level = jax.random.normal(jax.random.key(7), (16, 20)), jnp.asarray(prior.noise_level)
    bounds = lambda v: _outside(v, level) + off_brightness(v, level)
    score = jax.grad(lambda v: prior.log_prob(v) + bounds(v))(u)
    np.testing.assert_allclose(prior.to_seen(u), u + prior.noise_level**2 * score, atol=1e-4)
    noisier = prior.at_noise_level(jnp.asarray(1.0))
    np.testing.assert_array_equal(noisier.to_seen(u), prior.to_seen_at(u, jnp.asarray(1.0)))
    assert noisier.hides_noise
    assert not np.allclose(noisier.to_seen(u), prior.to_seen(u), atol=0.1)


def test_directions_around_an_image_are_those_of_the_jacobian(prior):
    u = prior.to_seen(jax.random.normal(jax.random.key(7), (16, 16)))
    jacobian = np.asarray(jax.jacobian(prior.to_seen)(u), float).reshape(256, 256)
    np.testing.assert_allclose(jacobian, jacobian.T, atol=1e-3)
    around = prior.around(u)
    directions, seen = np.asarray(around.directions, float), np.asarray(around.seen, float)
    np.testing.assert_allclose(directions.T @ directions, np.eye(len(seen)), atol=1e-3)
    largest = np.linalg.eigvalsh(jacobian)[::-1][:20]
    np.testing.assert_allclose(np.sort(seen)[::-1][:20], largest, atol=2e-3)
    rest = jacobian - directions @ (seen[:, None] * directions.T)
    assert np.abs(np.linalg.eigvalsh(rest)).max() < 0.1 * largest[0]
    np.testing.assert_allclose(around.precision, np.maximum(1 - seen, 0.02) / prior.noise_level**2, rtol=1e-4)
