r"""The scale of a morphology S: of images that differ by a factor alone, the one that stands for all.

A source is its flux times S, so that data never tell the scale of S. Where the flux is integrated out, a prior that
leaves the scale free, or knows it only softly, cannot be sampled well: with noise of a given level in u, a faint S has
room for any image, and a bright one has less noise than it should. So a prior of morphologies fixes the scale.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from scoresample.models.morphology import to_coordinate, to_morphology

USUAL_BRIGHTNESS = -0.19
"""Mean of the brightness of simulated galaxies; it is -0.15 in boxes of 17 pixels, -0.23 in 64."""

BRIGHTNESS_SD = 0.02
"""How far a morphology may be from it; simulated galaxies scatter by 0.12."""

_FAINT = 1e-3  # so that an image without light has a brightness too


def brightness(u: Float[Array, "y x"]) -> Float[Array, ""]:
    r"""Return how bright an image is where it is brightest, :math:`\ln \sum S_+^5 - \ln \sum S_+^4`.

    The logarithm of a mean of S, weighted by its fourth power: of a factor times S by the logarithm of the factor more;
    smooth, of several pixels, and hardly changed by noise in the faint ones.
    """
    light = jnp.maximum(to_morphology(u), 0)
    return jnp.log(jnp.sum(light**5) + _FAINT**5) - jnp.log(jnp.sum(light**4) + _FAINT**4)


def of_usual_brightness(u: Float[Array, "y x"]) -> Float[Array, "y x"]:
    """Return the image u of the same galaxy, S times a factor, that has the usual brightness."""
    factor = jnp.exp(USUAL_BRIGHTNESS - brightness(u))
    return to_coordinate(jnp.maximum(factor * to_morphology(u), -0.99))


def off_brightness(u: Float[Array, "y x"], noise_level: Float[Array, ""]) -> Float[Array, ""]:
    """Return minus the logarithm of the density of the brightness, a normal one, wider where images are all noise."""
    return 0.5 * ((brightness(u) - USUAL_BRIGHTNESS) / brightness_sd(noise_level)) ** 2


def brightness_sd(noise_level: Float[Array, ""]) -> Float[Array, ""]:
    """Return the standard deviation of the brightness at a noise level in u."""
    return BRIGHTNESS_SD * (1 + noise_level**2)


def move_to_brightness(u: Float[Array, "y x"], target: Float[Array, ""]) -> Float[Array, "y x"]:
    r"""Return the nearest image u that has a given brightness, by two of Newton's steps.

    Of white noise in u, given its brightness, this is the exact draw as far as brightness is linear in the noise.
    """
    for _ in range(2):
        value, slope = jax.value_and_grad(brightness)(u)
        u = u - slope * (value - target) / (jnp.sum(slope**2) + 1e-12)
    return u
