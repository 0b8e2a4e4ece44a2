"""Curvature without Hessians, against dense algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.numerics.curvature import hessian_vector, hutchinson_diagonal, lanczos, lanczos_of_sum

RUN = jax.jit(lambda a, start, n: lanczos(lambda v: a @ v, start, n), static_argnums=2)


def symmetric(size, values=None, seed=0):
    """Return a dense symmetric matrix, float64, with the given eigenvalues, or random ones."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    values = np.random.default_rng(seed + 1).normal(size=size) if values is None else values
    return basis * values @ basis.T


def run_lanczos(matrix, num_steps, key):
    operator = jnp.asarray(matrix)
    start = jax.random.normal(key, (len(matrix),), operator.dtype)
    return [np.asarray(a) for a in RUN(operator, start, num_steps)]


def test_hessian_vector_is_the_hessian_times_the_vector():
    function = lambda x: x[0] ** 3 * x[1] + x[1] * x[2] ** 2
    x, v = jnp.array([0.5, -1.0, 2.0]), jnp.array([1.0, 2.0, -0.5])
    hessian = np.array([[-3.0, 0.75, 0.0], [0.75, 0.0, 4.0], [0.0, 4.0, -2.0]])
    product = jax.jit(lambda x, v: hessian_vector(jax.grad(function), x, v))(x, v)
    np.testing.assert_allclose(product, hessian @ v, rtol=1e-5)


def test_as_many_steps_as_dimensions_give_all_eigenvalues(key):
    matrix = symmetric(20)
    values, vectors, residual = run_lanczos(matrix, 20, key)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), atol=2e-5)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(20), atol=2e-5)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=5e-5)
    assert residual.max() < 1e-4


def test_the_ends_of_the_spectrum_come_first(key):
    inner = np.linspace(-1, 1, 196)
    matrix = symmetric(200, np.concatenate([[-9.0, -6.0], inner, [7.0, 12.0]]))
    values, vectors, residual = run_lanczos(matrix, 20, key)
    np.testing.assert_allclose(values[[0, 1, -2, -1]], [-9, -6, 7, 12], rtol=1e-5)
    assert residual[[0, 1, -2, -1]].max() < 1e-3
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(20), atol=1e-5)
    assert residual[5:-5].max() > 1e-3  # negative control: the middle has not converged


def test_each_part_of_a_sum_is_known_where_the_sum_was_followed(key):
    parts = jnp.asarray(np.stack([symmetric(30, seed=seed) for seed in (3, 5)]))
    start = jax.random.normal(key, (30,), parts.dtype)
    basis, projected, _ = jax.jit(lambda a, v: lanczos_of_sum(lambda x: a @ x, v, 8))(parts, start)
    np.testing.assert_allclose(basis @ basis.T, np.eye(8), atol=1e-5)
    np.testing.assert_allclose(projected, basis @ parts @ basis.T, atol=1e-5)
    values, _, _ = run_lanczos(np.asarray(parts.sum(axis=0), float), 8, key)
    np.testing.assert_allclose(np.linalg.eigvalsh(projected.sum(axis=0)), values, atol=2e-5)


def test_residuals_are_those_of_the_pairs(key):
    matrix = symmetric(60)
    values, vectors, residual = run_lanczos(matrix, 12, key)
    exact = np.linalg.norm(matrix @ vectors - vectors * values, axis=0)
    np.testing.assert_allclose(residual, exact, atol=2e-5)


@pytest.mark.parametrize("rank", [1, 3])
def test_low_rank_plus_identity_exhausts_itself(key, rank):
    leading = np.array([50.0, 20.0, 5.0])[:rank]
    matrix = symmetric(40, np.concatenate([np.ones(40 - rank), leading]))
    values, vectors, residual = run_lanczos(matrix, 10, key)
    assert np.isfinite(values).all() and np.isfinite(vectors).all() and np.isfinite(residual).all()
    np.testing.assert_allclose(np.sort(values)[-rank:], np.sort(leading), rtol=1e-4)
    found = vectors[:, np.argsort(values)[-rank:]]
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), 1, atol=1e-4)
    np.testing.assert_allclose(found.T @ found, np.eye(rank), atol=1e-4)
    np.testing.assert_allclose(matrix @ found, found * np.sort(leading), atol=5e-3)


def off_by_sigmas(estimate, error, exact):
    return (np.asarray(estimate) - exact) / np.asarray(error)


def test_hutchinson_is_right_within_its_own_error(key):
    matrix = symmetric(300, np.random.default_rng(5).uniform(0.5, 3, 300), seed=5)
    operator, exact = jnp.asarray(matrix), np.diag(matrix)
    estimate, error = hutchinson_diagonal(key, lambda v: operator @ v, 300, 200)
    z = off_by_sigmas(estimate, error, exact)
    assert np.abs(z).max() < 5
    assert 0.85 < z.std() < 1.15
    expected = np.sqrt((np.sum(matrix**2, axis=1) - exact**2) / 200)
    np.testing.assert_allclose(error, expected, rtol=0.3)
    assert off_by_sigmas(estimate, error, 1.1 * exact).mean() < -1  # negative control


def test_hutchinson_is_exact_for_a_diagonal(key):
    diagonal = jnp.array([1.0, -2.0, 0.5, 8.0])
    estimate, error = hutchinson_diagonal(key, lambda v: diagonal * v, 4, 3)
    np.testing.assert_allclose(estimate, diagonal, rtol=1e-6)
    np.testing.assert_allclose(error, 0, atol=1e-6)
