"""What an image of a galaxy looks like, in five numbers; to compare populations of images."""

from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float


class ImageStatistics(NamedTuple):
    r"""Numbers of each of a stack of images S.

    Attributes
    ----------
    flux
        Sum of S.
    half_light_radius
        In pixels: of the circle around the center of the box that holds half of the flux.
    ellipticity
        :math:`|e|` with :math:`e = (Q_{xx} - Q_{yy} + 2 i Q_{xy}) / (Q_{xx} + Q_{yy})`, from second moments of S
        under a round Gaussian weight of a sixth of the side (Kaiser, Squires & Broadhurst 1995, ApJ 449, 460).
    concentration
        :math:`5 \log_{10}(r_{80} / r_{20})` of the circles with 80 and 20 % of the flux (Conselice 2003, ApJS 147, 1).
    asymmetry
        Sum of :math:`|S - S_{180}|` over twice the sum of :math:`|S|`, with S turned by half a turn about the center of
        the box (half of what the same reference has, without its search for the center and the sky).
    """

    flux: Float[np.ndarray, " n"]
    half_light_radius: Float[np.ndarray, " n"]
    ellipticity: Float[np.ndarray, " n"]
    concentration: Float[np.ndarray, " n"]
    asymmetry: Float[np.ndarray, " n"]


def image_statistics(images: Float[np.ndarray, "n y x"]) -> ImageStatistics:
    """Return the statistics of images S; NaN where the flux is not positive."""
    images = np.asarray(images, np.float64)
    height, width = images.shape[1:]
    y, x = np.indices((height, width)) - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    flux = images.sum(axis=(1, 2))
    positive = np.where(flux > 0, flux, np.nan)
    r20, r50, r80 = _radii_of_shares(images, np.hypot(y, x), positive, (0.2, 0.5, 0.8))
    weighted = images * np.exp(-(x**2 + y**2) / (2 * (min(height, width) / 6) ** 2))
    xx, yy, xy = ((weighted * product).sum(axis=(1, 2)) for product in (x * x, y * y, x * y))
    with np.errstate(divide="ignore", invalid="ignore"):
        ellipticity = np.hypot(xx - yy, 2 * xy) / (xx + yy)
        turned = np.abs(images - images[:, ::-1, ::-1]).sum(axis=(1, 2))
        asymmetry = turned / (2 * np.abs(images).sum(axis=(1, 2)))
        concentration = 5 * np.log10(r80 / r20)
    usable = np.isfinite(positive)
    keep = lambda values: np.where(usable, values, np.nan)
    return ImageStatistics(flux, r50, keep(ellipticity), keep(concentration), keep(asymmetry))


def distances(one: ImageStatistics, other: ImageStatistics) -> dict[str, float]:
    """Return the Kolmogorov-Smirnov distance of each statistic between two populations; NaN counts as the largest.

    A prior that draws images without light must not look better for it.
    """
    infinite = lambda values: np.where(np.isfinite(values), values, np.inf)
    return {
        name: float(scipy.stats.ks_2samp(infinite(a), infinite(b)).statistic)
        for name, a, b in zip(ImageStatistics._fields, one, other, strict=True)
    }


def _radii_of_shares(images, radius, flux, shares) -> list[Float[np.ndarray, " n"]]:
    """Return the radii of circles with given shares of the flux, by apertures a quarter of a pixel apart.

    A pixel belongs to a circle by how far its center is inside, from half a pixel out to half a pixel in.
    """
    circles = np.arange(0, radius.max() + 1.25, 0.25)
    inside = np.clip(circles - radius.reshape(-1, 1) + 0.5, 0, 1)
    growth = images.reshape(len(images), -1) @ inside / flux[:, None]
    rows, found = np.arange(len(images)), []
    for share in shares:
        last = np.maximum(np.argmax(growth >= share, axis=1), 1)
        low, high = growth[rows, last - 1], growth[rows, last]
        part = (share - low) / np.where(high > low, high - low, 1.0)
        found.append(circles[last - 1] + np.clip(part, 0, 1) * 0.25 + 0 * flux)
    return found
