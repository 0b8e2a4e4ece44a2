"""Interpolation in tables: exact at nodes and for quadratics, smooth in between."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.numerics.interpolation import interpolate_rows

INTERPOLATE = jax.jit(lambda *arguments: interpolate_rows(*arguments))


def at(table, row, column):
    return np.asarray(INTERPOLATE(jnp.asarray(table), jnp.asarray(float(row)), jnp.asarray(column, float)))


def test_nodes_are_exact():
    table = np.random.default_rng(0).normal(size=(5, 9))
    for row in range(5):
        np.testing.assert_allclose(at(table, row, np.arange(9)), table[row], atol=1e-6)


@pytest.mark.parametrize("row", [1.0, 1.3, 2.9])
def test_quadratics_are_reproduced_inside(row):
    y, x = np.indices((6, 9))
    quadratic = lambda y, x: 0.3 * y**2 - 0.2 * y + 0.1 * x**2 + 0.5 * x - 1 + 0.05 * x * y
    columns = np.linspace(1, 7, 31)
    np.testing.assert_allclose(at(quadratic(y, x), row, columns), quadratic(row, columns), atol=2e-5)
    quartic = at(x**4.0, row, columns)  # negative control: no interpolation by cubics does these
    assert np.abs(quartic - columns**4).max() > 0.1


@pytest.mark.parametrize("axis", [0, 1])
def test_value_and_slope_are_continuous_across_nodes(axis):
    table = jnp.asarray(np.random.default_rng(1).normal(size=(6, 9)))
    along = [
        lambda t: interpolate_rows(table, t, jnp.array([4.3]))[0],
        lambda t: interpolate_rows(table, jnp.asarray(2.6), t[None])[0],
    ][axis]
    along, slope = jax.jit(along), jax.jit(jax.grad(along))
    bend, step = jax.jit(jax.grad(slope)), 1e-4
    for node in (2.0, 3.0):
        before, after = jnp.asarray(node - step), jnp.asarray(node + step)
        slopes = [float(slope(t)) for t in (before, after)]
        values = [float(along(t)) for t in (before, after)]
        np.testing.assert_allclose(*slopes, atol=5e-3)
        np.testing.assert_allclose(*values, atol=5e-3)
        bends = [float(bend(t)) for t in (before, after)]
        assert abs(bends[0] - bends[1]) > 0.05  # negative control: the second derivative does jump


def test_slopes_agree_with_finite_differences():
    with jax.enable_x64(True):
        table = jnp.asarray(np.random.default_rng(2).normal(size=(6, 9)))
        f = jax.jit(lambda p: interpolate_rows(table, p[0], p[1:])[0])
        slope_at = jax.jit(jax.grad(f))
        for point in ([0.4, 0.3], [2.5, 4.9], [4.8, 7.7]):
            gradient = slope_at(jnp.array(point))
            for axis in (0, 1):
                step = 1e-6 * jnp.eye(2)[axis]
                slope = (f(jnp.array(point) + step) - f(jnp.array(point) - step)) / 2e-6
                np.testing.assert_allclose(gradient[axis], slope, atol=1e-7)


def test_beyond_the_table_its_edge_is_held():
    table = np.random.default_rng(3).normal(size=(4, 6))
    np.testing.assert_allclose(at(table, 9.0, [-3.0, 12.0]), [table[-1, 0], table[-1, -1]], atol=1e-6)
    np.testing.assert_allclose(at(table, -1.0, [2.0]), [table[0, 2]], atol=1e-6)


def test_any_shape_of_columns():
    table = np.random.default_rng(4).normal(size=(4, 6))
    columns = np.array([[0.5, 1.5, 2.5], [3.5, 4.5, 0.0]])
    assert at(table, 1.2, columns).shape == (2, 3)
    np.testing.assert_allclose(at(table, 1.2, columns)[1], at(table, 1.2, columns[1]), atol=1e-6)
