"""The low-rank scale against its dense matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.numerics.linear import (
    LowRankScale,
    block_diagonal,
    identity_scale,
    scale_from_covariance,
    scale_of_posterior,
)


@pytest.fixture(scope="module")
def scale():
    rng = np.random.default_rng(0)
    directions, _ = np.linalg.qr(rng.normal(size=(12, 3)))
    stretch = np.array([5.0, 0.2, 1.7])
    return LowRankScale(*(jnp.asarray(a) for a in (rng.uniform(0.5, 2, 12), directions, stretch)))


@pytest.fixture(scope="module")
def dense(scale):
    d, q, s = (np.asarray(a, float) for a in (scale.diagonal, scale.directions, scale.stretch))
    return d[:, None] * (np.eye(12) + q @ np.diag(s - 1) @ q.T)


def test_every_product_is_that_of_the_dense_matrix(scale, dense):
    v = np.random.default_rng(1).normal(size=12)
    x = jnp.asarray(v)
    np.testing.assert_allclose(scale.apply(x), dense @ v, atol=1e-5)
    np.testing.assert_allclose(scale.apply_transpose(x), dense.T @ v, atol=1e-5)
    np.testing.assert_allclose(scale.inverse(x), np.linalg.solve(dense, v), atol=1e-5)
    assert np.abs(dense @ v - dense.T @ v).max() > 0.1  # negative control: it is not symmetric


def test_inverse_undoes_apply(scale):
    z = jax.random.normal(jax.random.key(3), (12,))
    np.testing.assert_allclose(scale.inverse(scale.apply(z)), z, atol=1e-5)
    np.testing.assert_allclose(scale.apply(scale.inverse(z)), z, atol=1e-5)


def test_log_det_is_that_of_the_dense_matrix(scale, dense):
    np.testing.assert_allclose(scale.log_det(), np.linalg.slogdet(dense)[1], rtol=1e-5)


def test_transpose_turns_gradients_into_whitened_ones(scale):
    function = lambda x: jnp.sum(jnp.sin(x) * jnp.arange(12.0))
    z = jnp.linspace(-1, 1, 12)
    expected = jax.grad(lambda z: function(scale.apply(z)))(z)
    np.testing.assert_allclose(scale.apply_transpose(jax.grad(function)(scale.apply(z))), expected, atol=1e-4)


def test_the_identity_changes_nothing():
    one, x = identity_scale(5), jnp.arange(5.0)
    assert one.size == 5 and float(one.log_det()) == 0
    for map_ in (one.apply, one.apply_transpose, one.inverse):
        np.testing.assert_array_equal(map_(x), x)


@pytest.mark.parametrize("rank", [0, 2, 9])
def test_a_scale_made_from_a_covariance_is_a_root_of_it(rank):
    rng = np.random.default_rng(rank)
    factor, variance = 2 * rng.normal(size=(7, rank)), rng.uniform(0.1, 3, 7)
    scale = scale_from_covariance(factor, variance)
    root = np.asarray(jax.vmap(scale.apply)(jnp.eye(7)), float).T
    covariance = factor @ factor.T + np.diag(variance)
    np.testing.assert_allclose(root @ root.T, covariance, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(2 * scale.log_det(), np.linalg.slogdet(covariance)[1], rtol=1e-4)


def test_a_posterior_has_the_covariance_of_prior_and_data(scale, dense):
    """Data that know four directions: five are enough to have all of it, two are not."""
    rows = np.random.default_rng(5).normal(size=(4, 12))
    information = rows.T @ np.diag([30.0, 10.0, 3.0, 1.0]) @ rows
    exact = np.linalg.inv(np.linalg.inv(dense @ dense.T) + information)

    def covariance(num_directions):
        found = scale_of_posterior(scale, lambda v: information @ v, num_directions, jnp.result_type(float))
        root = np.asarray(jax.vmap(found.apply)(jnp.eye(12)), float).T
        np.testing.assert_allclose(jax.vmap(found.inverse)(root.T), np.eye(12), atol=1e-4)
        return root @ root.T

    np.testing.assert_allclose(covariance(5), exact, atol=1e-4)
    assert np.abs(covariance(2) - exact).max() > 1e-2


def test_groups_one_after_another_are_independent(scale, dense):
    both = block_diagonal([scale, identity_scale(3)])
    v = np.random.default_rng(6).normal(size=15)
    expected = np.concatenate([dense @ v[:12], v[12:]])
    np.testing.assert_allclose(both.apply(jnp.asarray(v)), expected, atol=1e-5)
