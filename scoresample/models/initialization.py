"""First guesses: from detections to a scene that an optimizer can start from."""

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import gammainccinv

from scoresample.data.catalog import Catalog, check_catalog
from scoresample.data.observation import Observation
from scoresample.errors import ConfigError
from scoresample.models.first_light import Light, flux_within, measure_light, mirror_minimum, sky_level
from scoresample.models.morphology import COORDINATE_SCALE, PixelMorphology, PointSource
from scoresample.models.priors import AbstractPrior
from scoresample.models.profile_fit import Profile, fit_profiles, profile_image
from scoresample.models.psf import GaussianPSF, choose_model_psf
from scoresample.models.psf_check import warn_of_psfs
from scoresample.models.scene import Scene
from scoresample.models.source import make_source
from scoresample.numerics.arrays import to_jax

BOX_SIZES = (9, 13, 17, 23, 31, 39, 47, 63, 79, 103, 127)
"""Boxes are rounded up to these, so that sources share compiled code; of each prior, to those that it knows."""

COMPACT_BOX = 17
"""Of stars and of cores, which have no size of their own."""

RADII_PER_BOX = 1 / 0.085
"""Side of a box in half-light radii, as of the galaxies that the shipped priors describe (`training.galaxies`)."""

WIDE_RADII_PER_BOX = 20.0
"""The most where the prior knows sizes by themselves, so that boxes can hold the wings of bright galaxies: of an
exponential all, of a Sersic profile of index 2 all but 0.3 % of the light, of a de Vaucouleurs profile 96 %."""

BULK = 8.0
"""Half-light radii across which is the light of a galaxy that is larger than its image: of an exponential 99 %. Boxes
of smaller ones need not be wider than the image."""

SHARE_OF_ERROR = 0.2
"""What may be beyond these boxes of a Sersic profile of index 2, in units of its flux's error: wings of faint galaxies
are not seen. Fits tell indices roughly; those of most galaxies are below."""

SPHEROIDS_REACH = 1.5
"""How much further boxes of de Vaucouleurs profiles reach: 5 instead of 9 % of the light is beyond them."""

LEAST_STRETCH = 1.2
"""Boxes of galaxies that reach so much further along y or x than on average are larger: an axis ratio of 0.6. Of
rounder ones the corners of the box hold what they have beyond the reach."""


def initialize_scene(
    observation: Observation,
    catalog: Catalog,
    *,
    prior: AbstractPrior | None = None,
    background: bool = True,
    model_psf: GaussianPSF | None = None,
    box_sizes: tuple[int, ...] | None = None,
    two_components_above: float = 50.0,
    sizes: str | None = None,
    radii_per_box: float | None = None,
) -> Scene:
    """Return a scene with one object for each detection: a star where the catalog says so, else a galaxy.

    A galaxy gets a box as large as its light, the Gaussian of the same second moments as first image, and in every band
    the flux that is seen of it, after the light of others is reduced by taking the fainter of each pixel and its mirror
    image about the center. These are starting values only; fluxes are solved for exactly later on.

    The box reaches from the radius where the galaxy sinks into the noise on to where an exponential leaves 2 % of
    the light outside the circle in it (`measure_light`), further for galaxies that are long in y or x
    (`LEAST_STRETCH`), no further than the image, and is rounded up to ``box_sizes``. In the shipped demo scene boxes
    then cut 0.04 to 0.9 % of the galaxies' light in i.

    Parameters
    ----------
    observation
        Images, weights and PSFs.
    catalog
        Positions of the sources, (y, x) in pixels.
    prior
        Of the images, as `Posterior` is given it; with one that knows sizes by itself (`AbstractPrior.knows_sizes`),
        such as ``profile``, boxes are wide, about fitted profiles. `log-gaussian` by default.
    background
        Whether the scene has a free constant background in every band.
    model_psf
        Resolution of the galaxy images; by default 0.7 pixels, or the narrowest observed PSF.
    box_sizes
        Allowed sizes of boxes; odd ones keep the detected pixel in the middle. By default 9, 13, 17, 23, 31, 39, 47,
        63, 79, 103 and 127 pixels, without those that are smaller than any that the prior knows
        (`AbstractPrior.least_box`).
    two_components_above
        Galaxies whose central pixels have a higher signal-to-noise than this are given a second source, a small core
        with a spectrum of its own, because at such precision no galaxy has a single colour, and no PSF is right in
        every band (Melchior et al. 2018, Astronomy and Computing 24, 129, model bright galaxies the same way). On the
        HSC scene what is left by a compact one, of 670 times the noise, would else go to its faint neighbour.
    sizes
        What boxes, first images and first fluxes come from. ``"rings"``: the light around each detection, as above, by
        default. ``"profiles"``, the default with a prior that knows sizes: exponential and de Vaucouleurs profiles that
        are fitted to all sources at once (`fit_profiles`), each box so large as one of galaxies of that half-light
        radius is in the shipped priors. Neighbours then inflate boxes less; what that does to fluxes, with these and
        with smaller boxes, is in docs/gallery.md.
    radii_per_box
        Largest side of boxes in half-light radii, with ``"profiles"``, for a prior to which boxes are not sizes; those
        of faint galaxies are smaller (`SHARE_OF_ERROR`). By default 20 with such a prior, else boxes are those of the
        galaxies of that size that the shipped priors describe.

    A `ScoresampleWarning` says when stars do not look like the PSFs (`models.psf_check`).

    Raises
    ------
    DataError
        If a detection is off the image or on a pixel without data.
    ConfigError
        If ``sizes`` is neither of the two.
    """
    knows_sizes = prior is not None and prior.knows_sizes
    least_box = 1 if prior is None else prior.least_box
    box_sizes = boxes_from(least_box) if box_sizes is None else box_sizes
    compact = _at_least(COMPACT_BOX, box_sizes)
    sizes = ("profiles" if knows_sizes else "rings") if sizes is None else sizes
    radii_per_box = WIDE_RADII_PER_BOX if radii_per_box is None and knows_sizes else radii_per_box
    if sizes not in ("rings", "profiles"):
        raise ConfigError(f"sizes is {sizes!r}; it must be 'rings' or 'profiles'.")
    check_catalog(catalog, observation)
    warn_of_psfs(observation, catalog)
    images, weights = np.asarray(observation.images, float), np.asarray(observation.inverse_variance, float)
    psfs = np.asarray(observation.psfs)
    dtype = observation.images.dtype
    model_psf = choose_model_psf(psfs) if model_psf is None else model_psf
    sky = np.array([sky_level(image, weight) for image, weight in zip(images, weights, strict=True)])
    flat = np.where(weights > 0, images - sky[:, None, None], 0)
    sources, profiles = [], None
    if sizes == "profiles":
        profiles = fit_profiles(flat, weights, psfs, catalog.centers, catalog.is_star)
    for index, (center, star, object_id) in enumerate(
        zip(catalog.centers, catalog.is_star, catalog.object_id, strict=True)
    ):
        make = partial(make_source, center=center, object_id=str(object_id))
        seen = _see_rings(flat, weights, psfs, center, compact if star else None, box_sizes)
        if profiles is not None:
            seen = _see_profile(
                profiles[index], seen.peak, radii_per_box, box_sizes, center, images.shape[1:]
            )
        flux = seen.flux.astype(dtype)
        if star:
            sources.append(make(f"star_{index}", PointSource(), flux=flux, box=compact))
            continue
        name = f"galaxy_{index}"
        has_core = seen.peak > two_components_above
        box = max(seen.box, _at_least(compact + 1, box_sizes)) if has_core else seen.box
        if isinstance(seen.light, Profile):
            image = profile_image(seen.light, box, model_psf)
            first = _on_pixels(image)
        else:
            # With a core, the two begin apart in size, and the outer one has room around the core.
            least = (2.5 if has_core else 1.2) * model_psf.sigma
            first = gaussian_morphology(box, _within(seen.light.moments, least, max(seen.box / 4, least)))
        sources.append(make(name, first, flux=(0.7 if has_core else 1.0) * flux))
        if has_core:
            core = gaussian_morphology(compact, 1.2 * model_psf.sigma)
            sources.append(make(f"{name}_core", core, flux=0.3 * flux, parent=name))
    return Scene(observation.frame, tuple(sources), to_jax(sky, dtype) if background else None, model_psf)


def boxes_from(least: int) -> tuple[int, ...]:
    """Return the sizes of boxes that are as large as ``least``, or larger."""
    return tuple(n for n in BOX_SIZES if n >= least)


class _Seen(NamedTuple):
    """What a source begins as."""

    box: int
    flux: Float[np.ndarray, " band"]
    peak: float
    light: Light | Profile


def _see_rings(flat, weights, psfs, center, of_star: int | None, box_sizes: tuple[int, ...]) -> _Seen:
    """Return what rings around a detection show, after the light of others is reduced.

    ``of_star`` is the box of a star, None for a galaxy.
    """
    mirrored = mirror_minimum(flat, weights, center)
    light = measure_light(mirrored, weights, center, psfs)
    reach = light.reach * np.where(light.stretch > LEAST_STRETCH, light.stretch, 1)
    box = _box_size(reach, box_sizes, center, flat.shape[1:]) if of_star is None else of_star
    near = min(box, COMPACT_BOX) / 2
    flux = flux_within(mirrored, center, max(near, light.radius) if of_star is None else near)
    return _Seen(box, flux, light.peak, light)


def _see_profile(
    profile: Profile,
    peak: float,
    radii_per_box: float | None,
    box_sizes: tuple[int, ...],
    center: Float[np.ndarray, " 2"],
    shape: tuple[int, int],
) -> _Seen:
    """Return what the fit of all profiles made of a source: of the allowed boxes the nearest, in its logarithm.

    No wider than the image, unless ``BULK`` of its light is; nor than what reaches from the source over all of it.
    """
    radius = profile.half_light_radius
    least = min(max(*shape, BULK * radius), 2 * max(_farthest(center, shape)) + 1)
    whole = _at_least(least, box_sizes)
    per_radius = RADII_PER_BOX * (SPHEROIDS_REACH if profile.sersic_index > 2 else 1)
    if radii_per_box is not None:
        unseen = SHARE_OF_ERROR / max(profile.signal_to_noise, 1.0)
        # Of index 2 the light beyond r half-light radii is Q(4, 3.672 r^(1/2)).
        per_radius = min(2 * float(gammainccinv(4, unseen) / 3.672) ** 2, radii_per_box)
    needed = max(per_radius * radius, 1.0)
    box = min(whole, min(box_sizes, key=lambda n: abs(np.log(n / needed))))
    return _Seen(box, profile.flux, peak, profile)


def gaussian_morphology(box: int, sigma: float | Float[np.ndarray, "2 2"]) -> PixelMorphology:
    """Return a Gaussian of peak 1 in the middle of a square box: round, or with second moments (y, x) by (y, x)."""
    moments = sigma**2 * np.eye(2) if np.ndim(sigma) == 0 else np.asarray(sigma)
    offset = np.indices((box, box)) - (box - 1) / 2
    morphology = np.exp(-0.5 * np.einsum("iyx,ij,jyx->yx", offset, np.linalg.inv(moments), offset))
    return _on_pixels(morphology)


def _on_pixels(morphology: Float[np.ndarray, "y x"]) -> PixelMorphology:
    return PixelMorphology(to_jax(np.log1p(morphology) / COORDINATE_SCALE))


def _within(moments: Float[np.ndarray, "2 2"], least: float, most: float) -> Float[np.ndarray, "2 2"]:
    """Return second moments with the width along each of their axes held between two."""
    values, axes = np.linalg.eigh(moments)
    return axes @ np.diag(np.clip(values, least**2, most**2)) @ axes.T


def _farthest(center: Float[np.ndarray, " 2"], shape: tuple[int, int]) -> list[float]:
    """Return how far the image reaches from a source along y and x."""
    return [max(c, n - 1 - c) for c, n in zip(center, shape, strict=True)]


def _box_size(
    reach: Float[np.ndarray, " 2"], box_sizes: tuple[int, ...], center, shape: tuple[int, int]
) -> int:
    """Return the smallest allowed size that reaches far enough along y and x, or over the whole image."""
    farthest = _farthest(center, shape)
    needed = 2 * float(np.max(np.minimum(reach, farthest))) + 1
    return _at_least(needed, box_sizes)


def _at_least(needed: int | float, box_sizes: tuple[int, ...]) -> int:
    """Return the smallest allowed size that is large enough, or the largest."""
    return next((n for n in box_sizes if n >= needed), box_sizes[-1])
