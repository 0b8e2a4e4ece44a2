"""How far simulated galaxies are from smooth profiles, in the logarithm of their light."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float

from scoresample.models.soft_profile import SoftProfile, below_one

TYPICAL = np.array([0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0])
WIDTH = np.array([0.8, 0.3, 0.3, 0.5, 0.3, 0.3, 0.3])
"""Of ln r over that of the first guess, ellipticity, ln n, center and ln peak: weak, so that every fit ends."""

BOX_OF_PROFILES = 1.7
"""How much larger than of the other shipped priors boxes are, for galaxies of one size: 20 half-light radii. Their size
is not known by their box, and wings that a box cuts off are light that neighbours take."""

MISFIT = 1.0
"""Of a pixel of w, against which those widths are held."""


def subtract_profile(
    circles: Float[np.ndarray, "node angle"],
    radius: Float[np.ndarray, " node"],
    first_radius: float,
    softening: float,
) -> Float[np.ndarray, "node angle"]:
    r"""Return :math:`w = \log(S / s_0 + 1) / 0.1` on circles less that of the soft profile that fits it best.

    Parameters
    ----------
    circles
        w on circles about the middle of the box.
    radius
        Of the circles, pixels.
    first_radius
        Half-light radius to begin from, pixels.
    softening
        :math:`s_0`.
    """
    theta = 2 * np.pi * np.arange(circles.shape[1]) / circles.shape[1]
    y, x = radius[:, None] * np.sin(theta), radius[:, None] * np.cos(theta)
    area = np.maximum(radius, radius[1] / 2) * np.gradient(radius) * (theta[1] - theta[0])
    weight = np.sqrt(np.broadcast_to(area[:, None], circles.shape)) / MISFIT
    middle = TYPICAL + np.append(np.log(first_radius), np.zeros(6))
    given = (circles, y, x, weight, softening)

    def misfit(z):
        return np.append(np.ravel(_misfit(middle + WIDTH * z, *given)), z)

    def slope(z):
        rows = np.reshape(_misfit_slope(middle + WIDTH * z, *given), (-1, z.size)) * WIDTH
        return np.concatenate([rows, np.eye(z.size)])

    with jax.enable_x64(True):
        best = scipy.optimize.least_squares(misfit, np.zeros(7), slope, max_nfev=50)
        return np.asarray(circles - _coordinate(jnp.asarray(middle + WIDTH * best.x), y, x, softening))


@jax.jit
def _coordinate(found: Float[Array, "7"], y, x, softening) -> Float[Array, "node angle"]:
    profile = SoftProfile(found[0], below_one(found[1:3]), found[3], found[4:6])
    return profile.logarithm(y, x, softening, log_peak=found[6])


@jax.jit
def _misfit(found, circles, y, x, weight, softening):
    return weight * (_coordinate(found, y, x, softening) - circles)


_misfit_slope = jax.jit(jax.jacfwd(_misfit))
