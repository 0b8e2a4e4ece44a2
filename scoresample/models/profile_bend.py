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
from scoresample.numerics.linear import LowRankScale, leading_eigenvectors, whitened_by

NUM_DIRECTIONS = 96
"""Patterns of scatter that are told apart, those that data know best."""


class ProfileBend(eqx.Module):
    r"""A map between coordinates that are near (z, delta) and (z, delta) itself.

    Of the light, :math:`w = m(z) + a(z)\,\delta`, data know some patterns, and leave the others to the prior. Were the
    likelihood a Gaussian in w, of information :math:`i_k / a_0^2` on the pattern k and largest at :math:`w_k`, the
    scatter would have, given z, the mean and variance

    .. math:: \mu_k(z) = \frac{i_k \rho^2}{1 + i_k \rho^2}\,\frac{w_k - m_k(z)}{a(z)}, \qquad
        v_k(z) = \frac{1}{1 + i_k \rho^2}, \qquad \rho = a(z) / a_0

    Where the amplitude is small the scatter is held by the prior, where it is large by the data, and in between it
    moves against the profile. A sampler in (z, delta) finds funnels and bent sheets there, and none in (z, q),

    .. math:: \delta_k = \mu_k(z) + \sqrt{v_k(z) / v_k(z_0)}\;\big(q_k - \mu_k(z_0) - B_k (z - z_0)\big)

    with B so that nothing changes to first order around a position :math:`(z_0, \delta_0)`: what whitens one whitens
    the other. For :math:`w_k` the light there is taken. Between "centered" and "non-centered", for each pattern and
    amplitude: Papaspiliopoulos, Roberts & Skold 2007, Statistical Science 22, 59.

    Attributes
    ----------
    directions, duals
        Patterns W and their dual, :math:`\delta_k = \tilde W^T \delta`; all across them has its prior.
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
    duals: Float[Array, "n k"]
    information: Float[Array, " k"]
    light: Float[Array, " k"]
    first_mean: Float[Array, " k"]
    shape: Float[Array, " z"]
    slope: Float[Array, "k z"]
    box: tuple[int, int] = eqx.field(static=True)
    softening: float = eqx.field(static=True)

    def bent(self, position: Float[Array, " m"]) -> Float[Array, " m"]:
        """Return (z, delta) of (z, q)."""
        z, q = position[:NUM_SHAPE], position[NUM_SHAPE:]
        known, mean, log_width = self._given(z, q)
        moved = mean + jnp.exp(log_width) * (known - self._middle(z))
        return jnp.concatenate([z, q + self.directions @ (moved - known)])

    def straight(self, position: Float[Array, " m"]) -> Float[Array, " m"]:
        """Return (z, q) of (z, delta)."""
        z, delta = position[:NUM_SHAPE], position[NUM_SHAPE:]
        known, mean, log_width = self._given(z, delta)
        moved = self._middle(z) + jnp.exp(-log_width) * (known - mean)
        return jnp.concatenate([z, delta + self.directions @ (moved - known)])

    def log_volume(self, position: Float[Array, " m"]) -> Float[Array, ""]:
        """Return the log-determinant of the derivative of `bent`; it depends on the amplitude alone."""
        return jnp.sum(self._log_width(position[:NUM_SHAPE]))

    def _middle(self, z):
        return self.first_mean + self.slope @ (z - self.shape)

    def _given(self, z: Float[Array, "7"], pixels: Float[Array, " n"]):
        """Return what is known of pixels, and the mean and logarithm of the width of what is known of the scatter."""
        profile = logarithm_of_profile(z, self.box, self.softening).ravel()
        known, profile = jnp.stack([pixels, profile]) @ self.duals  # which is read once: it takes longest
        seen = self._seen(z)
        mean = seen / (1 + seen) * (self.light - profile) / amplitude_of(z)
        return known, mean, self._log_width(z)

    def _log_width(self, z):
        return 0.5 * (jnp.log1p(self.information) - jnp.log1p(self._seen(z)))

    def _seen(self, z):
        return self.information * (amplitude_of(z) / amplitude_of(self.shape)) ** 2


def profile_bend(
    scatter: LowRankScale,
    softening: float,
    box: tuple[int, int],
    position: Float[Array, " m"],
    information: Callable,
) -> ProfileBend:
    """Return the bend around a position.

    Parameters
    ----------
    scatter
        Square root of the covariance of delta.
    softening
        Of w.
    box
        Shape of the image.
    position
        (z, delta).
    information
        Maps columns of patterns of delta, (n, k), to the information of the data on them, at this position.
    """
    num = min(NUM_DIRECTIONS, scatter.size)
    values, vectors = leading_eigenvectors(
        whitened_by(scatter, information), scatter.size, num, dtype=position.dtype
    )
    vectors, values = (to_jax(a, position.dtype) for a in (vectors, np.maximum(values, 0)))
    return _around(scatter, softening, box, position, values, vectors)


@quick_jit
def _around(
    scatter: LowRankScale,
    softening: float,
    box: tuple[int, int],
    position: Float[Array, " m"],
    values: Float[Array, " k"],
    vectors: Float[Array, "n k"],
) -> ProfileBend:
    """Return the bend around a position, given the leading eigenvalues and vectors of the whitened information."""
    num = len(values)
    directions, duals = (
        jax.vmap(product, in_axes=1, out_axes=1)(vectors)
        for product in (scatter.apply, scatter.inverse_transpose)
    )
    z, delta = position[:NUM_SHAPE], position[NUM_SHAPE:]
    known = delta @ duals
    light = logarithm_of_profile(z, box, softening).ravel() @ duals + amplitude_of(z) * known
    flat = jnp.zeros((num, NUM_SHAPE), position.dtype)
    bend = ProfileBend(directions, duals, values, light, jnp.zeros(num), z, flat, box, softening)
    _, first_mean, _ = bend._given(z, delta)

    def at_the_position(z):
        _, mean, log_width = bend._given(z, delta)
        return mean + jnp.exp(log_width) * (known - first_mean)

    return eqx.tree_at(lambda b: (b.first_mean, b.slope), bend, (first_mean, jax.jacfwd(at_the_position)(z)))
