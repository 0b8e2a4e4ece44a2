"""The density of an image under the prior of profiles, whatever the profile: by Laplace's method."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from scoresample.models.profile_shape import (
    AMPLITUDE,
    AMPLITUDE_AT,
    NUM_SHAPE,
    amplitude_of,
    log_ratio_of_amplitude,
)
from scoresample.numerics.jacobian import value_and_jacobian
from scoresample.numerics.linear import LowRankScale

_NUM_STEPS = 12
_DAMPING = np.array([0.0, 0.03, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0])


def log_prob_of_logarithm(
    scatter: LowRankScale, logarithm: Callable[[Array], Array], w: Float[Array, "y x"]
) -> Float[Array, ""]:
    r"""Return the log density of w, integrated over the numbers z of its profile.

    .. math:: \log p(w) \approx \max_z \log p(w, z) + \tfrac72 \log 2\pi - \tfrac12 \log\det H, \qquad
        w \sim N(m(z),\, a(z)^2 L L^T), \quad z \sim N(0, 1)^7

    with H the curvature of -log p(w, z) at its least, Gauss-Newton in the profile.

    Parameters
    ----------
    scatter
        L.
    logarithm
        m, of z.
    w
        An image.
    """
    z, at = most_probable_profile(scatter, logarithm, w), AMPLITUDE_AT
    slope, misfit = _whitened_slope_and_misfit(scatter, logarithm, z, w)
    misfit = jnp.sum(misfit**2) * amplitude_of(z) ** 2
    cost = _cost_of_amplitude(misfit, w.size)
    curvature = jnp.eye(NUM_SHAPE, dtype=z.dtype).at[:at, :at].add(slope.T @ slope)
    # The pull of the misfit on the profile falls as 1 / a^2, and at the maximum it is z.
    cross = 2 * jax.grad(log_ratio_of_amplitude)(z[at]) * z[:at]
    curvature = curvature.at[at, at].set(jax.grad(jax.grad(cost))(z[at]))
    curvature = curvature.at[:at, at].set(cross).at[at, :at].set(cross)
    log_root = jnp.sum(jnp.log(jnp.diag(jnp.linalg.cholesky(curvature))))
    of_shape = -0.5 * jnp.sum(z**2) - log_root  # (7 / 2) log(2 pi) of the normal and of the integral cancel
    log_volume = scatter.log_det() + w.size * (jnp.log(amplitude_of(z)) + 0.5 * np.log(2 * np.pi))
    return of_shape - 0.5 * misfit / amplitude_of(z) ** 2 - log_volume


def most_probable_profile(
    scatter: LowRankScale, logarithm: Callable[[Array], Array], w: Float[Array, "y x"]
) -> Float[Array, "7"]:
    """Return the z that is most probable with w, by damped Gauss-Newton steps from the best of some radii."""

    def settled(z):
        """Return z with the best amplitude, and minus its log density but for a constant."""
        misfit = jnp.sum(scatter.inverse((w - logarithm(z)).ravel()) ** 2)
        cost = _cost_of_amplitude(misfit, w.size)
        tried = jnp.linspace(-6, 6, 61, dtype=z.dtype)
        newton = lambda _, t: t - jax.grad(cost)(t) / jnp.maximum(jax.grad(jax.grad(cost))(t), 1)
        t = jax.lax.fori_loop(0, 3, newton, tried[jnp.argmin(jax.vmap(cost)(tried))])
        total = cost(t) + 0.5 * jnp.sum(z[:AMPLITUDE_AT] ** 2)
        # A wild step may overflow.
        return z.at[AMPLITUDE_AT].set(t), jnp.where(jnp.isfinite(total), total, jnp.inf)

    def step(number, z):
        slope, misfit = _whitened_slope_and_misfit(scatter, logarithm, z, w)
        curvature = jnp.eye(AMPLITUDE_AT, dtype=z.dtype) + slope.T @ slope
        change = jnp.linalg.solve(curvature, slope.T @ misfit - z[:AMPLITUDE_AT])
        change = jnp.append(jnp.where(jnp.isfinite(change), change, 0), 0)
        # All is written once, for the first choice and for steps: a second time, it would be compiled a second time.
        tried = jnp.where(number == 0, first, z + damping[:, None] * change)
        tried, losses = jax.vmap(settled)(tried)
        return tried[jnp.argmin(losses)]

    damping = jnp.asarray(_DAMPING, w.dtype)
    first = jnp.zeros((len(damping), NUM_SHAPE), w.dtype).at[:, 0].set(jnp.linspace(-1.5, 3, len(damping)))
    return jax.lax.fori_loop(0, _NUM_STEPS + 1, step, first[0])


def _whitened_slope_and_misfit(
    scatter: LowRankScale, logarithm, z: Float[Array, "7"], w: Float[Array, "y x"]
) -> tuple[Float[Array, "pixel 6"], Float[Array, " pixel"]]:
    """Return the inverse of a L times the derivative of m by what it depends on, and times w - m."""
    m, slope = value_and_jacobian(logarithm, z)
    whiten = lambda image: scatter.inverse(image.ravel() / amplitude_of(z))
    return jax.vmap(whiten, in_axes=-1, out_axes=-1)(slope[..., :AMPLITUDE_AT]), whiten(w - m)


def _cost_of_amplitude(misfit: Float[Array, ""], size: int):
    """Return minus the log density of an image as a function of its amplitude's z, but for constants.

    ``misfit`` is the squared length of :math:`L^{-1}(w - m)`.
    """

    def cost(t):
        log_amplitude = log_ratio_of_amplitude(t)
        return 0.5 * misfit / AMPLITUDE**2 * jnp.exp(-2 * log_amplitude) + size * log_amplitude + 0.5 * t**2

    return cost
