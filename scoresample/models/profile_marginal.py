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
from scoresample.numerics.linear import LowRankScale

_NUM_STEPS = 12
_DAMPING = np.array([0.0, 0.1, 0.3, 0.6, 1.0])


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
    slope = _whitened_slope(scatter, logarithm, z)
    misfit = jnp.sum(scatter.inverse((w - logarithm(z)).ravel()) ** 2)
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

    def misfit(z):
        return scatter.inverse((w - logarithm(z)).ravel())

    def loss(z):
        fit = 0.5 * jnp.sum((misfit(z) / amplitude_of(z)) ** 2) + w.size * jnp.log(amplitude_of(z))
        total = fit + 0.5 * jnp.sum(z**2)
        return jnp.where(jnp.isfinite(total), total, jnp.inf)  # a wild step may overflow

    def with_amplitude(z):
        cost = _cost_of_amplitude(jnp.sum(misfit(z) ** 2), w.size)
        tried = jnp.linspace(-6, 6, 61, dtype=z.dtype)
        t = tried[jnp.argmin(jax.vmap(cost)(tried))]
        for _ in range(3):
            t = t - jax.grad(cost)(t) / jnp.maximum(jax.grad(jax.grad(cost))(t), 1)
        return z.at[AMPLITUDE_AT].set(t)

    def step(_, z):
        slope = _whitened_slope(scatter, logarithm, z)
        curvature = jnp.eye(AMPLITUDE_AT, dtype=z.dtype) + slope.T @ slope
        pull = slope.T @ (misfit(z) / amplitude_of(z)) - z[:AMPLITUDE_AT]
        change = jnp.linalg.solve(curvature, pull)
        change = jnp.where(jnp.isfinite(change), change, 0)
        tried = z + _DAMPING[:, None].astype(z.dtype) * jnp.append(change, 0)
        tried = jax.vmap(with_amplitude)(tried)
        return tried[jnp.argmin(jax.vmap(loss)(tried))]

    radii = jnp.linspace(-1.5, 3, 10, dtype=w.dtype)
    first = jnp.zeros((len(radii), NUM_SHAPE), w.dtype).at[:, 0].set(radii)
    first = jax.vmap(with_amplitude)(first)
    return jax.lax.fori_loop(0, _NUM_STEPS, step, first[jnp.argmin(jax.vmap(loss)(first))])


def _whitened_slope(scatter: LowRankScale, logarithm, z: Float[Array, "7"]) -> Float[Array, "pixel 6"]:
    """Return the inverse of a L times the derivative of m by what it depends on."""
    slope = jax.jacfwd(logarithm)(z)[..., :AMPLITUDE_AT].reshape(-1, AMPLITUDE_AT) / amplitude_of(z)
    return jax.vmap(scatter.inverse, in_axes=1, out_axes=1)(slope)


def _cost_of_amplitude(misfit: Float[Array, ""], size: int):
    """Return minus the log density of an image as a function of its amplitude's z, but for constants.

    ``misfit`` is the squared length of :math:`L^{-1}(w - m)`.
    """

    def cost(t):
        log_amplitude = log_ratio_of_amplitude(t)
        return 0.5 * misfit / AMPLITUDE**2 * jnp.exp(-2 * log_amplitude) + size * log_amplitude + 0.5 * t**2

    return cost
