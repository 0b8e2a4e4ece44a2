"""Coordinates in which a posterior is round, so that samplers take long steps."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.density.base import AbstractDensity, Position
from scoresample.numerics.curvature import hessian_vector, lanczos
from scoresample.numerics.linear import LowRankScale, identity_scale
from scoresample.numerics.trees import flatten


class Whitening(eqx.Module):
    r"""An affine map from whitened coordinates to positions, :math:`\theta = \theta_0 + L_{prior} L_{data}\, z`.

    The first factor is a square root of the prior covariance, leaf by leaf. The second knows the leading
    directions of curvature that the data add (or, with a negative sign, take away). It only changes how
    fast samplers are: the density in z differs from that in the position by a constant.

    Attributes
    ----------
    center
        The position at z = 0.
    prior
        Scales for the leaves of the position, in the order of the tree; None for the identity.
    data
        Scale in the coordinates whitened by the prior.
    """

    center: Position
    prior: tuple[LowRankScale, ...] | None
    data: LowRankScale

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.data.size

    def position(self, z: Float[Array, " n"]) -> Position:
        """Map whitened coordinates to a position."""
        center, unflatten = flatten(self.center)
        moved = self._along_prior(self.data.apply(z))
        return unflatten(center + moved.astype(center.dtype))

    def coordinates(self, position: Position) -> Float[Array, " n"]:
        """Map a position to whitened coordinates."""
        difference = flatten(position)[0] - flatten(self.center)[0]
        if self.prior is not None:
            parts = jnp.split(difference, self._ends()[:-1])
            difference = jnp.concatenate([s.inverse(p) for s, p in zip(self.prior, parts, strict=True)])
        return self.data.inverse(difference)

    def _along_prior(self, z: Float[Array, " n"]) -> Float[Array, " n"]:
        if self.prior is None:
            return z
        parts = jnp.split(z, self._ends()[:-1])
        return jnp.concatenate([scale.apply(part) for scale, part in zip(self.prior, parts, strict=True)])

    def _ends(self) -> list[int]:
        ends = [0]
        for scale in self.prior:
            ends.append(ends[-1] + scale.size)
        return ends[1:]


def prior_whitening(density: AbstractDensity, center: Position) -> Whitening:
    """Return the whitening by the prior alone, the identity where the density knows no prior scale."""
    flat, _ = flatten(center)
    scales = density.prior_scale(center)
    scales = scales if flat.size else None
    return Whitening(center, scales, identity_scale(flat.size, flat.dtype))


DEFAULT_DIRECTIONS = 200
"""Directions of curvature that are learned; each costs one Hessian-vector product, about three scores."""


@eqx.filter_jit
def add_curvature(
    key: PRNGKeyArray, density: AbstractDensity, whitening: Whitening, num_directions: int = DEFAULT_DIRECTIONS
) -> tuple[Whitening, Float[Array, " k"]]:
    r"""Return the whitening with the leading curvature directions at its center, in place of any it had.

    Lanczos on the negative Hessian H of the log density in the given coordinates; along a Ritz direction of
    value h the coordinates are stretched by :math:`|h|^{-1/2}`. Flat directions are left alone.

    Returns
    -------
    The whitening and the Ritz values, ascending.
    """
    size = whitening.size
    whitening = eqx.tree_at(lambda w: w.data, whitening, identity_scale(size, whitening.data.diagonal.dtype))
    z = jnp.zeros(size, whitening.data.diagonal.dtype)

    def gradient(z):
        position, pull_back = jax.vjp(whitening.position, z)
        return pull_back(density.score(position))[0]

    start = jax.random.normal(key, (size,), z.dtype)
    negative_hessian = lambda v: -hessian_vector(gradient, z, v)  # noqa: E731
    values, directions, _ = lanczos(negative_hessian, start, min(num_directions, size))
    stretch = jnp.where(jnp.abs(values) > 1e-3, 1 / jnp.sqrt(jnp.maximum(jnp.abs(values), 1e-3)), 1.0)
    data = LowRankScale(whitening.data.diagonal, directions, stretch.astype(z.dtype))
    return eqx.tree_at(lambda w: w.data, whitening, data), values
