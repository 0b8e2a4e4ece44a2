"""Coordinates in which what data know of a galaxy's scatter does not depend on its amplitude."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from scoresample.models.profile_shape import NUM_SHAPE, amplitude_of
from scoresample.numerics.linear import LowRankScale, leading_eigenvectors, whitened_by

NUM_DIRECTIONS = 96
"""Patterns of scatter that are told apart, those that data know best."""


class AmplitudeBend(eqx.Module):
    r"""A map between coordinates that are near (z, delta) and (z, delta) itself.

    Of the light, :math:`w = m(z) + a(z)\,\delta`, data know some patterns :math:`W_k` of :math:`a\,\delta`, and leave
    the others to the prior. Of a pattern that is known, :math:`a\,\delta_k` is near a constant: in (z, delta) a thin
    hyperbola, along which samplers cannot take long steps. Of one that is not, :math:`\delta_k` has its prior whatever
    a is. So here

    .. math:: \delta = M\,(q + c \ln\rho), \quad M = 1 + W\,(\rho^{-\lambda} - 1)\,\tilde W^T, \quad
        \rho = a(z) / a_0, \quad \lambda_k = \frac{i_k}{1 + i_k}, \quad c = W \lambda \tilde W^T \delta_0

    with :math:`i_k` what data know of a pattern at :math:`(z_0, \delta_0)`, relative to the prior, and
    :math:`\tilde W^T W = 1`. Around there q is delta to first order. Between the two extremes, "centered" and
    "non-centered", for each pattern: Papaspiliopoulos, Roberts & Skold 2007, Statistical Science 22, 59.

    Attributes
    ----------
    directions, duals
        W and its dual.
    exponents
        :math:`\lambda`.
    shift
        c.
    log_amplitude
        :math:`\ln a_0`.
    """

    directions: Float[Array, "n k"]
    duals: Float[Array, "n k"]
    exponents: Float[Array, " k"]
    shift: Float[Array, " n"]
    log_amplitude: Float[Array, ""]

    def bent(self, position: Float[Array, " m"]) -> Float[Array, " m"]:
        """Return (z, delta) of (z, q)."""
        log_ratio = self._log_ratio(position)
        q = position[NUM_SHAPE:] + log_ratio * self.shift
        return jnp.concatenate([position[:NUM_SHAPE], self._scaled(q, -log_ratio)])

    def straight(self, position: Float[Array, " m"]) -> Float[Array, " m"]:
        """Return (z, q) of (z, delta)."""
        log_ratio = self._log_ratio(position)
        q = self._scaled(position[NUM_SHAPE:], log_ratio)
        return jnp.concatenate([position[:NUM_SHAPE], q - log_ratio * self.shift])

    def log_volume(self, position: Float[Array, " m"]) -> Float[Array, ""]:
        """Return the log-determinant of the derivative of `bent`; it depends on z alone."""
        return -jnp.sum(self.exponents) * self._log_ratio(position)

    def _log_ratio(self, position):
        return jnp.log(amplitude_of(position[:NUM_SHAPE])) - self.log_amplitude

    def _scaled(self, delta, log_factor):
        return delta + self.directions @ (jnp.expm1(log_factor * self.exponents) * (delta @ self.duals))


def amplitude_bend(
    scatter: LowRankScale, position: Float[Array, " m"], information: Callable
) -> AmplitudeBend:
    """Return the bend around a position.

    Parameters
    ----------
    scatter
        Square root of the covariance of delta.
    position
        (z, delta).
    information
        Maps columns of patterns of delta, (n, k), to the information of the data on them, at this position.
    """
    num = min(NUM_DIRECTIONS, scatter.size)
    values, vectors = leading_eigenvectors(whitened_by(scatter, information), scatter.size, num)
    values = np.maximum(values, 0)
    vectors, exponents = (jnp.asarray(a, position.dtype) for a in (vectors, values / (1 + values)))
    directions, duals = (
        jax.vmap(product, in_axes=1, out_axes=1)(vectors)
        for product in (scatter.apply, scatter.inverse_transpose)
    )
    shift = directions @ (exponents * (position[NUM_SHAPE:] @ duals))
    log_amplitude = jnp.log(amplitude_of(position[:NUM_SHAPE]))
    return AmplitudeBend(directions, duals, exponents, shift, log_amplitude)
