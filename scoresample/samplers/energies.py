"""How the energy along a trajectory is known: by values of the density, or by the work of its score."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Vector = Float[Array, " n"]


class Quadrature(NamedTuple):
    """Points and weights on a segment from 0 to 1: its two ends, and what lies between.

    Attributes
    ----------
    at_ends
        Weight of either end.
    points, weights
        Of the points between.
    """

    at_ends: float
    points: tuple[float, ...]
    weights: tuple[float, ...]


def gauss_legendre(num_points: int) -> Quadrature:
    """Return the rule that is exact for polynomials up to degree ``2 num_points - 1``."""
    points, weights = np.polynomial.legendre.leggauss(num_points)
    return Quadrature(0.0, tuple(0.5 * (points + 1)), tuple(0.5 * weights))


SIMPSON = Quadrature(1 / 6, (0.5,), (4 / 6,))
"""One more score for each segment, since those at the ends are known anyway."""

QUADRATURES = {
    "simpson": SIMPSON,
    "gauss2": gauss_legendre(2),
    "gauss3": gauss_legendre(3),
    "gauss4": gauss_legendre(4),
    "chord": gauss_legendre(8),
}
"""Rules by name. The trapezoid is not among them: it is exact for Gaussians, and wrong for all else."""


class AbstractTarget(abc.ABC):
    """A density in flat coordinates, as integrators see it.

    What is known at a point is a value of the log density, up to a constant that stays the same along a trajectory,
    and whatever gives its score. States of blackjax kernels keep both, in ``logdensity`` and ``logdensity_grad``.
    """

    @abc.abstractmethod
    def start(self, z: Vector) -> tuple[Float[Array, ""], Any]:
        """Return what is known where a chain begins."""

    @abc.abstractmethod
    def follow(self, state, z: Vector) -> tuple[Float[Array, ""], Any]:
        """Return what is known at a point reached in a straight line from a state."""

    @abc.abstractmethod
    def score(self, known: Any) -> Vector:
        """Return the gradient of the log density at a known point."""


class ValueTarget(AbstractTarget):
    """A density with values."""

    def __init__(self, log_prob: Callable[[Vector], Float[Array, ""]]):
        self.log_prob = log_prob

    def start(self, z: Vector):
        return jax.value_and_grad(self.log_prob)(z)

    def follow(self, state, z: Vector):
        return self.start(z)

    def score(self, known: Vector) -> Vector:
        return known


class Known(NamedTuple):
    """What is known at a point of a density that has no value: two scores, and the value of the explicit part."""

    explicit_score: Vector
    score: Vector
    explicit: Float[Array, ""]


class WorkTarget(AbstractTarget):
    r"""A density with a part of which only the score is known.

    From one point to the next the log density changes by

    .. math:: \ell(z') - \ell(z) + \int_0^1 s\big(z + t (z' - z)\big) \cdot (z' - z)\, dt

    with the explicit part :math:`\ell` and the score s of the rest. Where s is a gradient, the integral is the
    difference of a density nobody needs to know, and accept/reject by it is exact up to the rule of integration.

    Parameters
    ----------
    explicit
        Maps a point to the part that has a value.
    score
        Maps a point to the score of the other.
    quadrature
        Rule for the integral over each step of a trajectory; None counts the explicit part alone, for trajectories
        that are integrated over as a whole.
    """

    def __init__(
        self,
        explicit: Callable[[Vector], Float[Array, ""]],
        score: Callable[[Vector], Vector],
        quadrature: Quadrature | None = SIMPSON,
    ):
        self.explicit = explicit
        self.score_only = score
        self.quadrature = quadrature

    def start(self, z: Vector):
        explicit, explicit_score = jax.value_and_grad(self.explicit)(z)
        return jnp.zeros_like(explicit), Known(explicit_score, self.score_only(z), explicit)

    def follow(self, state, z: Vector):
        before, rule = state.logdensity_grad, self.quadrature
        explicit, explicit_score = jax.value_and_grad(self.explicit)(z)
        value = state.logdensity + (explicit - before.explicit)
        if rule is None:
            return value, Known(explicit_score, self.score_only(z), explicit)
        # The end and the points between go through a network together.
        way = z - state.position
        points = jnp.asarray((*rule.points, 1.0), z.dtype)
        scores = jax.vmap(self.score_only)(state.position + points[:, None] * way)
        mean = rule.at_ends * (before.score + scores[-1]) + jnp.asarray(rule.weights, z.dtype) @ scores[:-1]
        return value + mean @ way, Known(explicit_score, scores[-1], explicit)

    def work(self, begin: Vector, end: Vector, rule: Quadrature) -> Float[Array, ""]:
        """Return the work of the score along the straight line between two points."""
        way = end - begin
        at, weights = rule.points, rule.weights
        if rule.at_ends:
            at, weights = (0.0, *at, 1.0), (rule.at_ends, *weights, rule.at_ends)
        points = begin + jnp.asarray(at, begin.dtype)[:, None] * way
        return jnp.asarray(weights, begin.dtype) @ (jax.vmap(self.score_only)(points) @ way)

    def score(self, known: Known) -> Vector:
        return known.explicit_score + known.score
