"""Galaxies in a box to second order: a Gaussian energy, its denoiser, and their error, in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.models.galaxy_box import GalaxyBox, galaxy_box, padded_side
from scoresample.models.gaussian_prior import load_gaussian_prior

NOISE_LEVEL = jnp.asarray(0.3, jnp.float32)


@pytest.fixture(scope="module")
def tables():
    return load_gaussian_prior().tables


@pytest.fixture
def simple():
    """Three modes, and the same variance in every pixel that they leave: exactly Gaussian."""
    modes = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 3)))[0].T.reshape(3, 8, 8)
    arrays = (np.ones((8, 8)), np.full((8, 8), 2.0), modes, np.array([9.0, 4.0, 1.0]), np.full((8, 8), 0.04))
    return GalaxyBox(*(jnp.asarray(array, jnp.float32) for array in arrays))


def covariance(box):
    modes = np.asarray(box.modes, float).reshape(len(box.modes), -1)
    across = np.eye(modes.shape[1]) - modes.T @ modes
    rest = np.diag(np.asarray(box.rest, float).ravel())
    return (modes.T * np.asarray(box.variances, float)) @ modes + across @ rest @ across


def test_the_energy_is_that_of_a_gaussian(simple):
    noisy = covariance(simple) + float(NOISE_LEVEL) ** 2 * np.eye(64)
    one, other = (np.random.default_rng(k).normal(2, 1, (8, 8)) for k in (1, 2))

    def exact(u):
        x = (u - 2.0).ravel()
        return 0.5 * x @ np.linalg.solve(noisy, x) + 0.5 * np.linalg.slogdet(noisy)[1]

    for u in (one, other):
        np.testing.assert_allclose(simple.energy(jnp.asarray(u), NOISE_LEVEL), exact(u), rtol=1e-4)


def test_the_denoiser_is_the_best_one_and_its_error_is_known(simple):
    rng = np.random.default_rng(3)
    truth = rng.multivariate_normal(np.full(64, 2.0), covariance(simple), 400).reshape(-1, 8, 8)
    noisy = jnp.asarray(truth + float(NOISE_LEVEL) * rng.normal(size=truth.shape), jnp.float32)
    found = jax.vmap(lambda u: simple.denoise(u, NOISE_LEVEL))(noisy)
    by_hand = noisy - NOISE_LEVEL**2 * jax.vmap(jax.grad(lambda u: simple.energy(u, NOISE_LEVEL)))(noisy)
    np.testing.assert_allclose(found, by_hand, atol=1e-5)
    # 64 directions of 400 images: a standard error of 1 %; the rest is counted in all 64 instead of 61.
    error = np.mean((found - truth) ** 2)
    np.testing.assert_allclose(simple.error(NOISE_LEVEL), error, rtol=0.08)


def energies(box, u):
    whitened = 0.5 * jnp.sum(box.whiten(u, NOISE_LEVEL) ** 2) + box.log_volume(NOISE_LEVEL)
    return whitened, box.energy(u, NOISE_LEVEL)


def test_whitened_the_energy_is_half_a_square(simple, tables):
    """Exactly where pixels are alike, and to a thousandth for galaxies."""
    rng = np.random.default_rng(4)
    np.testing.assert_allclose(
        *energies(simple, jnp.asarray(rng.normal(2, 1, (8, 8)), jnp.float32)), rtol=1e-5
    )
    box = galaxy_box(tables, (24, 24))
    u = box.mean + jnp.asarray(rng.normal(0, 0.5, (24, 24)), jnp.float32)
    whitened, energy = energies(box, u)
    np.testing.assert_allclose(
        whitened - box.log_volume(NOISE_LEVEL), energy - box.log_volume(NOISE_LEVEL), rtol=2e-3
    )
    assert whitened != energy


@pytest.mark.parametrize("shape", [(16, 16), (17, 21), (64, 64)])
def test_a_box_of_galaxies(tables, shape):
    box = galaxy_box(tables, shape)
    assert box.mask.shape == tuple(padded_side(n) for n in shape)
    assert box.mask.sum() == np.prod(shape)
    flat = box.modes.reshape(len(box.modes), -1)
    there = np.linalg.norm(flat, axis=1) > 0
    np.testing.assert_allclose(flat[there] @ flat[there].T, np.eye(there.sum()), atol=1e-5)
    assert (flat[:, box.mask.ravel() == 0] == 0).all()
    # What it leaves of the noise is about what the Gaussian prior of all modes does.
    prior = load_gaussian_prior().for_shape(shape)
    exact = prior.noise_level**2 * (1 - prior.noise_level**2 * np.mean(prior.precision_diagonal()))
    assert exact < box.error(jnp.asarray(prior.noise_level)) < 1.6 * exact


def test_boxes_lie_in_a_larger_square_where_asked(tables):
    small, large = galaxy_box(tables, (17, 17)), galaxy_box(tables, (17, 17), (32, 32))
    for one, other in zip(jax.tree.leaves(small), jax.tree.leaves(large), strict=True):
        inside = (..., slice(24), slice(24)) if one.ndim > 1 else (...,)
        np.testing.assert_array_equal(one, other[inside])


def test_sides_are_padded_to_eighths():
    assert [padded_side(n) for n in (16, 17, 24, 25, 128)] == [16, 24, 24, 32, 128]
