"""What is seen of one source at a detected position, before anything is fitted."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from scoresample.models.psf import psf_center, psf_width

MAX_OUTSIDE = 0.02
"""Share of a galaxy's light that may lie beyond its reach; the corners of its box hold a third of that."""

ALIKE = 2.0  # two pixels differ by less than this many standard deviations when only noise sets them apart
SHARE_ALIKE = 0.954  # how often they then do


class Light(NamedTuple):
    """What is seen of one source: its extent in pixels, and how bright it is.

    Attributes
    ----------
    radius
        Where its light sinks into the noise, beyond what the PSF makes of a point.
    reach
        Where all but ``MAX_OUTSIDE`` of its light is inside, if it goes on as an exponential; at least ``radius``.
    moments
        Second moments about the center, (y, x) by (y, x), in square pixels, the PSF taken out; no smaller than 0 along
        any axis, nor than a tenth of the larger along the smaller.
    stretch
        How much further than on average the light reaches along y and along x: with the PSF, root of its moment over
        that of their mean. 1 for what is round, at most the root of 2.
    peak
        Signal-to-noise per pixel in the middle, all bands together.
    """

    radius: float
    reach: float
    moments: Float[np.ndarray, "2 2"]
    stretch: Float[np.ndarray, " 2"]
    peak: float

    @property
    def sigma(self) -> float:
        """Width of the round Gaussian with the same second moments."""
        return float(np.sqrt(np.trace(self.moments) / 2))


def sky_level(image: Float[np.ndarray, "y x"], weight: Float[np.ndarray, "y x"]) -> float:
    """Return the median of a band's good pixels after clipping at three robust deviations; 0 without any."""
    values = image[weight > 0]
    if values.size == 0:
        return 0.0
    for _ in range(10):
        middle = np.median(values)
        spread = 1.4826 * np.median(abs(values - middle))
        kept = values[abs(values - middle) <= 3 * spread] if spread > 0 else values
        if kept.size == values.size:
            break
        values = kept
    return float(np.median(values))


def mirror_minimum(
    images: Float[np.ndarray, "band y x"], weights: Float[np.ndarray, "band y x"], center
) -> Float[np.ndarray, "band y x"]:
    r"""Return the fainter of each pixel and its mirror image about a center, without its bias.

    Of two pixels of the same mean and variances v and v', the fainter is too faint by
    :math:`\sqrt{(v + v') / 2 \pi}` on average. That is added where they differ by no more than noise. Pixels
    without data, or without a mirror image that has data, stay as they are.
    """
    y, x = np.indices(images.shape[1:])
    my, mx = np.round(2 * center[0] - y).astype(int), np.round(2 * center[1] - x).astype(int)
    height, width = images.shape[1:]
    exists = (my >= 0) & (my < height) & (mx >= 0) & (mx < width)
    there = (slice(None), np.clip(my, 0, height - 1), np.clip(mx, 0, width - 1))
    mirror = images[there]
    exists = exists & (weights > 0) & (weights[there] > 0)
    variance = np.divide(1, weights, where=weights > 0, out=np.zeros_like(weights))
    both = variance + variance[there]
    alike = abs(images - mirror) < ALIKE * np.sqrt(both)
    bias = np.where(alike, np.sqrt(both / (2 * np.pi)) / SHARE_ALIKE, 0)
    return np.where(exists, np.minimum(images, mirror) + bias, images)


def flux_within(images: Float[np.ndarray, "band y x"], center, radius: float) -> Float[np.ndarray, " band"]:
    """Return the sum of each band over the pixels of a circle."""
    y, x = np.indices(images.shape[1:])
    return np.sum(images * (np.hypot(y - center[0], x - center[1]) <= radius), axis=(1, 2))


def measure_light(
    images: Float[np.ndarray, "band y x"],
    weights: Float[np.ndarray, "band y x"],
    center,
    psfs: Float[np.ndarray, "band h w"],
) -> Light:
    """Measure how far a source reaches beyond what the PSF does to it, how wide it is, and how bright.

    Bands are combined with the weights that are best for the source's own central colours. From the light a
    star of the same brightness is subtracted, since wings of the PSF need no box. The radius is where the
    mean over a ring, two pixels wide, falls below half the noise of one pixel, or rises again toward a neighbour.

    Parameters
    ----------
    images
        Without sky, 0 where there is no data, and with little light of other sources (`mirror_minimum`).
    weights
        Inverse variances.
    center
        (y, x) of the source.
    psfs
        Of every band.
    """
    y, x = np.indices(images.shape[1:])
    r = np.hypot(y - center[0], x - center[1])
    core = r <= 1.5
    colour = np.clip(images[:, core].mean(axis=1), 0, None)
    colour = colour if colour.sum() > 0 else np.ones_like(colour)
    variance = np.einsum("b,byx->yx", colour**2, weights)
    seen = variance > 0
    combine = lambda flux: np.divide(flux, variance, where=seen, out=np.zeros(r.shape))
    light = combine(np.einsum("b,byx,byx->yx", colour, weights, images))
    profiles = [_psf_profile(psf, r) for psf in psfs]
    stars = np.stack([profile / max(profile[core].mean(), 1e-3 * profile.max()) for profile in profiles])
    beyond = light - combine(np.einsum("b,byx,byx->yx", colour**2, weights, stars))
    significance = beyond * np.sqrt(variance)

    def ring_mean(values, inner):
        ring = (r > inner) & (r <= inner + 2) & seen
        return values[ring].mean() if ring.any() else 0.0

    radius, before = 3.0, np.inf
    while radius < max(r.shape):
        level = ring_mean(significance, radius)
        if level < 0.5 or (level > 1.05 * before and radius > 5):
            break
        radius, before = radius + 1, level
    reach = radius
    if radius > 4:
        middle = max(radius / 2, 3.0)
        levels = ring_mean(beyond, middle - 1), ring_mean(beyond, radius - 1)
        reach = _exponential_reach(middle, radius, *levels, light[(r <= radius) & seen].sum())
    inside = (r <= radius + 1) & seen
    weight = np.clip(light, 0, None)[inside]
    offset = np.stack([y - center[0], x - center[1]])[:, inside]
    second = (weight * offset) @ offset.T / max(np.sum(weight), 1e-30)
    sigma_psf = np.median([psf_width(psf) for psf in psfs])
    mean = np.trace(second) / 2
    stretch = np.sqrt(np.diag(second) / mean) if mean > 0 else np.ones(2)
    peak = (light * np.sqrt(variance))[core].mean()
    return Light(radius, reach, _without_psf(second, sigma_psf), stretch, float(peak))


def _without_psf(second: Float[np.ndarray, "2 2"], sigma_psf: float) -> Float[np.ndarray, "2 2"]:
    """Return second moments less those of a round PSF, held above a tenth of the larger one.

    Noise may leave less than nothing along the shorter axis; the mean of both, which is better known, is kept.
    """
    values, axes = np.linalg.eigh(second)
    values = values - sigma_psf**2
    mean = max(values.mean(), 0.0)
    least = max(values[0], 2 * mean / 11)  # of two that have this mean, a tenth of the other
    return axes @ np.diag([least, 2 * mean - least]) @ axes.T


def _exponential_reach(middle: float, edge: float, at_middle: float, at_edge: float, inside: float) -> float:
    r"""Return the radius beyond which an exponential through two levels leaves ``MAX_OUTSIDE`` of the light.

    .. math:: F(>r) = 2\pi I_{edge}\, h\,(r + h)\, e^{-(r - edge)/h}

    The scale length h is held to a quarter of ``edge``: what falls more slowly is light of others.
    """
    if at_edge <= 0:
        return edge
    scale = edge / 4
    if at_middle > at_edge:
        scale = min(scale, (edge - middle) / np.log(at_middle / at_edge))
    r = edge + np.arange(0, 2 * edge, 0.5)
    outside = 2 * np.pi * at_edge * scale * (r + scale) * np.exp(-(r - edge) / scale)
    return float(r[np.argmax(outside <= MAX_OUTSIDE * (inside + outside[0]))])


def _psf_profile(psf: Float[np.ndarray, "h w"], r: Float[np.ndarray, "y x"]) -> Float[np.ndarray, "y x"]:
    """Return the azimuthal mean of a PSF at the radii of an image, 0 beyond its stamp."""
    y, x = np.indices(psf.shape)
    center = psf_center(psf)
    own = np.hypot(y - center[0], x - center[1])
    edges = np.arange(0, own.max() + 2)
    total, _ = np.histogram(own, edges, weights=psf)
    count, _ = np.histogram(own, edges)
    radius, _ = np.histogram(own, edges, weights=own)
    kept = count > 0
    return np.interp(r, radius[kept] / count[kept], total[kept] / count[kept], right=0.0)
