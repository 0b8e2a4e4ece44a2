"""A smooth profile that most galaxies are near: Sersic's without the cusp, as a narrow PSF shows it."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from scoresample.models.morphology import COORDINATE_SCALE

SOFTENING = 0.7
"""Radius within which profiles are flat, pixels: that of the narrow PSF of the model grid."""


class SoftProfile(NamedTuple):
    r"""The light :math:`S = \exp\big(-b\,[(\rho^2 + s^2)^{1/2n} - s^{1/n}]\, r^{-1/n}\big)`, b = 2n - 1/3, of peak 1.

    With :math:`\rho` the elliptical radius about the center and s = 0.7 pixels. A Sersic profile of index n, half of
    whose light is within about r, but for what a narrow PSF does to its center.

    Attributes
    ----------
    log_radius
        ln r, in pixels.
    ellipticity
        (e1, e2), positive e1 along x; axis ratio (1 - e) / (1 + e).
    log_index
        ln n.
    center
        (y, x) from the middle of the box, in pixels.
    """

    log_radius: Float[Array, ""]
    ellipticity: Float[Array, "2"]
    log_index: Float[Array, ""]
    center: Float[Array, "2"]

    def logarithm(
        self,
        y: Float[Array, "*#s"],
        x: Float[Array, "*#s"],
        softening: float | Float[Array, ""],
        log_peak=0.0,
    ) -> Float[Array, "*s"]:
        r"""Return :math:`\log(S / s_0 + 1) / 0.1` with the softening :math:`s_0`, for any peak of S."""
        return logarithm_of_light(self.log_light(y, x) + log_peak, softening)

    def log_light(self, y: Float[Array, "*#s"], x: Float[Array, "*#s"]) -> Float[Array, "*s"]:
        """Return ln S at places given in pixels from the middle of the box."""
        return log_light(self.coefficients(), y, x)

    def coefficients(self) -> Float[Array, "8"]:
        """Return what `log_light` needs of a profile."""
        e1, e2 = self.ellipticity
        index = jnp.exp(self.log_index)
        power = 0.5 / index
        steepness = (2 * index - 1 / 3) * jnp.exp(-self.log_radius / index)
        # The inverse of the stretch (1 - e^2)^{-1/2} ((1 + e1, e2), (e2, 1 - e1)) of (x, y).
        scale = (1 - e1**2 - e2**2) ** -0.5
        stretch = ((1 - e1) * scale, e2 * scale, (1 + e1) * scale)
        return jnp.stack([*self.center, *stretch, power, SOFTENING ** (2 * power), steepness])


def log_light(
    coefficients: Float[Array, "8 *#s"], y: Float[Array, "*#s"], x: Float[Array, "*#s"]
) -> Float[Array, "*s"]:
    """Return ln S of a profile at places, or of another profile at each place."""
    center_y, center_x, along, across, up, power, core, steepness = coefficients
    y, x = y - center_y, x - center_x
    squared = (along * x - across * y) ** 2 + (up * y - across * x) ** 2
    raised = jnp.exp(power * jnp.log(squared + SOFTENING**2))  # a power costs twice as much
    return -steepness * (raised - core)


def logarithm_of_light(
    log_light: Float[Array, "*#s"], softening: float | Float[Array, "*#s"]
) -> Float[Array, "*s"]:
    r"""Return :math:`\log(S / s_0 + 1) / 0.1` of ln S."""
    return jnp.log1p(jnp.exp(log_light) / softening) / COORDINATE_SCALE


def below_one(bent: Float[Array, "2"]) -> Float[Array, "2"]:
    """Return an ellipticity, of length tanh b, for any two numbers of length b."""
    size = jnp.sqrt(jnp.sum(bent**2) + 1e-12)
    return bent * jnp.tanh(jnp.minimum(size, 4.0)) / size  # the tangent is 1 beyond, and no ellipse has that
