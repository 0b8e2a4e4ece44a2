"""Coordinates in which what data know of galaxies does not depend on how they split into profile and scatter."""

from collections.abc import Callable, Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from scoresample.models.profile_boxes import Boxes, logarithms_of_profiles, sizes_of, split, spread
from scoresample.models.profile_shape import NUM_SHAPE, amplitude_of
from scoresample.numerics.arrays import to_jax
from scoresample.numerics.compiling import quick_jit

NUM_DIRECTIONS = 96
"""Patterns of scatter of a galaxy that are told apart, those that data know best."""

LEAST_INFORMATION = 1e-4
"""Relative to that of the prior; less bends nothing."""

Position = Mapping[str, Float[Array, "..."]]


class ProfileBend(eqx.Module):
    r"""A map between coordinates that are near (z, c) and (z, c) itself, of one or more galaxies.

    Of the light of each, :math:`w = m(z) + a(z)\,F c`, data know some patterns, and leave the others to the prior. Were
    the likelihood a Gaussian in w, of information :math:`i_k / a_0^2` on the pattern k and largest at :math:`w_k`, the
    scatter would have, given z, the mean and variance

    .. math:: \mu_k(z) = \frac{i_k \rho^2}{1 + i_k \rho^2}\,\frac{w_k - m_k(z)}{a(z)}, \qquad
        v_k(z) = \frac{1}{1 + i_k \rho^2}, \qquad \rho = a(z) / a_0

    Where the amplitude is small the scatter is held by the prior, where it is large by the data, and in between it
    moves against the profile. A sampler in (z, c) finds funnels and bent sheets there, and none in (z, q),

    .. math:: c_k = \mu_k(z) + \sqrt{v_k(z) / v_k(z_0)}\;\big(q_k - \mu_k(z_0) - B_k (z - z_0)\big)

    with B so that nothing changes to first order around a position :math:`(z_0, c_0)`: what whitens one whitens
    the other. For :math:`w_k` the light there is taken. Between "centered" and "non-centered", for each pattern and
    amplitude: Papaspiliopoulos, Roberts & Skold 2007, Statistical Science 22, 59.

    Arrays have the patterns of all galaxies in one row.

    Attributes
    ----------
    names
        Of the galaxies in a position.
    boxes
        Shapes of their images.
    softening
        Of w.
    directions
        Of each galaxy, unit vectors V of the patterns that data know best, :math:`c_k = V^T c`; all across them has its
        prior.
    duals
        Of each galaxy, what data take for a pattern of an image, :math:`m_k = \tilde W^T m` and
        :math:`\tilde W^T F V = 1`.
    information
        :math:`i_k`.
    light
        :math:`w_k`.
    first_mean, shapes, slope
        :math:`\mu_k(z_0)`, :math:`z_0` and B.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    boxes: Boxes = eqx.field(static=True)
    softening: float = eqx.field(static=True)
    directions: tuple[Float[Array, "_ _"], ...]
    duals: tuple[Float[Array, "_ _"], ...]
    information: Float[Array, " pattern"]
    light: Float[Array, " pattern"]
    first_mean: Float[Array, " pattern"]
    shapes: Float[Array, "galaxy z"]
    slope: Float[Array, "pattern z"]

    def bent(self, position: dict[str, Array]) -> tuple[dict[str, Array], Float[Array, ""]]:
        """Return (z, c) of (z, q), and the log-determinant of the derivative, which depends on amplitudes alone."""
        known, middle, mean, log_width = self._known(position)
        return self._moved(position, mean + jnp.exp(log_width) * (known - middle) - known), jnp.sum(log_width)

    def straight(self, position: dict[str, Array]) -> dict[str, Array]:
        """Return (z, q) of (z, c)."""
        known, middle, mean, log_width = self._known(position)
        return self._moved(position, middle + jnp.exp(-log_width) * (known - mean) - known)

    def _known(self, position: Position):
        """Return what is known of scatter, where it is in the middle, and its mean and log width given z."""
        z = jnp.stack([position[name][:NUM_SHAPE] for name in self.names])
        known = [
            position[name][NUM_SHAPE:] @ directions
            for name, directions in zip(self.names, self.directions, strict=True)
        ]
        shift = jnp.sum(self.slope * self._of_patterns((z - self.shapes).T).T, axis=1)
        return jnp.concatenate(known), self.first_mean + shift, *self.given(z)

    def given(self, z: Float[Array, "galaxy z"]) -> tuple[Float[Array, " pattern"], Float[Array, " pattern"]]:
        """Return the mean of what is known of scatter, and the logarithm of its width relative to the first."""
        seen = self.information * self._of_patterns(_amplitudes(z) / _amplitudes(self.shapes)) ** 2
        mean = seen / (1 + seen) * (self.light - self.profiles(z)) / self._of_patterns(_amplitudes(z))
        return mean, 0.5 * (jnp.log1p(self.information) - jnp.log1p(seen))

    def profiles(self, z: Float[Array, "galaxy z"]) -> Float[Array, " pattern"]:
        """Return what data take of profiles."""
        images = split(logarithms_of_profiles(z, self.boxes, self.softening), sizes_of(self.boxes))
        return jnp.concatenate([m @ duals for m, duals in zip(images, self.duals, strict=True)])

    def _of_patterns(self, values: Float[Array, "*z galaxy"]) -> Float[Array, "*z pattern"]:
        return spread(values, self._numbers)

    @property
    def _numbers(self) -> tuple[int, ...]:
        """How many patterns of each galaxy there are."""
        return tuple(v.shape[1] for v in self.directions)

    def _moved(self, position: Position, step: Float[Array, " pattern"]) -> dict[str, Array]:
        moves = zip(self.names, self.directions, split(step, self._numbers), strict=True)
        return {**position, **{name: position[name].at[NUM_SHAPE:].add(v @ s) for name, v, s in moves}}


def bend_around(
    patterns: Sequence[Float[Array, "_ _"]],
    boxes: Boxes,
    softening: float,
    position: Position,
    information: Sequence[Callable],
) -> ProfileBend:
    """Return the bend around a position.

    Parameters
    ----------
    patterns
        F, of each galaxy.
    boxes
        Shapes of images.
    softening
        Of w.
    position
        (z, c) by name.
    information
        Map columns of changes of delta, (pixel, n), to the information of the data on them, at this position.
    """
    found = [_best_known(*each) for each in zip(patterns, information, strict=True)]
    dtype = jnp.result_type(*position.values())
    values, directions, duals = zip(*((to_jax(a, dtype) for a in each) for each in found), strict=True)
    return _around(tuple(position), boxes, softening, dict(position), values, directions, duals)


def _best_known(patterns: Float[Array, "pixel n"], information: Callable):
    """Return what data know of the patterns of scatter that they know best, these, and their duals."""
    scatter = np.asarray(patterns, float)
    seen = information(scatter)
    values, vectors = np.linalg.eigh(scatter.T @ seen)
    best = np.argsort(-values)[:NUM_DIRECTIONS]
    values, vectors = np.maximum(values[best], 0), vectors[:, best]
    # Of patterns of which data know next to nothing no profile is taken: division would leave rounding.
    return values, vectors, seen @ vectors / np.maximum(values, LEAST_INFORMATION)


@quick_jit
def _around(
    names: tuple[str, ...],
    boxes: Boxes,
    softening: float,
    position: dict[str, Array],
    values: tuple[Float[Array, " _"], ...],
    directions: tuple[Float[Array, "_ _"], ...],
    duals: tuple[Float[Array, "_ _"], ...],
) -> ProfileBend:
    """Return the bend around a position, given what data know of the directions that they know best."""
    information = jnp.concatenate(values)
    none = jnp.zeros_like(information)
    z = jnp.stack([position[name][:NUM_SHAPE] for name in names])
    flat = jnp.zeros((none.size, NUM_SHAPE), none.dtype)
    bend = ProfileBend(names, boxes, softening, directions, duals, information, none, none, z, flat)
    known = bend._known(position)[0]
    bend = eqx.tree_at(lambda b: b.light, bend, bend.profiles(z) + bend._of_patterns(_amplitudes(z)) * known)
    first_mean, _ = bend.given(z)

    def at_the_position(step):
        mean, log_width = bend.given(z + step)
        return mean + jnp.exp(log_width) * (known - first_mean)

    slope = jax.jacfwd(at_the_position)(
        jnp.zeros(NUM_SHAPE, z.dtype)
    )  # each pattern depends on one galaxy's z
    return eqx.tree_at(lambda b: (b.first_mean, b.slope), bend, (first_mean, slope))


def _amplitudes(z: Float[Array, "galaxy z"]) -> Float[Array, " galaxy"]:
    return jax.vmap(amplitude_of)(z)
