"""The Gaussian morphology prior: densities, draws, posteriors and symmetry."""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from scoresample.errors import ConfigError, FileFormatError, ShapeError
from scoresample.models.gaussian_prior import GaussianMorphologyPrior, load_gaussian_prior
from scoresample.models.radial_tables import leading_modes, read_tables

SEED = int(os.environ.get("SCORESAMPLE_TEST_SEED", 0))
SHAPES = [(9, 9), (10, 10), (9, 14), (31, 20), (65, 65)]


@pytest.fixture(scope="module")
def prior():
    return load_gaussian_prior()


def moments_z(image_prior, draws):
    """Z-values of the pixel means and of random projections' variances of draws against what the prior says."""
    flat = np.asarray(draws, float).reshape(len(draws), -1)
    covariance = image_prior.covariance()
    mean = np.asarray(image_prior.mean, float).ravel()
    mean_z = (flat.mean(0) - mean) / np.sqrt(np.diag(covariance) / len(flat))
    axes = np.random.default_rng(3).normal(size=(50, mean.size))
    expected = np.einsum("ki,ij,kj->k", axes, covariance, axes)
    variance_z = (np.mean(((flat - mean) @ axes.T) ** 2, 0) / expected - 1) / np.sqrt(2 / len(flat))
    return mean_z, variance_z


def test_draws_have_the_mean_and_covariance_they_say(prior):
    image_prior = prior.for_shape((9, 11))
    draws = image_prior.sample(jax.random.key(SEED + 1), (9, 11), 20_000)
    mean_z, variance_z = moments_z(image_prior, draws)
    assert np.abs(mean_z).max() < 5
    assert np.abs(variance_z).max() < 5


def test_that_test_sees_five_percent_wider_draws(prior):
    image_prior = prior.for_shape((9, 11))
    draws = image_prior.sample(jax.random.key(SEED + 1), (9, 11), 20_000)
    wider = image_prior.mean + 1.05 * (draws - image_prior.mean)
    assert np.abs(moments_z(image_prior, wider)[1]).max() > 8


@pytest.mark.parametrize("shape", [(9, 9), (8, 11)])
def test_log_prob_is_the_multivariate_normal(prior, shape):
    image_prior = prior.for_shape(shape)
    u = image_prior.sample(jax.random.key(SEED + 2), shape, 1)[0] + 0.3
    exact = multivariate_normal(np.ravel(image_prior.mean), image_prior.covariance()).logpdf(np.ravel(u))
    np.testing.assert_allclose(image_prior.log_prob(u), exact, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(prior.log_prob(u), exact, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("shape", SHAPES)
def test_score_is_the_gradient_for_any_shape(prior, shape):
    image_prior = prior.for_shape(shape)
    u = image_prior.sample(jax.random.key(SEED + 3), shape, 1)[0]
    gradient = jax.jit(jax.grad(lambda u: image_prior.log_prob(u)))(u)
    scale = float(jnp.abs(gradient).max())
    np.testing.assert_allclose(image_prior.score(u), gradient, atol=2e-5 * scale)


def test_the_prior_for_all_shapes_compiles(prior):
    u = prior.sample(jax.random.key(SEED + 3), (9, 14), 1)[0]
    score = prior.for_shape((9, 14)).score(u)
    np.testing.assert_allclose(jax.jit(prior.score)(u), score, atol=2e-4 * float(jnp.abs(score).max()))


def test_draws_of_the_prior_are_those_of_its_image_prior(prior):
    key = jax.random.key(SEED)
    np.testing.assert_array_equal(
        prior.sample(key, (9, 12), 3), prior.for_shape((9, 12)).sample(key, (9, 12), 3)
    )


@pytest.mark.parametrize("side", [12, 17])
def test_turning_or_mirroring_changes_nothing(prior, side):
    image_prior = prior.for_shape((side, side))
    u = image_prior.sample(jax.random.key(SEED + 4), (side, side), 1)[0]
    log_prob = jax.jit(lambda u: image_prior.log_prob(u))
    value = log_prob(u)
    for image in (jnp.rot90(u), jnp.rot90(u, 2), u[::-1], u[:, ::-1], u.T):
        np.testing.assert_allclose(log_prob(image), value, rtol=1e-5, atol=1e-2)
    moved = jnp.roll(u, 2, axis=0)  # negative control: a shift is no symmetry
    assert abs(log_prob(moved) - value) > 10


def test_scale_is_a_root_of_the_covariance(prior):
    scale = prior.scale((5, 6))
    root = np.asarray(jax.vmap(scale.apply)(jnp.eye(30)), float).T
    np.testing.assert_allclose(root @ root.T, prior.for_shape((5, 6)).covariance(), rtol=1e-4, atol=1e-5)


def test_precision_diagonal_is_that_of_the_inverse_covariance(prior):
    image_prior = prior.for_shape((9, 9))
    exact = np.diag(np.linalg.inv(image_prior.covariance())).reshape(9, 9)
    np.testing.assert_allclose(image_prior.precision_diagonal(), exact, rtol=1e-3)


def test_posterior_is_the_textbook_gaussian(prior):
    rng = np.random.default_rng(SEED)
    image_prior = prior.for_shape((6, 7))
    design, data, weight = rng.normal(size=(20, 42)), rng.normal(size=20), rng.uniform(0, 3, 20)
    mean, covariance = image_prior.posterior(design, data, weight)
    precision = np.linalg.inv(image_prior.covariance())
    exact = np.linalg.inv(precision + design.T @ (weight[:, None] * design))
    linear = precision @ np.ravel(image_prior.mean) + design.T @ (weight * data)
    np.testing.assert_allclose(covariance, exact, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(mean, exact @ linear, rtol=1e-5, atol=1e-6)


def test_posterior_without_data_is_the_prior(prior):
    image_prior = prior.for_shape((5, 5))
    mean, covariance = image_prior.posterior(np.ones((3, 25)), np.ones(3), np.zeros(3))
    np.testing.assert_allclose(mean, np.ravel(image_prior.mean), rtol=1e-6)
    np.testing.assert_allclose(covariance, image_prior.covariance(), rtol=1e-6, atol=1e-10)


def test_pixel_variances_are_those_of_the_tables(prior):
    image_prior = dataclasses.replace(prior, center_sigma=None).for_shape((32, 32))
    y, x = np.meshgrid(np.arange(32) - 15.5, np.arange(32) - 15.5, indexing="ij")
    _, variance, _ = prior.tables.at(32.0)
    expected = np.interp(np.hypot(y, x) / 32, prior.tables.radius, variance) + prior.noise_level**2
    np.testing.assert_allclose(np.diag(image_prior.covariance()), expected.ravel(), rtol=0.05)


def test_shapes_change_smoothly_between_tabulated_boxes(prior):
    variances = [prior.for_shape((n, n)).covariance()[0, 0] for n in (31, 32, 33)]
    assert abs(variances[0] - variances[2]) < 0.2 * variances[1]


@pytest.mark.parametrize("shape", [(9, 9), (8, 8), (9, 12)])
def test_holding_the_center_is_the_textbook_conditional(shape):
    free = dataclasses.replace(load_gaussian_prior(), center_sigma=None).for_shape(shape)
    held = load_gaussian_prior().for_shape(shape)
    center = np.zeros(shape)
    center[tuple(slice((n - 1) // 2, n // 2 + 1) for n in shape)] = 1
    center /= center.sum()
    middle = float(np.sum(center * np.asarray(free.mean)))
    mean, covariance = free.posterior(center.reshape(1, -1), np.array([middle]), np.array([1 / 0.1**2]))
    np.testing.assert_allclose(mean, np.ravel(held.mean), atol=1e-5)
    np.testing.assert_allclose(covariance, held.covariance(), atol=2e-5)
    assert center.ravel() @ free.covariance() @ center.ravel() > 10 * 0.1**2  # it did change something


def test_noise_level_adds_in_quadrature():
    free = dataclasses.replace(load_gaussian_prior(), center_sigma=None)
    quiet, loud = (
        dataclasses.replace(free, noise_level=s).for_shape((9, 9)).covariance() for s in (0.1, 0.5)
    )
    np.testing.assert_allclose(np.diag(loud - quiet), 0.24, rtol=2e-3)


def test_leading_modes_never_split_a_pair():
    factors = np.random.default_rng(0).normal(size=(3, 8, 4))
    for rank in range(10):
        modes = leading_modes(factors, np.ones(8), np.ones(8), rank)
        assert sum(1 if order == 0 else 2 for order, _ in modes) <= rank


def test_bad_input(prior, tmp_path):
    with pytest.raises(ShapeError, match=r"needs \(y, x\)"):
        prior.for_shape((0, 4))
    with pytest.raises(ShapeError, match=r"not \(9, 10\)"):
        prior.for_shape((9, 9)).log_prob(jnp.zeros((9, 10)))
    with pytest.raises(ShapeError, match="d = 16"):
        prior.for_shape((4, 4)).posterior(np.ones((3, 15)), np.ones(3), np.ones(3))
    with pytest.raises(ConfigError, match="noise_level is 0"):
        GaussianMorphologyPrior(prior.tables, noise_level=0.0)
    with pytest.raises(ConfigError, match="rank is -1"):
        GaussianMorphologyPrior(prior.tables, rank=-1)
    np.savez(tmp_path / "bad.npz", boxes=np.ones(2))
    with pytest.raises(FileFormatError, match="lacks radius, mean"):
        read_tables(tmp_path / "bad.npz")
