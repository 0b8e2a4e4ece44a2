"""How far a score is from being the gradient of anything."""

from typing import NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray


@runtime_checkable
class HasScore(Protocol):
    """A prior, or any other tree with a method ``score`` that keeps the shape of an array."""

    def score(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the score at a point."""
        ...


class Curl(NamedTuple):
    """How far a score is from a gradient, |J - J^T| / |J| in the Frobenius norm, and its standard error."""

    value: float
    error: float


def curl(
    key: PRNGKeyArray, field: HasScore, points: Float[Array | np.ndarray, "n ..."], num_probes: int = 32
) -> Curl:
    r"""Estimate the antisymmetric part of the Jacobian J of a score, averaged over points.

    With random signs v, :math:`E|Jv - J^T v|^2 = |J - J^T|^2` and :math:`E|Jv|^2 = |J|^2` (Hutchinson 1989). A gradient
    reads 0, but for rounding. Where a symmetric Jacobian has an antisymmetric part of c times its size added, it
    reads :math:`2c / \sqrt{1 + c^2}`.

    Parameters
    ----------
    key
        Of the probes.
    field
        A prior, or anything else with a score.
    points
        Where to measure, such as images u; each has its own probes.
    num_probes
        In all, at least one for each point.
    """
    each = -(-num_probes // len(points))
    keys = jax.random.split(key, len(points) * each)
    repeated = jnp.repeat(jnp.asarray(points, jnp.result_type(float)), each, axis=0)
    twisted, total = (np.asarray(part, float) for part in _jacobian_norms(field, keys, repeated))
    value = np.sqrt(twisted.mean() / total.mean())
    # Of the ratio of two means, then of its root. Probes of one point share its Jacobian, so that points count; where
    # there is one point, only the probes scatter.
    residual = twisted - value**2 * total
    if len(points) > 1:
        residual = residual.reshape(len(points), each).mean(axis=1)
    spread = np.std(residual, ddof=1) / total.mean() / np.sqrt(len(residual))
    return Curl(float(value), float(spread / (2 * value)) if value > 0 else 0.0)


@eqx.filter_jit
def _jacobian_norms(field: HasScore, keys: Key[Array, " n"], points: Float[Array, "n ..."]):
    """Return |Jv - J^T v|^2 and |Jv|^2 for one probe at each point."""

    def norms(pair):
        key, point = pair
        probe = jax.random.rademacher(key, point.shape, point.dtype)
        forward = jax.jvp(field.score, (point,), (probe,))[1]
        backward = jax.vjp(field.score, point)[1](probe)[0]
        return jnp.sum((forward - backward) ** 2), jnp.sum(forward**2)

    return jax.lax.map(norms, (keys, points))
