"""Linear fluxes, integrated out: against dense linear algebra in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from scoresample.density.fluxes import log_evidence, solve_fluxes

BANDS, COLUMNS, PIXELS = 2, 3, 20


@pytest.fixture
def problem(seed_shift):
    """Columns, data, weights, prior mean and precision; the first two columns are much alike."""
    rng = np.random.default_rng(seed_shift)
    columns = rng.normal(size=(COLUMNS, BANDS, PIXELS))
    columns[1] = columns[0] + 0.3 * columns[1]
    weight = rng.uniform(0, 3, (BANDS, PIXELS))
    weight[0, :4] = 0
    mean, root = rng.normal(size=(BANDS, COLUMNS)), rng.normal(size=(BANDS, COLUMNS, COLUMNS))
    precision = 0.3 * root @ root.transpose(0, 2, 1) + 0.5 * np.eye(COLUMNS)
    return columns, 5 * rng.normal(size=(BANDS, PIXELS)), weight, mean, precision


def solve(columns, data, weight, mean, precision):
    arrays = (jnp.asarray(a) for a in (columns, data, np.sqrt(weight), mean, precision))
    return solve_fluxes(*arrays)


def exact(columns, data, weight, mean, precision):
    """Mean and covariance of the fluxes in each band."""
    means, covariances = [], []
    for b in range(BANDS):
        design = columns[:, b].T
        gram = design.T @ (weight[b][:, None] * design) + precision[b]
        right = design.T @ (weight[b] * data[b]) + precision[b] @ mean[b]
        means.append(np.linalg.solve(gram, right))
        covariances.append(np.linalg.inv(gram))
    return np.array(means), np.array(covariances)


def test_mean_and_covariance_are_those_of_the_normal_equations(problem):
    mean, covariance = exact(*problem)
    found = solve(*problem)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.covariance(), covariance, rtol=1e-3, atol=1e-5)


def log_density_of_data(columns, data, weight, mean, precision):
    """Log density of the pixels with weight, under Gaussian fluxes and Gaussian noise, all dense."""
    total = 0.0
    for b in range(BANDS):
        seen = weight[b] > 0
        design = columns[:, b, seen].T
        covariance = np.diag(1 / weight[b, seen]) + design @ np.linalg.inv(precision[b]) @ design.T
        total += multivariate_normal(design @ mean[b], covariance).logpdf(data[b, seen])
    return total


def log_evidence_with_constants(problem):
    _, _, weight, _, precision = problem
    seen = weight[weight > 0]
    constants = 0.5 * np.sum(np.log(seen / (2 * np.pi))) + 0.5 * np.sum(np.linalg.slogdet(precision)[1])
    return float(solve(*problem).log_evidence) + constants


def test_evidence_is_the_density_of_the_data(problem):
    np.testing.assert_allclose(log_evidence_with_constants(problem), log_density_of_data(*problem), rtol=2e-5)


def test_that_test_sees_the_log_determinant(problem):
    found = solve(*problem)
    without = log_evidence_with_constants(problem) - float(found.log_evidence) + float(found.log_maximum)
    assert abs(without - log_density_of_data(*problem)) > 1


def test_flat_evidence_is_the_integral_of_the_likelihood(problem):
    columns, data, weight, mean, precision = problem
    columns, flat = columns[:2], 0 * precision[:, :2, :2]
    found = solve(columns, data, weight, mean[:, :2], flat)
    total = 0.0
    for b in range(BANDS):
        center, unit = (
            np.asarray(found.mean[b], float),
            np.sqrt(np.diag(np.asarray(found.covariance()[b], float))),
        )
        steps = np.linspace(-9, 9, 361)
        grid = center + unit * np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1)
        residual = data[b] - grid @ columns[:, b]
        log_likelihood = -0.5 * np.sum(weight[b] * residual**2, axis=-1)
        peak = log_likelihood.max()
        total += peak + np.log(
            np.sum(np.exp(log_likelihood - peak)) * np.prod(unit) * (steps[1] - steps[0]) ** 2
        )
    np.testing.assert_allclose(float(found.log_evidence) + BANDS * np.log(2 * np.pi), total, rtol=1e-5)


def test_maximum_is_the_value_at_the_mean_and_the_highest(problem):
    columns, data, weight, mean, precision = problem
    found = solve(*problem)

    def value(flux):
        residual = data - np.einsum("bk,kbp->bp", flux, columns)
        pulled = np.einsum("bk,bkl,bl", flux - mean, precision, flux - mean)
        return -0.5 * np.sum(weight * residual**2) - 0.5 * pulled

    best = np.asarray(found.mean, float)
    np.testing.assert_allclose(float(found.log_maximum), value(best), rtol=1e-5)
    steps = 0.1 * np.random.default_rng(0).normal(size=(20, *best.shape))
    assert max(value(best + step) for step in steps) < value(best)


def draw_z(problem, covariance, seed):
    """Z-values of means and second moments of draws, whitened by a claimed covariance."""
    mean, _ = exact(*problem)
    found = solve(*problem)
    draws = np.asarray(jax.vmap(found.draw)(jax.random.split(jax.random.key(seed), 20_000)), float)
    z = []
    for b in range(BANDS):
        white = np.linalg.solve(np.linalg.cholesky(covariance[b]), (draws[:, b] - mean[b]).T).T
        products = np.einsum("ni,nj->nij", white, white) - np.eye(COLUMNS)
        for moments in (white, products.reshape(len(white), -1)):
            z.append(moments.mean(axis=0) / (moments.std(axis=0) / np.sqrt(len(moments))))
    return np.abs(np.concatenate(z)).max()


def test_conditional_draws_have_the_full_covariance(problem, seed_shift):
    assert draw_z(problem, exact(*problem)[1], seed_shift) < 5


def test_that_test_sees_errors_that_ignore_neighbours(problem, seed_shift):
    columns, _, weight, _, precision = problem
    alone = 1 / (np.einsum("kbp,bp->bk", columns**2, weight) + np.einsum("bkk->bk", precision))
    assert draw_z(problem, np.stack([np.diag(variance) for variance in alone]), seed_shift) > 10


def test_fluxes_of_bright_sources_survive_the_working_precision(seed_shift):
    """Pixels at ten thousand sigma: the chi-square is still that of the noise."""
    rng = np.random.default_rng(7 + seed_shift)
    columns = rng.uniform(0.5, 1.5, (2, 1, 400)).astype(np.float32).astype(float)
    noise = rng.normal(size=(1, 400))
    data = (1e4 * columns.sum(axis=0) + noise).astype(np.float32).astype(float)
    problem = (columns, data, np.ones((1, 400)), np.zeros((1, 2)), np.zeros((1, 2, 2)))
    best = np.linalg.lstsq(columns[:, 0].T, data[0], rcond=None)[0]
    chi_squared = np.sum((data[0] - best @ columns[:, 0]) ** 2)
    np.testing.assert_allclose(-2 * float(solve(*problem).log_maximum), chi_squared, rtol=1e-3)


SHARE = np.array([[0.5, 0.5, 0.0]])
"""One object of two components; the third column is a background."""


def evidence_by_parts(columns, data, root_weight, mean, precision):
    """What `log_evidence` writes out the derivative of, left to automatic differentiation."""
    solution = solve_fluxes(columns, data, root_weight, mean, precision)
    squares = jnp.einsum("kbp,bp->kb", columns**2, root_weight**2)
    of_object = (jnp.asarray(SHARE) @ squares)[0]
    return solution.log_evidence + 0.5 * jnp.log(of_object[1])  # scale free in the second band only


def test_the_derivatives_of_the_evidence_are_those_of_its_parts(problem):
    columns, data, weight, mean, precision = (np.asarray(a) for a in problem)
    arrays = tuple(jnp.asarray(a) for a in (columns, data, np.sqrt(weight), mean, precision))
    free = jnp.asarray([[False], [True]])

    def written_out(*arrays):
        return log_evidence(*arrays, jnp.asarray(SHARE), free)

    every = tuple(range(len(arrays)))
    direction = jnp.asarray(np.random.default_rng(1).normal(size=columns.shape))
    found = []
    for function in (written_out, evidence_by_parts):
        value, gradient = jax.value_and_grad(function, argnums=every)(*arrays)
        by_columns = lambda c, function=function: jax.grad(function)(c, *arrays[1:])
        second = jax.jvp(by_columns, arrays[:1], (direction,))[1]
        symmetric = gradient[-1] + jnp.swapaxes(gradient[-1], 1, 2)  # a precision is symmetric
        found.append((value, *gradient[:-1], symmetric, second))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4 * float(jnp.max(jnp.abs(other))))
    # A derivative without the term of the scale is another.
    without = jax.grad(lambda c: solve_fluxes(c, *arrays[1:]).log_evidence)(columns)
    assert not np.allclose(without, found[0][1], rtol=2e-3, atol=2e-4 * float(jnp.max(jnp.abs(without))))
