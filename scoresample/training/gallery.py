"""A gallery of blends with their truth: scenes of a few stars and galaxies, as ten years of Rubin's survey see them."""

import dataclasses
from pathlib import Path

import galsim
import numpy as np
from jaxtyping import Float

from scoresample.errors import ConfigError
from scoresample.numerics.files import replacing
from scoresample.training.demo_scene import PIXEL, ZEROPOINT, Source
from scoresample.training.population import (
    FAINTEST,
    GOLD,
    STARS,
    STARS_KNOWN_TO,
    draw_galaxy,
    draw_star,
)

# Ivezic et al. (2019), ApJ 873, 111, table 1 (5 sigma depth of point sources in ten years, AB) and table 2 (seeing in
# arcsec, sky in magnitudes per square arcsec, both at zenith).
DEPTH = dict(zip("ugrizy", (26.1, 27.4, 27.5, 26.8, 26.1, 24.9), strict=True))
SEEING = dict(zip("ugrizy", (0.81, 0.77, 0.73, 0.71, 0.69, 0.68), strict=True))
SKY = dict(zip("ugrizy", (22.99, 22.26, 21.20, 20.48, 19.60, 18.61), strict=True))

PSF_SIZE = 19
EDGE = 6
"""Least distance of a source from the edge of the image, pixels."""

NEAREST, FARTHEST = 3.0, 12.0
"""From a source to the one it was laid beside, pixels. Nearer ones than 0.6 arcsec a detection would take for one."""

_SKY_RESIDUAL = 0.2  # standard deviation of the background left in a band, in units of the noise of a pixel


@dataclasses.dataclass(frozen=True)
class Gallery:
    """What the scenes of a gallery have in common; scene k is the same in every gallery of these settings.

    Parameters
    ----------
    seed
        Of all scenes.
    gradients
        Whether bulges are redder than their disks. By default a galaxy has one colour, as components of a scene do.
    detection_error
        Standard deviation of detected positions in y and in x, pixels.
    bands
        Of ``ugrizy``.
    side
        Of the images, pixels of 0.2 arcsec.
    least, most
        Sources in a scene.

    Raises
    ------
    ConfigError
        If a value is out of range.
    """

    seed: int = 1
    gradients: bool = False
    detection_error: float = 0.1
    bands: str = "ugrizy"
    side: int = 48
    least: int = 2
    most: int = 8

    def __post_init__(self):
        if not self.bands or not set(self.bands) <= set(DEPTH) or len(set(self.bands)) < len(self.bands):
            raise ConfigError(f"bands are {self.bands!r}; they must be some of ugrizy, each once.")
        if not 1 <= self.least <= self.most or self.seed < 0 or not self.detection_error >= 0:
            raise ConfigError(
                f"least is {self.least}, most {self.most}, seed {self.seed} and detection_error "
                f"{self.detection_error:g}; needed 1 <= least <= most, and no negative number."
            )
        room = (self.side - 2 * EDGE) ** 2 / NEAREST**2
        if self.side <= 2 * EDGE or room < 3 * self.most:
            raise ConfigError(
                f"side is {self.side}; {self.most} sources, {NEAREST:g} pixels apart and {EDGE} from the edge, need "
                f"{int(np.ceil(2 * EDGE + NEAREST * np.sqrt(3 * self.most)))} pixels."
            )


def write_gallery_scene(path: Path, gallery: Gallery, number: int) -> None:
    """Write a scene as ``.npz`` that `read_observation` and `read_catalog` read, with the truth beside."""
    arrays = simulate_blend(gallery, number)
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def simulate_blend(gallery: Gallery, number: int) -> dict[str, np.ndarray]:
    """Return the arrays of a scene file: images, weights, PSFs and detections, and the truth beside them.

    Images are in nJy per pixel. The noise is Gaussian, of sky and sources together, with the variance 1 / ``weights``.
    Of the truth there are ``true_flux`` (source, band), what falls inside the image after convolution; ``true_images``
    (source, band, y, x), each source without noise; ``true_background`` (band,); ``true_centers`` (source, 2);
    ``magnitude_i`` and ``kind``.

    One source has i < 25.3, and stands for what one would look at; the others have i < 27, and each lies within 12
    pixels of another: 2 to 8 in images of 48 pixels are what the counts have on average, 5, and a little closer.
    """
    rng = np.random.default_rng([gallery.seed, number])
    sources = draw_sources(rng, gallery)
    shape = (gallery.side, gallery.side)
    images, weights, psfs, clean, backgrounds = [], [], [], [], []
    for index, band in enumerate(gallery.bands):
        psf = make_psf(band, rng)
        stamp = psf.drawImage(nx=PSF_SIZE, ny=PSF_SIZE, scale=1.0, dtype=np.float64).array  # pixel included
        stamp /= stamp.sum()
        alone = np.stack([draw_source(source, index, psf, shape) for source in sources])
        sigma = 10 ** (0.4 * (ZEROPOINT - DEPTH[band])) / 5 * np.sqrt(np.sum(stamp**2))
        sky = 10 ** (0.4 * (ZEROPOINT - SKY[band])) * PIXEL**2
        variance = sigma**2 * (1 + np.maximum(alone.sum(0), 0) / sky)  # the noise of the sky sets the gain
        background = _SKY_RESIDUAL * sigma * rng.normal()
        images.append(alone.sum(0) + background + np.sqrt(variance) * rng.normal(size=shape))
        weights.append(1 / variance)
        psfs.append(stamp)
        clean.append(alone)
        backgrounds.append(background)
    centers = np.array([source.center for source in sources])
    magnitudes = np.array([source.magnitude_i for source in sources])
    stars = np.array([source.is_star for source in sources])
    return {
        "images": np.asarray(images, np.float32),
        "weights": np.asarray(weights, np.float32),
        "psfs": np.asarray(psfs, np.float32),
        "bands": np.array(list(gallery.bands)),
        "centers": centers + gallery.detection_error * rng.normal(size=centers.shape),
        "is_star": stars & (magnitudes < STARS_KNOWN_TO),
        "flux_unit": np.array("nJy"),
        "true_flux": np.sum(clean, axis=(2, 3)).T,
        "true_images": np.asarray(clean, np.float32).swapaxes(0, 1),
        "true_background": np.asarray(backgrounds),
        "true_centers": centers,
        "magnitude_i": magnitudes,
        "kind": np.array([source.kind for source in sources]),
    }


def draw_sources(rng: np.random.Generator, gallery: Gallery) -> list[Source]:
    """Return the sources of a scene, the one with i < 25.3 first."""
    sources = []
    for center in draw_centers(rng, int(rng.integers(gallery.least, gallery.most + 1)), gallery.side):
        faintest = FAINTEST if sources else GOLD
        if rng.random() < STARS:
            sources.append(draw_star(rng, center, faintest, gallery.bands))
        else:
            sources.append(draw_galaxy(rng, center, faintest, gallery.bands, gallery.gradients))
    return sources


def draw_centers(rng: np.random.Generator, count: int, side: int) -> list[tuple[float, float]]:
    """Return positions (y, x): the first near the middle, each other one at most 12 pixels from an earlier one."""
    low, high = EDGE, side - 1 - EDGE
    centers = [rng.uniform(max(low, side / 2 - 6), min(high, side / 2 + 6), 2)]
    while len(centers) < count:
        towards, distance = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(NEAREST**2, FARTHEST**2))
        found = centers[rng.integers(len(centers))] + distance * np.array([np.sin(towards), np.cos(towards)])
        apart = min(np.hypot(*(found - other)) for other in centers)
        if apart >= NEAREST and np.all((found >= low) & (found <= high)):
            centers.append(found)
    return [(float(y), float(x)) for y, x in centers]


def make_psf(band: str, rng: np.random.Generator) -> galsim.GSObject:
    """Return a Moffat PSF (beta 3.5) of flux 1, in pixels, cut so that its stamp holds it; ellipticity 0.01 rms."""
    seeing = SEEING[band] / PIXEL
    e_1, e_2 = 0.007 * rng.normal(size=2)
    return galsim.Moffat(beta=3.5, fwhm=seeing, trunc=PSF_SIZE / 2 - 1.2).shear(g1=e_1, g2=e_2)


def draw_source(
    source: Source, index: int, psf: galsim.GSObject, shape: tuple[int, int]
) -> Float[np.ndarray, "y x"]:
    """Return a source in one band, nJy per pixel, without noise, convolved with PSF and pixel."""
    offset = [at - (n - 1) / 2 for at, n in zip(source.center, shape, strict=True)]
    convolved = galsim.Convolve(source.profile(index), psf)
    return convolved.drawImage(
        nx=shape[1], ny=shape[0], scale=1.0, offset=offset[::-1], dtype=np.float64
    ).array
