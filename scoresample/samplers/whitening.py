"""Coordinates in which a posterior is round, so that samplers take long steps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from scoresample.density.base import AbstractDensity, Position, Scale
from scoresample.numerics.bend import Bend
from scoresample.numerics.compiling import quick_jit
from scoresample.numerics.curvature import hessian_vector, lanczos_of_sum
from scoresample.numerics.linear import LowRankScale, identity_scale
from scoresample.numerics.trees import flatten, num_elements


class Whitening(eqx.Module):
    r"""A map from whitened coordinates to positions, :math:`\theta = B(\theta_0 + L_{local} L_{rest}\, z)`.

    The first factor is what the density itself knows of its covariance around the center, for groups of its
    entries. The second knows the leading directions of curvature that this leaves. B is the identity for most densities
    and entries; for some it takes out how their width varies along the way (`AbstractDensity.bends`). All only changes
    how fast samplers are: the density in z is that of the position times the volume that B takes, but for a constant.

    Attributes
    ----------
    center
        The position at z = 0.
    local
        Scales of groups of entries; None for the identity.
    groups
        Names of the entries in each group.
    rest
        Scale in the coordinates whitened by the first factor.
    bends
        B, as maps to be applied in turn.
    """

    center: Position
    local: tuple[Scale, ...] | None
    groups: tuple[tuple[str, ...], ...] = eqx.field(static=True)
    rest: LowRankScale
    bends: tuple[Bend, ...]

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.rest.size

    def position(self, z: Float[Array, " n"]) -> Position:
        """Map whitened coordinates to a position."""
        return self.position_and_volume(z)[0]

    def position_and_volume(self, z: Float[Array, " n"]) -> tuple[Position, Float[Array, ""]]:
        """Return the position, and the log-determinant of its derivative by z, but for a constant."""
        moved, log_volume = self._straight(z), jnp.zeros((), z.dtype)
        for bend in self.bends:
            moved, taken = bend.bent(moved)
            log_volume = log_volume + taken
        return moved, log_volume

    def _straight(self, z: Float[Array, " n"]) -> Position:
        z = self.rest.apply(z)
        if self.local is None:
            center, unflatten = flatten(self.center)
            return unflatten(center + z)
        moved, begin = {}, 0
        for names, scale in zip(self.groups, self.local, strict=True):
            _, unflatten = flatten([self.center[name] for name in names])
            step = unflatten(scale.apply(z[begin : begin + scale.size]))
            moved |= {name: self.center[name] + part for name, part in zip(names, step, strict=True)}
            begin += scale.size
        return moved

    def coordinates(self, position: Position) -> Float[Array, " n"]:
        """Map a position to whitened coordinates."""
        for bend in reversed(self.bends):
            position = bend.straight(position)
        difference = jax.tree.map(jnp.subtract, position, self.center)
        if self.local is None:
            return self.rest.inverse(flatten(difference)[0])
        parts = [
            scale.inverse(flatten([difference[name] for name in names])[0])
            for names, scale in zip(self.groups, self.local, strict=True)
        ]
        return self.rest.inverse(jnp.concatenate(parts))


def local_whitening(density: AbstractDensity, center: Position, bent: bool = False) -> Whitening:
    """Return the whitening by what the density knows of itself; the identity where that is nothing.

    ``bent`` says whether it is to have the density's bends.
    """
    leaves, size = jax.tree.leaves(center), num_elements(center)
    blocks = density.local_scale(center) if size else None
    rest = identity_scale(size, jnp.result_type(*leaves) if leaves else None)
    if blocks is None:
        return Whitening(center, None, (), rest, ())
    groups, scales = zip(*blocks, strict=True)
    return Whitening(center, scales, groups, rest, density.bends(center) if bent else ())


FLAT = 1e-3
"""Directions of less curvature than this are left alone."""

MAX_DIRECTIONS = 100
"""Most directions of curvature that are learned; each costs one Hessian-vector product, about three scores."""


@quick_jit
def add_curvature(
    key: PRNGKeyArray,
    density: AbstractDensity,
    whitening: Whitening,
    points: Float[Array, "point n"] | None = None,
    num_directions: int | None = None,
    num_points: int | Int[Array, ""] | None = None,
) -> tuple[Whitening, Float[Array, " k"]]:
    r"""Return the whitening with the leading directions of curvature, in place of any it had.

    Lanczos on the negative Hessian H of the log density in the given coordinates, the mean over ``points``: a
    posterior of galaxies that share light is a bent tube, whose walls are steep at every typical point, and not at
    their mean. In the directions V that it finds, coordinates are stretched by the inverse square root of

    .. math:: \frac1P \sum_p \big|V^T H_p V\big|

    with the absolute values of eigenvalues at each point: a direction is flat where all points say so, not where
    some see a hill and others a valley. What is flat is left alone.

    Parameters
    ----------
    key
        For the first direction of the search.
    density
        The density, as compiled.
    whitening
        Its coordinates, of which only ``rest`` is replaced.
    points
        Where to measure, in coordinates with ``rest`` left out; by default at the center.
    num_directions
        How many directions; by default one for every ten that the local scales tell apart, at least 50 and at most
        `MAX_DIRECTIONS`.
    num_points
        Only so many of the points count, as an array so that one compiled function serves any number.

    Returns
    -------
    The whitening and the Ritz values of H, ascending.
    """
    size = whitening.size
    whitening = eqx.tree_at(lambda w: w.rest, whitening, identity_scale(size, whitening.rest.diagonal.dtype))
    if num_directions is None:
        num_directions = int(np.clip(_num_varying(whitening) // 10, 50, MAX_DIRECTIONS))
    if points is None:
        points = jnp.zeros((1, size), whitening.rest.diagonal.dtype)

    def gradient(z):
        (position, log_volume), pull_back = jax.vjp(whitening.position_and_volume, z)
        return pull_back((density.score(position), jnp.ones_like(log_volume)))[0]

    count = len(points) if num_points is None else num_points

    def negative_hessians(v):
        """Return those of the points that count, times v; zeros for the others."""
        put = lambda index, products: products.at[index].set(-hessian_vector(gradient, points[index], v))
        return jax.lax.fori_loop(0, count, put, jnp.zeros_like(points)) / count

    start = jax.random.normal(key, (size,), points.dtype)
    basis, each, _ = lanczos_of_sum(negative_hessians, start, min(num_directions, size))
    steepness, rotation = jnp.linalg.eigh(jnp.sum(jax.vmap(_absolute)(each), axis=0))
    stretch = jnp.where(steepness > FLAT, 1 / jnp.sqrt(jnp.maximum(steepness, FLAT)), 1.0)
    rest = LowRankScale(whitening.rest.diagonal, basis.T @ rotation, stretch.astype(points.dtype))
    return eqx.tree_at(lambda w: w.rest, whitening, rest), jnp.linalg.eigvalsh(jnp.sum(each, axis=0))


def _absolute(matrix: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """Return the symmetric matrix with the absolute values of its eigenvalues."""
    values, vectors = jnp.linalg.eigh(matrix)
    return (vectors * jnp.abs(values)) @ vectors.T


def _num_varying(whitening: Whitening) -> int:
    """Return along how many directions a density may differ from the local scales."""
    if whitening.local is None:
        return whitening.size
    low_rank = [scale for scale in whitening.local if isinstance(scale, LowRankScale)]
    varying = sum(scale.directions.shape[1] or scale.size for scale in low_rank)
    return varying + sum(scale.size for scale in whitening.local if not isinstance(scale, LowRankScale))


def recenter(
    key: PRNGKeyArray,
    density: AbstractDensity,
    compiled: AbstractDensity,
    whitening: Whitening,
    z: Float[Array, "chain n"],
) -> tuple[Whitening, Float[Array, "chain n"]]:
    """Return the whitening measured anew where chains are, around their mean, and chains in its coordinates.

    Parameters
    ----------
    key
        For the search of curvature.
    density, compiled
        What is sampled, and its form for compiled code.
    whitening, z
        Coordinates in use, and where chains are in them.
    """
    positions = positions_of(whitening, z)
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), positions)
    local = local_whitening(density, mean, bent=True)
    points = coordinates_of(local, positions)
    anew, _ = add_curvature(key, compiled, local, points, num_points=jnp.asarray(len(points)))
    return anew, coordinates_of(anew, positions)


@quick_jit
def positions_of(whitening: Whitening, z: Float[Array, "k n"]) -> Position:
    """Return the positions of some coordinates, stacked."""
    return jax.vmap(whitening.position)(z)


@quick_jit
def coordinates_of(whitening: Whitening, positions: Position) -> Float[Array, "k n"]:
    """Return the coordinates of stacked positions."""
    return jax.vmap(whitening.coordinates)(positions)
