"""What stands for the profile of a galaxy, and for how far it is from it: standard normal numbers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from scoresample.models.soft_profile import SOFTENING, SoftProfile, below_one

NUM_SHAPE = 7
"""How many numbers: ln of the radius, ellipticity (2), index, center (2), and ln of the amplitude of the scatter."""

RADIUS, RADIUS_SCATTER = 1.3, 0.8
"""Half-light radii of galaxies in pixels: median and standard deviation of the logarithm. Broad: of disks in a deep
survey with pixels of 0.2 arcsec the median along the major axis is 1.6 at i = 25 and 0.9 at 27 (Miller et al. 2013,
appendix B1, continued)."""

ELLIPTICITY = 0.25
"""Scatter of each component of e, before tanh brings its length below 1; of simulated galaxies 0.2 to 0.25."""

INDICES = (0.4, 6.0)
"""Sersic indices are between these; half of them below 1.3, a sixth below 0.74 and a sixth above 2.5. Of simulated
galaxies half are below 1.15, a twentieth below 0.7 and a twentieth above 5.3."""

CENTER, LARGEST_SHIFT = 0.5, 2.0
"""Scatter of each coordinate of the center about the middle of the box, pixels: detections are no better. None is off
by more than two of these: where a core holds the middle of a bright galaxy, its profile would leave it for what is not
detected beside it. On the HSC scene there were two such places, and chains stayed in either."""

AMPLITUDE_AT = 6
"""Which of the numbers is the amplitude's; those before it are the profile's."""

AMPLITUDE, AMPLITUDE_SCATTER = 0.4, 1.2
"""Of the scatter, relative to its root mean square over simulated galaxies: the median, and the standard deviation of
the logarithm where it is small. Few galaxies, most of them with companions, have most of the scatter: quantiles are
those of simulated galaxies (``benchmarks/profile_scatter.py``)."""

LARGEST = 4.0
"""No number in an exponential counts for more: exponentials overflow."""

LARGEST_AMPLITUDE = 1.6
"""The same for the amplitude of the scatter, which is below 2.7 of its root mean square; 3 % of simulated galaxies have
more. Without it, images of galaxies that are known by little took up whatever the data have and the model lacks."""


def profile_of(z: Float[Array, "7"]) -> SoftProfile:
    r"""Return the profile as the PSF of the model grid shows it: no galaxy is smaller, and small ones are round.

    The axes of half-light ellipses and the softening add in squares: from a radius r and an axis ratio q come the
    semi-axes :math:`(r^2 / q + s^2)^{1/2}` and :math:`(r^2 q + s^2)^{1/2}`.
    """
    squared = (RADIUS * jnp.exp(RADIUS_SCATTER * bounded(z[0]))) ** 2
    ellipticity = below_one(ELLIPTICITY * z[1:3])
    steep = jnp.sum(ellipticity**2)
    # Half the sum of the squares of the axes, and their product, with (1 / q + q) / 2 = (1 + e^2) / (1 - e^2).
    mean = squared * (1 + steep) / (1 - steep) + SOFTENING**2
    product = jnp.sqrt(squared**2 + SOFTENING**4 + 2 * SOFTENING**2 * (mean - SOFTENING**2))
    least, most = INDICES
    return SoftProfile(
        0.5 * jnp.log(product),
        ellipticity * 2 * squared / ((1 - steep) * (mean + product)),
        jnp.log(least + (most - least) * jax.nn.sigmoid(1.1 * z[3] - 1.65)),  # for the quantiles of INDICES
        CENTER * bounded(z[4:6], LARGEST_SHIFT),
    )


def amplitude_of(z: Float[Array, "7"]) -> Float[Array, ""]:
    """Return the amplitude of the scatter."""
    return AMPLITUDE * jnp.exp(log_ratio_of_amplitude(z[AMPLITUDE_AT]))


def log_ratio_of_amplitude(z: Float[Array, ""]) -> Float[Array, ""]:
    """Return the logarithm of an amplitude over the median."""
    return AMPLITUDE_SCATTER * bounded(z, LARGEST_AMPLITUDE)


def bounded(z: Float[Array, "*s"], largest: float = LARGEST) -> Float[Array, "*s"]:
    """Return z where it is of order 1, and no more than the largest: samplers may try any number."""
    return largest * jnp.tanh(z / largest)
