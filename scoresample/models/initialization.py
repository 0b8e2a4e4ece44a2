"""First guesses: from detections to a scene that an optimizer can start from."""

from functools import partial

import jax.numpy as jnp
import numpy as np

from scoresample.data.catalog import Catalog, check_catalog
from scoresample.data.observation import Observation
from scoresample.models.first_light import flux_within, measure_light, mirror_minimum, sky_level
from scoresample.models.morphology import PixelMorphology, PointSource, to_coordinate
from scoresample.models.psf import GaussianPSF, choose_model_psf
from scoresample.models.psf_check import warn_of_psfs
from scoresample.models.scene import Scene
from scoresample.models.source import make_source

BOX_SIZES = (17, 23, 31, 39, 47, 63, 79, 103, 127)
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

    A galaxy gets a box as large as its light, a round Gaussian as first image, and in every band the flux that is
    seen of it, after the light of others is reduced by taking the fainter of each pixel and its mirror image
    about the center. These are starting values only; fluxes are solved for exactly later on.

    The box reaches from the radius where the galaxy sinks into the noise on to where an exponential leaves 2 % of
    the light outside the circle in it (`measure_light`), and is rounded up to ``box_sizes``. In the shipped demo
    scene boxes then cut 0.04 to 0.9 % of the galaxies' light in i.

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
        Galaxies whose central pixels have a higher signal-to-noise than this are given a second source, a small core
        with a spectrum of its own, because at such precision no galaxy has a single colour, and no PSF is right in
        every band (Melchior et al. 2018, Astronomy and Computing 24, 129, model bright galaxies the same way). On the
        HSC scene what is left by a compact one, of 670 times the noise, would else go to its faint neighbour.

    A `ScoresampleWarning` says when stars do not look like the PSFs (`models.psf_check`).

    Raises
    ------
    DataError
        If a detection is off the image or on a pixel without data.
    """
    check_catalog(catalog, observation)
    warn_of_psfs(observation, catalog)
    images, weights = np.asarray(observation.images, float), np.asarray(observation.inverse_variance, float)
    psfs = np.asarray(observation.psfs)
    dtype = observation.images.dtype
    model_psf = choose_model_psf(psfs) if model_psf is None else model_psf
    sky = np.array([sky_level(image, weight) for image, weight in zip(images, weights, strict=True)])
    flat = np.where(weights > 0, images - sky[:, None, None], 0)
    sources = []
    for index, (center, star, object_id) in enumerate(
        zip(catalog.centers, catalog.is_star, catalog.object_id, strict=True)
    ):
        mirrored = mirror_minimum(flat, weights, center)
        light = measure_light(mirrored, weights, center, psfs)
        make = partial(make_source, center=center, object_id=str(object_id))
        near = box_sizes[0] / 2
        if star:
            flux = jnp.asarray(flux_within(mirrored, center, near), dtype)
            sources.append(make(f"star_{index}", PointSource(), flux=flux, box=box_sizes[0]))
            continue
        name, box = f"galaxy_{index}", _box_size(light.reach, box_sizes, center, images.shape[1:])
        flux = jnp.asarray(flux_within(mirrored, center, max(near, light.radius)), dtype)
        sigma = float(np.clip(light.sigma, 1.2 * model_psf.sigma, box / 4))
        has_core = light.peak > two_components_above
        if has_core:
            # The two begin apart in size, and the outer one has room around the core.
            sigma, box = max(sigma, 2.5 * model_psf.sigma), max(box, box_sizes[:2][-1])
        sources.append(make(name, gaussian_morphology(box, sigma), flux=(0.7 if has_core else 1.0) * flux))
        if has_core:
            core = gaussian_morphology(box_sizes[0], 1.2 * model_psf.sigma)
            sources.append(make(f"{name}_core", core, flux=0.3 * flux, parent=name))
    return Scene(
        observation.frame, tuple(sources), jnp.asarray(sky, dtype) if background else None, model_psf
    )


def gaussian_morphology(box: int, sigma: float) -> PixelMorphology:
    """Return a round Gaussian of peak 1 in the middle of a square box."""
    y = np.arange(box) - (box - 1) / 2
    morphology = np.exp(-0.5 * (y[:, None] ** 2 + y[None, :] ** 2) / sigma**2)
    return PixelMorphology(to_coordinate(jnp.asarray(morphology, jnp.result_type(float))))


def _box_size(reach: float, box_sizes: tuple[int, ...], center, shape: tuple[int, int]) -> int:
    """Return the smallest allowed size that reaches far enough, or over the whole image."""
    farthest = max(max(c, n - 1 - c) for c, n in zip(center, shape, strict=True))
    needed = 2 * min(reach, farthest) + 1
    return next((n for n in box_sizes if n >= needed), box_sizes[-1])
