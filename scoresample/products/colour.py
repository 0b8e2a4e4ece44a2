"""Images of several bands as colours."""

import numpy as np
from astropy.visualization import make_lupton_rgb
from jaxtyping import Float, UInt8

from scoresample.products.photometry import ObjectImages

SOFTENING = 5.0  # where the stretch bends, in units of the noise: linear below, compressed above


class ColourScale:
    """Turns images of one scene into colours, always in the same way.

    Bands go from blue to red in their order; the last third of them is red. Each colour is a mean of its bands,
    weighted by inverse variance, scaled so that the scene as a whole has no colour.

    Parameters
    ----------
    inverse_variance
        Of the scene, (band, y, x).
    images
        Its model: the light that is balanced, and the sky that is subtracted.

    References
    ----------
    Lupton et al. (2004), PASP 116, 133: the arcsinh stretch that keeps colours.
    """

    def __init__(self, inverse_variance: Float[np.ndarray, "band y x"], images: ObjectImages):
        seen = inverse_variance > 0
        # The median of the good pixels: one weight for each band, or masked pixels would change colour.
        weight = np.array(
            [np.median(w[s]) if s.any() else 0.0 for w, s in zip(inverse_variance, seen, strict=True)]
        )
        light = np.abs(images.objects.sum(axis=(0, 2, 3)))
        self.sky = images.background
        self.mix = np.zeros((min(3, len(weight)), len(weight)))
        for channel, group in enumerate(np.array_split(np.arange(len(weight)), len(self.mix))):
            self.mix[channel, group] = weight[group]
        self.mix /= np.maximum(self.mix @ light, 1e-30)[:, None]
        noise = np.sqrt(np.median(np.sum(self.mix**2 / np.maximum(weight, 1e-30) * (weight > 0), axis=1)))
        self.mix /= max(noise, 1e-30)

    def __call__(self, images: Float[np.ndarray, "band y x"]) -> UInt8[np.ndarray, "y x colour"]:
        """Return the colours of images without sky, in the unit of the scene."""
        channels = list(np.einsum("cb,byx->cyx", self.mix, images))
        if len(channels) == 1:
            channels = channels * 3
        elif len(channels) == 2:
            channels.insert(1, (channels[0] + channels[1]) / 2)
        blue, green, red = channels
        return make_lupton_rgb(red, green, blue, minimum=-0.5, stretch=SOFTENING, Q=8)

    def with_sky(self, images: Float[np.ndarray, "band y x"]) -> UInt8[np.ndarray, "y x colour"]:
        """Return the colours of images that contain the sky."""
        return self(images - self.sky[:, None, None])
