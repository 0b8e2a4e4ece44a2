"""First guesses: from detections to a scene that an optimizer can start from."""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from scoresample.data.catalog import Catalog, check_catalog
from scoresample.data.observation import Observation

from scoresample.models.morphology import PixelMorphology, PointSource, to_coordinate
from scoresample.models.psf import GaussianPSF, choose_model_psf, psf_center, psf_width
from scoresample.models.scene import Scene
from scoresample.models.source import make_source

BOX_SIZES = (17, 25, 35, 49, 69, 97, 127)
"""Boxes are rounded up to these, so that sources share compiled code; the shipped priors know 16 to 128."""


def initialize_scene(
    observation: Observation,
    catalog: Catalog,
    *,
    background: bool = True,
    model_psf: GaussianPSF | None = None,
    box_sizes: tuple[int, ...] = BOX_SIZES,
    two_components_above: float = 50.0,
) -> Scene:
    """Return a scene with one object for each detection: a star where the catalog says so, else a galaxy.

    A galaxy gets a box as large as its light, a round Gaussian as first image, and in every band the flux of
    its box, after the light of others is reduced by taking the fainter of each pixel and its mirror image
    about the center. These are starting values only; fluxes are solved for exactly later on.

    Parameters
    ----------
    observation
        Images, weights and PSFs.
    catalog
        Positions of the sources, (y, x) in pixels.
    background
        Whether the scene has a free constant background in every band.
    model_psf
        Resolution of the galaxy images; by default 0.7 pixels, or the narrowest observed PSF.
    box_sizes
        Allowed sizes of boxes; odd ones keep the detected pixel in the middle.
    two_components_above
        Extended galaxies whose central pixels have a higher signal-to-noise than this are given a second source, a
        small core with a spectrum of its own, because at such precision no galaxy has a single colour
        (Melchior et al. 2018, Astronomy and Computing 24, 129, model bright galaxies the same way).

    Raises
    ------
    DataError
        If a detection is off the image or on a pixel without data.
    """
    check_catalog(catalog, observation)
    images, weights = np.asarray(observation.images, float), np.asarray(observation.inverse_variance, float)
    psfs = np.asarray(observation.psfs)
    model_psf = choose_model_psf(psfs) if model_psf is None else model_psf
    sky = np.array([_sky_level(image, weight) for image, weight in zip(images, weights, strict=True)])
    flat = np.where(weights > 0, images - sky[:, None, None], 0)
    sources = []
    for index, (center, star, object_id) in enumerate(
        zip(catalog.centers, catalog.is_star, catalog.object_id, strict=True)
    ):
        mirrored = _mirror_minimum(flat, center)
        light = _measure(mirrored, weights, center, psfs)
        box = _box_size(2 * light.radius + 1, box_sizes, max(images.shape[1:]))
        make = partial(make_source, center=center, object_id=str(object_id))
        if star:
            flux = _box_flux(mirrored, center, box_sizes[0])
            sources.append(make(f"star_{index}", PointSource(), flux=flux, box=box_sizes[0]))
            continue
        name, flux = f"galaxy_{index}", _box_flux(mirrored, center, box)
        sigma = float(np.clip(light.sigma, 1.2 * model_psf.sigma, box / 4))
        has_core = light.peak > two_components_above and box > box_sizes[0]
        sources.append(make(name, gaussian_morphology(box, sigma), flux=(0.7 if has_core else 1.0) * flux))
        if has_core:
            core = gaussian_morphology(box_sizes[0], 1.2 * model_psf.sigma)
            sources.append(make(f"{name}_core", core, flux=0.3 * flux, parent=name))
    dtype = observation.images.dtype
    return Scene(observation.frame, tuple(sources), jnp.asarray(sky, dtype) if background else None, model_psf)


def gaussian_morphology(box: int, sigma: float) -> PixelMorphology:
    """Return a round Gaussian of peak 1 in the middle of a square box."""
    y = np.arange(box) - (box - 1) / 2
    morphology = np.exp(-0.5 * (y[:, None] ** 2 + y[None, :] ** 2) / sigma**2)
    return PixelMorphology(to_coordinate(jnp.asarray(morphology, jnp.result_type(float))))


class _Light(NamedTuple):
    """What is seen of one source: radius beyond the PSF's reach, Gaussian sigma without the PSF, peak S/N."""

    radius: float
    sigma: float
    peak: float


def _box_size(needed: float, box_sizes: tuple[int, ...], largest: int) -> int:
    """Return the smallest allowed box that is large enough, no larger than the image where possible."""
    allowed = [n for n in box_sizes if n <= largest] or list(box_sizes[:1])
    return next((n for n in allowed if n >= needed), allowed[-1])


def _box_flux(mirrored: Float[np.ndarray, "band y x"], center, box: int) -> Float[Array, " band"]:
    y, x = np.indices(mirrored.shape[1:])
    inside = (abs(y - center[0]) <= box / 2) & (abs(x - center[1]) <= box / 2)
    return jnp.asarray(np.sum(mirrored * inside, axis=(1, 2)), jnp.result_type(float))


def _sky_level(image: Float[np.ndarray, "y x"], weight: Float[np.ndarray, "y x"]) -> float:
    """Return the median of a band's good pixels after clipping at three robust deviations."""
    values = image[weight > 0]
    for _ in range(10):
        middle = np.median(values)
        spread = 1.4826 * np.median(abs(values - middle))
        kept = values[abs(values - middle) <= 3 * spread] if spread > 0 else values
        if kept.size == values.size:
            break
        values = kept
    return float(np.median(values))


def _mirror_minimum(images: Float[np.ndarray, "band y x"], center) -> Float[np.ndarray, "band y x"]:
    """Return the fainter of each pixel and its mirror image about a center; pixels without a mirror stay."""
    y, x = np.indices(images.shape[1:])
    my, mx = np.round(2 * center[0] - y).astype(int), np.round(2 * center[1] - x).astype(int)
    height, width = images.shape[1:]
    exists = (my >= 0) & (my < height) & (mx >= 0) & (mx < width)
    mirror = images[:, np.clip(my, 0, height - 1), np.clip(mx, 0, width - 1)]
    return np.where(exists, np.minimum(images, mirror), images)


def _measure(mirrored, weights, center, psfs) -> _Light:
    """Measure how far a source reaches beyond what the PSF does to it, how wide it is, and how bright.

    Bands are combined with the weights that are best for the source's own central colours. From the light a
    star of the same brightness is subtracted, since wings of the PSF need no box. The radius is where the
    mean over a ring, two pixels wide, falls below half the noise of one pixel, or rises again toward a
    neighbour.
    """
    y, x = np.indices(mirrored.shape[1:])
    r = np.hypot(y - center[0], x - center[1])
    core = r <= 1.5
    colour = np.clip(mirrored[:, core].mean(axis=1), 0, None)
    colour = colour if colour.sum() > 0 else np.ones_like(colour)
    variance = np.einsum("b,byx->yx", colour**2, weights)
    seen = variance > 0
    light = np.divide(np.einsum("b,byx,byx->yx", colour, weights, mirrored), variance, where=seen, out=np.zeros(r.shape))
    profiles = np.stack([_profile(psf, r) for psf in psfs])
    star = np.einsum("b,byx,byx->yx", colour**2, weights, profiles / profiles[:, core].mean(axis=1)[:, None, None])
    beyond = light - np.divide(star, variance, where=seen, out=np.zeros(r.shape))
    significance = beyond * np.sqrt(variance)
    radius, before = 3.0, np.inf
    while radius < max(r.shape):
        ring = (r > radius) & (r <= radius + 2) & seen
        level = significance[ring].mean() if ring.any() else 0.0
        if level < 0.5 or (level > 1.05 * before and radius > 5):
            break
        radius, before = radius + 1, level
    inside = (r <= radius) & seen
    weight = np.clip(light, 0, None)[inside]
    second = np.sum(weight * r[inside] ** 2) / max(np.sum(weight), 1e-30) / 2
    sigma_psf = np.median([psf_width(psf) for psf in psfs])
    peak = (light * np.sqrt(variance))[core].mean()
    return _Light(radius + 1, float(np.sqrt(max(second - sigma_psf**2, 0.0))), float(peak))


def _profile(psf: Float[np.ndarray, "h w"], r: Float[np.ndarray, "y x"]) -> Float[np.ndarray, "y x"]:
    """Return the azimuthal mean of a PSF at the radii of an image, 0 beyond its stamp."""
    y, x = np.indices(psf.shape)
    center = psf_center(psf)
    own = np.hypot(y - center[0], x - center[1])
    edges = np.arange(0, own.max() + 1)
    total, _ = np.histogram(own, edges, weights=psf)
    count, _ = np.histogram(own, edges)
    radius, _ = np.histogram(own, edges, weights=own)
    kept = count > 0
    return np.interp(r, radius[kept] / count[kept], total[kept] / count[kept], right=0.0)
