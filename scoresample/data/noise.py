"""The noise of images that come without variance: estimated from the images themselves."""

import math
import warnings
from collections.abc import Sequence

import numpy as np
from astropy.stats import sigma_clipped_stats
from jaxtyping import Bool, Float
from scipy.ndimage import binary_dilation, gaussian_filter

from scoresample.data.gain import SlopeFit, denoise, fit_slope
from scoresample.errors import DataError, ScoresampleWarning

MIN_SKY_PIXELS = 50  # the sky sigma is then known to 10 %
DETECTION = (
    3.0  # sigma of the smoothed image above which a pixel belongs to an object; 2 takes noise for objects
)
CLIPPED = 0.98658  # standard deviation of a unit Gaussian cut at 3 sigma
SIGNIFICANT = 3.0  # a slope must be this many standard errors from 0 to count


def estimate_variance(
    images: Float[np.ndarray, "band y x"],
    psfs: Float[np.ndarray, "band h w"],
    used: Bool[np.ndarray, "band y x"],
    bands: Sequence[str],
    *,
    source: str,
) -> Float[np.ndarray, "band y x"]:
    r"""Return the variance per pixel, estimated from the images, and warn with the numbers.

    .. math:: v_{byx} = \sigma_b^2 + a_b \max(S_{byx}, 0)

    The sky noise :math:`\sigma_b` is the scatter of empty pixels. The slope :math:`a_b` (one over the gain) is
    0 unless the small-scale scatter of the image grows with the signal by 3 standard errors. Where all
    pixels of all bands are whole numbers and the slope, all bands together, agrees with 1, the images are
    counts and it is 1. The signal S is the image over the sky level without its noise: with the noise left
    in, low pixels would get high weights and fluxes would come out up to several sigma too faint.

    Parameters
    ----------
    images
        Pixel values, any unit; finite where used.
    psfs
        PSF per band; its width sets how objects are found.
    used
        Pixels that are not masked.
    bands
        Band names.
    source
        File name, for messages.

    Raises
    ------
    DataError
        The pixels of a band do not scatter at all.
    """
    images = np.where(used, images, 0)
    variance = np.empty(images.shape)
    sky = [sky_statistics(*planes) for planes in zip(images, psfs, used, strict=True)]
    for band, (_, sigma) in zip(bands, sky, strict=True):
        if not sigma > 0:
            raise DataError(
                f"there is no variance and band {band!r} has no noise from which to estimate it (its empty pixels "
                "are all equal); give variance or weights."
            )
    fits = [fit_slope(images[b], used[b], psfs[b], *sky[b]) for b in range(len(bands))]
    counts = bool((images == np.round(images)).all()) and _slope_is_one(fits)
    slopes = [1.0 if counts else fit.slope if fit.slope > SIGNIFICANT * fit.error else 0.0 for fit in fits]
    for b, ((level, sigma), slope) in enumerate(zip(sky, slopes, strict=True)):
        signal = np.where(used[b], images[b] - level, 0)
        variance[b] = sigma**2 + slope * np.maximum(denoise(signal, sigma**2, slope), 0)
    warnings.warn(_message(source, bands, sky, slopes, counts), ScoresampleWarning, stacklevel=5)
    return variance


def sky_statistics(
    image: Float[np.ndarray, "y x"], psf: Float[np.ndarray, "h w"], used: Bool[np.ndarray, "y x"]
) -> tuple[float, float]:
    """Return the level and the standard deviation of empty pixels.

    Objects are found as pixels above 3 sigma in the image smoothed by the PSF's width, and grown by that
    width; then level and noise are taken again, until nothing changes or the sky gets too small.
    """
    width = max(psf_width(psf), 1.0)
    coverage = np.maximum(gaussian_filter(used.astype(float), width), 1e-9)
    empty = used
    for _ in range(30):  # settles in about 5
        level, _, sigma = sigma_clipped_stats(image[empty], sigma=3, maxiters=10)
        smooth = gaussian_filter(np.where(used, image - level, 0), width) / coverage
        # White noise smoothed by a Gaussian of width s has its sigma divided by 2 sqrt(pi) s.
        above = smooth > np.mean(smooth[empty]) + DETECTION * sigma / (2 * math.sqrt(math.pi) * width)
        sky = used & ~binary_dilation(above, iterations=math.ceil(width))
        if sky.sum() < MIN_SKY_PIXELS or (sky == empty).all():
            break
        empty = sky
    level, _, sigma = sigma_clipped_stats(image[empty], sigma=3, maxiters=10)
    return float(level), float(sigma) / CLIPPED


def psf_width(psf: Float[np.ndarray, "h w"]) -> float:
    r"""Return the sigma in pixels of the Gaussian with the same noise-equivalent area :math:`4 \pi \sigma^2`."""
    positive = np.maximum(psf, 0)
    return float(np.sqrt(positive.sum() ** 2 / np.maximum((positive**2).sum(), 1e-300) / (4 * np.pi)))


def _slope_is_one(fits: Sequence[SlopeFit]) -> bool:
    """Return whether the slopes of all bands together agree with 1 and not with 0."""
    weights = np.array([fit.error**-2 for fit in fits])
    if weights.sum() == 0:
        return False
    slope = float(weights @ [fit.slope for fit in fits] / weights.sum())
    error = float(weights.sum() ** -0.5)
    return slope > SIGNIFICANT * error and abs(slope - 1) < SIGNIFICANT * error


def _message(source: str, bands: Sequence[str], sky: list, slopes: list[float], counts: bool) -> str:
    """Return the warning with the numbers."""
    sigmas = ", ".join(f"{band} {sigma:.3g}" for band, (_, sigma) in zip(bands, sky, strict=True))
    if counts:
        law = "pixels are whole counts whose scatter grows with the signal: variance = sigma^2 + signal (gain 1)"
    elif any(slopes):
        gains = ", ".join(f"{b} {1 / s:.3g}" for b, s in zip(bands, slopes, strict=True) if s)
        law = f"scatter grows with the signal: variance = sigma^2 + signal / gain, gain {gains}"
    else:
        law = "the scatter does not visibly grow with the signal: variance = sigma^2 everywhere"
    return (
        f"no variance in {source}: sky noise estimated from empty pixels, sigma {sigmas}; {law}. Give variance or "
        "weights if you have them."
    )
