"""Simulated galaxy morphologies: the population that the shipped priors describe."""

from collections.abc import Callable

import galsim
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from scoresample.errors import ConfigError
from scoresample.training import painted

MODEL_PSF_SIGMA = 0.7  # pixels; just Nyquist-sampled, so that images of galaxies can be shifted and convolved
SERSIC_INDICES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)  # GalSim builds one lookup table per index
KINDS = {
    "exponential": 0.16,
    "de_vaucouleurs": 0.16,
    "sersic": 0.14,
    "bulge_disk": 0.18,
    "knots": 0.12,
    "arms": 0.10,
    "bar": 0.05,
    "ring": 0.04,
    "disturbed": 0.05,
}


RADIUS_OF_BOX = 0.085
"""Median half-light radius of galaxies in units of their box."""


def draw_half_light_radius(rng: np.random.Generator, box: int | float) -> float:
    """Return a circularized half-light radius in pixels: log-normal, median 0.085 box, sigma(ln) 0.45.

    The parametric fits to 100 COSMOS galaxies in GalSim's ``real_galaxy_catalog_23.5_example_fits`` (Mandelbaum et al.
    2012, MNRAS 420, 1518) scatter by 0.53 about 0.42 arcsec; a box follows the light of its galaxy, so the ratio of the
    two scatters less.
    """
    return RADIUS_OF_BOX * box * np.exp(0.45 * rng.normal())


RING_OFFSET, RING_SCATTER = -0.38, 0.57
"""Mean and scatter of ln(size) of galaxies in boxes that are laid after rings around detections, which neighbours
inflate, beside the scatter of `draw_half_light_radius`: together, -0.38 and 0.73, they are those of 381 galaxies in
blends (``benchmarks/box_sizes.py``)."""


def draw_ring_error(rng: np.random.Generator) -> float:
    """Return the size of a galaxy over what its box says where that was laid after rings: log-normal."""
    return float(np.exp(RING_OFFSET + RING_SCATTER * rng.normal()))


def draw_axis_ratio(rng: np.random.Generator) -> float:
    """Return q = 0.2 + 0.8 Beta(1.3, 1.6).

    Its quantiles at 5, 25, 50, 75, 95 % are 0.25, 0.39, 0.55, 0.72, 0.90; those of the COSMOS fits named in
    :func:`draw_half_light_radius` are 0.25, 0.42, 0.56, 0.78, 0.90.
    """
    return 0.2 + 0.8 * rng.beta(1.3, 1.6)


def draw_sersic_index(rng: np.random.Generator) -> float:
    """Return one of ``SERSIC_INDICES``; the density falls as 1/n (COSMOS fits: half lie in 0.9 to 3.4)."""
    weights = 1 / np.sqrt(SERSIC_INDICES)
    return float(rng.choice(SERSIC_INDICES, p=weights / weights.sum()))


def sersic_profile(
    index: float, half_light_radius: float, axis_ratio: float, angle: float
) -> galsim.GSObject:
    """Return a Sersic profile of flux 1: radius in pixels and circularized, angle in radians from x."""
    profile = galsim.Sersic(index, half_light_radius=half_light_radius)
    return profile.shear(q=axis_ratio, beta=angle * galsim.radians)


def bulge_disk_profile(
    rng: np.random.Generator, half_light_radius: float, axis_ratio: float, angle: float
) -> galsim.GSObject:
    """Return an exponential disk and a rounder bulge (n = 4 or 1): 5 to 70 % of the light, 0.1 to 0.6 of the size.

    References
    ----------
    Lackner & Gunn (2012), MNRAS 421, 2277: two-component fits with n = 1 and n = 4 bulges.
    """
    bulge = sersic_profile(
        rng.choice([1.0, 4.0]),
        rng.uniform(0.1, 0.6) * half_light_radius,
        axis_ratio + (1 - axis_ratio) * rng.uniform(0.2, 1.0),
        angle,
    )
    share = rng.uniform(0.05, 0.7)
    return share * bulge + (1 - share) * sersic_profile(1.0, half_light_radius, axis_ratio, angle)


def draw_profile(
    profile: galsim.GSObject, box: int, center: tuple[float, float], psf_sigma: float
) -> Float[np.ndarray, "y x"]:
    """Return the profile convolved with the Gaussian model PSF, sampled at pixel centers."""
    convolved = galsim.Convolve(profile, galsim.Gaussian(sigma=psf_sigma))
    image = convolved.drawImage(
        nx=box, ny=box, scale=1.0, method="no_pixel", offset=(center[1], center[0]), dtype=np.float64
    )
    return image.array


def draw_painted(
    rng: np.random.Generator, kind: str, box: int, center: tuple[float, float], size: float, axis_ratio: float
) -> Float[np.ndarray, "y x"]:
    """Return a painted galaxy of the given kind; two thirds of them carry a bulge of up to 40 % of the light."""
    angle = rng.uniform(0, np.pi)
    radius, azimuth = painted.disk_coordinates(box, center, axis_ratio, angle)
    paint: dict[str, Callable[[], np.ndarray]] = {
        "knots": lambda: painted.paint_knots(rng, radius, size, center, axis_ratio, angle),
        "arms": lambda: painted.paint_arms(rng, radius, azimuth, size),
        "bar": lambda: painted.paint_bar(rng, radius, azimuth, size),
        "ring": lambda: painted.paint_ring(rng, radius, size),
        "disturbed": lambda: painted.paint_disturbed(rng, radius, azimuth, size),
    }
    image = painted.to_pixels(paint[kind](), MODEL_PSF_SIGMA)
    if rng.random() < 1 / 3:
        return image
    share = rng.uniform(0.0, 0.4)
    bulge = sersic_profile(
        rng.choice([1.0, 4.0]), rng.uniform(0.15, 0.4) * size, axis_ratio + (1 - axis_ratio) / 2, angle
    )
    return (1 - share) * image + share * draw_profile(bulge, box, center, MODEL_PSF_SIGMA)


def draw_companion(rng: np.random.Generator, along: float, half_light_radius: float) -> galsim.GSObject:
    """Return a smaller exponential disk of flux 1, 0.8 to 2 half-light radii from a galaxy: one detection with it.

    ``along`` is the half-light radius of the galaxy along its major axis, ``half_light_radius`` the circularized one.
    """
    distance, towards = along * rng.uniform(0.8, 2.0), rng.uniform(0, 2 * np.pi)
    disk = sersic_profile(
        1.0, half_light_radius * rng.uniform(0.4, 0.9), draw_axis_ratio(rng), rng.uniform(0, np.pi)
    )
    return disk.shift(distance * np.cos(towards), distance * np.sin(towards))


def simulate_galaxy(
    rng: np.random.Generator,
    box: int,
    size_box: int | float | None = None,
    kind: str | None = None,
    companions: float = 0.0,
) -> Float[np.ndarray, "y x"]:
    """Return one galaxy as the model grid sees it: a positive image with its peak near 1.

    Kinds and their shares are in ``KINDS``; the center is uniform within half a pixel of the middle of the box, the
    model PSF a Gaussian of ``MODEL_PSF_SIGMA`` pixels. The peak is log-normal about 1 with sigma 0.1, so that no
    prior learns to pin it.

    Parameters
    ----------
    rng
        Advanced by a number of draws that depends on the galaxy.
    box
        Side of the image, pixels.
    size_box
        The box that sets the size of the galaxy, ``box`` by default. A larger image of the same population is
        ``simulate_galaxy(rng, 96, size_box=64)``.
    kind
        One of ``KINDS``; drawn with their shares by default.
    companions
        The share of galaxies with 15 to 45 % of their light in a companion (`draw_companion`). To I = 25 about 40 %
        are irregular or merging (Abraham et al. 1996, MNRAS 279, L47).

    Raises
    ------
    ConfigError
        If the box has fewer than 3 pixels a side or the kind is unknown.
    """
    if box < 3:
        raise ConfigError(f"box is {box} pixels; a galaxy needs a box of at least 3 pixels a side.")
    if kind is None:
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind not in KINDS:
        raise ConfigError(f"galaxy kind {kind!r} is unknown; choose one of {', '.join(KINDS)}.")
    size = draw_half_light_radius(rng, box if size_box is None else size_box)
    axis_ratio = draw_axis_ratio(rng)
    center = tuple(rng.uniform(-0.5, 0.5, 2))
    angle = rng.uniform(0, np.pi)
    match kind:
        case "exponential":
            profile = sersic_profile(1.0, size, axis_ratio, angle)
        case "de_vaucouleurs":
            profile = sersic_profile(4.0, size, axis_ratio, angle)
        case "sersic":
            profile = sersic_profile(draw_sersic_index(rng), size, axis_ratio, angle)
        case "bulge_disk":
            profile = bulge_disk_profile(rng, size, axis_ratio, angle)
        case _:
            profile = None
    if profile is None:
        image = draw_painted(rng, kind, box, center, size, axis_ratio)
    else:
        image = draw_profile(profile, box, center, MODEL_PSF_SIGMA)
    if companions > 0 and rng.random() < companions:
        share = rng.uniform(0.15, 0.45)
        companion = draw_companion(rng, size / np.sqrt(axis_ratio), size)
        beside = draw_profile(companion, box, center, MODEL_PSF_SIGMA)
        image = (1 - share) * image / image.sum() + share * beside
    image = np.maximum(image, 0)  # FFT ringing, a few 1e-5 of the peak
    return (np.exp(0.1 * rng.normal()) * image / image.max()).astype(np.float32)


def simulate_in_ring_box(rng: np.random.Generator, box: int) -> Float[np.ndarray, "y x"]:
    """Return a galaxy of :func:`simulate_galaxy` in a box as `initialize_scene` lays it (:func:`draw_ring_error`)."""
    return simulate_galaxy(rng, box, size_box=box * draw_ring_error(rng))


def simulate_ztf_like(rng: np.random.Generator, box: int) -> Float[np.ndarray, "y x"]:
    """Return an exponential (n = 1) or de Vaucouleurs (n = 4) galaxy, as often one as the other.

    The mock ZTF set of Sampson et al. 2024, section 3.1, has these two profiles, with radius, axis ratio, angle and
    shift of the hosts of 1,626 active nuclei (Ward et al. 2023). Their distributions are not published with it; here
    radii are log-normal, of median 0.09 boxes and sigma 0.4, and axis ratios uniform in 0.4 to 1.
    """
    index = 1.0 if rng.random() < 0.5 else 4.0
    size = 0.09 * box * np.exp(0.4 * rng.normal())
    profile = sersic_profile(index, size, rng.uniform(0.4, 1.0), rng.uniform(0, np.pi))
    image = np.maximum(draw_profile(profile, box, tuple(rng.uniform(-0.5, 0.5, 2)), MODEL_PSF_SIGMA), 0)
    return (np.exp(0.1 * rng.normal()) * image / image.max()).astype(np.float32)


def simulate_galaxies(
    seed: int, box: int, n: int, size_box: int | float | None = None, progress: bool = False
) -> Float[np.ndarray, "n y x"]:
    """Return ``n`` galaxies of :func:`simulate_galaxy`; the same seed, box and ``size_box`` give the same galaxies.

    Each galaxy has its own stream, so the first galaxies of a longer run are those of a shorter one.
    """
    streams = np.random.SeedSequence([seed, box]).spawn(n)
    bar = tqdm(streams, desc=f"galaxies of {box} pixels", disable=not progress)
    return np.stack([simulate_galaxy(np.random.default_rng(stream), box, size_box) for stream in bar])
