"""Diagonals of matrices that are known by their products."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from scoresample.numerics.compiling import quick_jit

BATCH = 16
"""Probes of one point in one compiled piece, between two looks at the error."""


class AbstractOperator(eqx.Module):
    """A matrix over the pixels of an image, another one at each point."""

    @abc.abstractmethod
    def product(self, point: PyTree[Array], image: Float[Array, "y x"]) -> Float[Array, "y x"]:
        """Return the matrix at a point times an image."""


class Diagonals(NamedTuple):
    """Diagonals of an operator at some points.

    Attributes
    ----------
    values
        The diagonals.
    error
        Standard error of their mean over points that the probes leave.
    num_probes
        Probes over all points; 0 where the diagonals are exact.
    enough
        Whether the error is as small as was asked for.
    """

    values: Float[np.ndarray, "point y x"]
    error: Float[np.ndarray, "y x"]
    num_probes: int
    enough: bool


def exact_diagonals(values) -> Diagonals:
    """Return diagonals that are known without probes."""
    values = np.asarray(values, np.float64)
    return Diagonals(values, np.zeros(values.shape[1:]), 0, True)


def probed_diagonals(
    key: PRNGKeyArray,
    operator: AbstractOperator,
    points: PyTree[Array],
    shape: tuple[int, int],
    relative_error: float,
    max_probes: int,
) -> Diagonals:
    r"""Return the diagonal of an operator A at each point: :math:`E[z \odot A z]` over Rademacher probes z.

    Probes are added until the error of the mean over points is ``relative_error`` (root mean squares over pixels), or
    ``max_probes`` over all points are used up; unit vectors for all pixels are taken once they are the cheaper way, and
    exact (Bekas, Kokiopoulou & Saad 2007, Applied Numerical Mathematics 57, 1214).

    Parameters
    ----------
    points
        Leaves with one leading axis.
    shape
        Of images.
    """
    num_points, size = len(jax.tree.leaves(points)[0]), int(np.prod(shape))
    products, count = [], 0
    while True:
        key, key_batch = jax.random.split(key)
        products.append(np.asarray(_probe(operator, points, shape, key_batch), np.float64))
        count += BATCH * num_points
        values, error = _estimate(np.concatenate(products, axis=1))
        left, goal = _rms(error), relative_error * _rms(values.mean(axis=0))
        if left <= goal or count >= max_probes:
            break
        missing = count * ((left / goal) ** 2 - 1) if goal > 0 else np.inf
        if size * num_points <= min(max_probes, missing):
            return exact_diagonals(_all_pixels(operator, points, shape))
    return Diagonals(values.reshape(num_points, *shape), error.reshape(shape), count, left <= goal)


def _estimate(products: Float[np.ndarray, "point probe n"]):
    """Return the mean over probes, and the standard error of the mean over probes and points."""
    variance = products.var(axis=1, ddof=1) / products.shape[1]
    return products.mean(axis=1), np.sqrt(variance.sum(axis=0)) / len(products)


def _rms(values: Float[np.ndarray, " n"]) -> float:
    return float(np.sqrt(np.mean(values**2)))


@quick_jit
def _probe(
    operator: AbstractOperator, points: PyTree[Array], shape: tuple[int, int], key: PRNGKeyArray
) -> Float[Array, "point probe n"]:
    dtype = jnp.result_type(*jax.tree.leaves(points))

    def one(arguments):
        point, key = arguments
        probes = jax.random.rademacher(key, (BATCH, *shape), dtype)
        return jax.lax.map(lambda z: (z * operator.product(point, z)).ravel(), probes)

    return jax.lax.map(one, (points, jax.random.split(key, len(jax.tree.leaves(points)[0]))))


@quick_jit
def _all_pixels(
    operator: AbstractOperator, points: PyTree[Array], shape: tuple[int, int]
) -> Float[Array, "point y x"]:
    size, dtype = int(np.prod(shape)), jnp.result_type(*jax.tree.leaves(points))

    def entry(point, index):
        unit = jnp.zeros(size, dtype).at[index].set(1).reshape(shape)
        return operator.product(point, unit).ravel()[index]

    def one(point):
        return jax.lax.map(lambda index: entry(point, index), jnp.arange(size)).reshape(shape)

    return jax.lax.map(one, points)
