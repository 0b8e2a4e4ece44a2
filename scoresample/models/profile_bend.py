"""Coordinates in which what data know of a galaxy does not depend on how it splits into profile and scatter."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from scoresample.models.profile_shape import NUM_SHAPE, amplitude_of, logarithm_of_profile
from scoresample.numerics.arrays import to_jax
from scoresample.numerics.compiling import quick_jit

NUM_DIRECTIONS = 96
"""Patterns of scatter that are told apart, those that data know best."""

LEAST_INFORMATION = 1e-4
"""Relative to that of the prior; less bends nothing."""


class ProfileBend(eqx.Module):
    r"""A map between coordinates that are near (z, c) and (z, c) itself.

    Of the light, :math:`w = m(z) + a(z)\,F c`, data know some patterns, and leave the others to the prior. Were the
    likelihood a Gaussian in w, of information :math:`i_k / a_0^2` on the pattern k and largest at :math:`w_k`, the
    scatter would have, given z, the mean and variance

    .. math:: \mu_k(z) = \frac{i_k \rho^2}{1 + i_k \rho^2}\,\frac{w_k - m_k(z)}{a(z)}, \qquad
        v_k(z) = \frac{1}{1 + i_k \rho^2}, \qquad \rho = a(z) / a_0

    Where the amplitude is small the scatter is held by the prior, where it is large by the data, and in between it
    moves against the profile. A sampler in (z, c) finds funnels and bent sheets there, and none in (z, q),

    .. math:: c_k = \mu_k(z) + \sqrt{v_k(z) / v_k(z_0)}\;\big(q_k - \mu_k(z_0) - B_k (z - z_0)\big)

    with B so that nothing changes to first order around a position :math:`(z_0, c_0)`: what whitens one whitens
    the other. For :math:`w_k` the light there is taken. Between "centered" and "non-centered", for each pattern and
    amplitude: Papaspiliopoulos, Roberts & Skold 2007, Statistical Science 22, 59.

    Attributes
    ----------
    directions
        Unit vectors V of the patterns that data know best, :math:`c_k = V^T c`; all across them has its prior.
    duals
        What data take for a pattern of an image, :math:`m_k = \tilde W^T m` and :math:`\tilde W^T F V = 1`.
    information
        :math:`i_k`.
    light
        :math:`w_k`.
    first_mean, shape, slope
        :math:`\mu_k(z_0)`, :math:`z_0` and B.
    box
        Shape of the image.
    softening
        Of w.
    """

    directions: Float[Array, "n k"]
    duals: Float[Array, "pixel k"]
    information: Float[Array, " k"]
    light: Float[Array, " k"]
    first_mean: Float[Array, " k"]
    shape: Float[Array, " z"]
    slope: Float[Array, "k z"]
    box: tuple[int, int] = eqx.field(static=True)
    softening: float = eqx.field(static=True)

    def bent(self, position: Float[Array, " m"]) -> Float[Array, " m"]:
        """Return (z, c) of (z, q)."""
        z, q = position[:NUM_SHAPE], position[NUM_SHAPE:]
        known, mean, log_width = self._given(z, q)
        moved = mean + jnp.exp(log_width) * (known - self._middle(z))
        return jnp.concatenate([z, q + self.directions @ (moved - known)])

    def straight(self, position: Float[Array, " m"]) -> Float[Array, " m"]:
        """Return (z, q) of (z, c)."""
        z, c = position[:NUM_SHAPE], position[NUM_SHAPE:]
        known, mean, log_width = self._given(z, c)
        moved = self._middle(z) + jnp.exp(-log_width) * (known - mean)
        return jnp.concatenate([z, c + self.directions @ (moved - known)])

    def log_volume(self, position: Float[Array, " m"]) -> Float[Array, ""]:
        """Return the log-determinant of the derivative of `bent`; it depends on the amplitude alone."""
        return jnp.sum(self._log_width(position[:NUM_SHAPE]))

    def _middle(self, z):
        return self.first_mean + self.slope @ (z - self.shape)

    def _given(self, z: Float[Array, "7"], c: Float[Array, " n"]):
        """Return what is known of c, and the mean and logarithm of the width of what is known of it."""
        profile = logarithm_of_profile(z, self.box, self.softening).ravel() @ self.duals
        seen = self._seen(z)
        mean = seen / (1 + seen) * (self.light - profile) / amplitude_of(z)
        return c @ self.directions, mean, self._log_width(z)

    def _log_width(self, z):
        return 0.5 * (jnp.log1p(self.information) - jnp.log1p(self._seen(z)))

    def _seen(self, z):
        return self.information * (amplitude_of(z) / amplitude_of(self.shape)) ** 2


def profile_bend(
    patterns: Float[Array, "pixel n"],
    softening: float,
    box: tuple[int, int],
    position: Float[Array, " m"],
    information: Callable,
) -> ProfileBend:
    """Return the bend around a position.

    Parameters
    ----------
    patterns
        F.
    softening
        Of w.
    box
        Shape of the image.
    position
        (z, c).
    information
        Maps columns of changes of delta, (pixel, n), to the information of the data on them, at this position.
    """
    scatter = np.asarray(patterns, float)
    seen = information(scatter)
    values, vectors = np.linalg.eigh(scatter.T @ seen)
    best = np.argsort(-values)[:NUM_DIRECTIONS]
    values, vectors = np.maximum(values[best], 0), vectors[:, best]
    # Of patterns of which data know next to nothing no profile is taken: division would leave rounding.
    duals = seen @ vectors / np.maximum(values, LEAST_INFORMATION)
    of_dtype = (to_jax(a, position.dtype) for a in (values, vectors, duals))
    return _around(softening, box, position, *of_dtype)


@quick_jit
def _around(
    softening: float,
    box: tuple[int, int],
    position: Float[Array, " m"],
    values: Float[Array, " k"],
    directions: Float[Array, "n k"],
    duals: Float[Array, "pixel k"],
) -> ProfileBend:
    """Return the bend around a position, given what data know of the directions that they know best."""
    num = len(values)
    z, c = position[:NUM_SHAPE], position[NUM_SHAPE:]
    known = c @ directions
    light = logarithm_of_profile(z, box, softening).ravel() @ duals + amplitude_of(z) * known
    flat = jnp.zeros((num, NUM_SHAPE), position.dtype)
    bend = ProfileBend(directions, duals, values, light, jnp.zeros(num), z, flat, box, softening)
    _, first_mean, _ = bend._given(z, c)

    def at_the_position(z):
        _, mean, log_width = bend._given(z, c)
        return mean + jnp.exp(log_width) * (known - first_mean)

    return eqx.tree_at(lambda b: (b.first_mean, b.slope), bend, (first_mean, jax.jacfwd(at_the_position)(z)))
