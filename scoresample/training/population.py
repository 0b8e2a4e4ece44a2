"""Stars and galaxies as a deep survey finds them: magnitudes, types, redshifts, colours, sizes and shapes."""

import functools
from typing import NamedTuple

import galsim
import numpy as np

from scoresample.training.demo_scene import PIXEL, Source
from scoresample.training.galaxies import draw_axis_ratio, draw_companion, sersic_profile

SLOPE = 0.31
"""Of the counts, log10 N(<i) = 0.31 i + const: LSST Science Book (2009), arXiv:0912.0201, eq. 3.7."""

BRIGHTEST, FAINTEST, GOLD = 20.0, 27.0, 25.3
"""Limits in i. ``GOLD`` is that of the sample for cosmology, LSST Science Book, section 3.7.2."""

STARS, STARS_KNOWN_TO = 0.12, 24.0
"""The share of stars, more than at high latitude, so that there are some to measure; and down to which i the catalog
knows them from galaxies. Fainter ones are detections like any other. Both are our choice."""


class GalaxyType(NamedTuple):
    """Redshifts of one spectral type, and the template of its colours.

    Benitez (2000), ApJ 536, 571, table 1, for galaxies of the Hubble Deep Field North with I > 20: of type T are
    :math:`f e^{-k (I - 20)}`, and their redshifts have the density
    :math:`z^a \\exp[-(z/z_m)^a]`, :math:`z_m = z_0 + k_m (I - 20)`.
    """

    template: str
    a: float
    z_0: float
    k_m: float


EARLY = GalaxyType("E", 2.465, 0.431, 0.0913)
SPIRAL_EARLY, SPIRAL_LATE = (GalaxyType(name, 1.806, 0.390, 0.0636) for name in ("Sbc", "Scd"))
IRREGULAR = GalaxyType("Im", 0.906, 0.0626, 0.123)
MAX_REDSHIFT = 4.0  # where the templates still cover u

# Log counts of stars at high latitude are nearly flat in magnitude, and colours are those of black bodies.
COOLEST, HOTTEST = 3200.0, 7000.0  # K


def draw_magnitude(rng: np.random.Generator, faintest: float = FAINTEST) -> float:
    """Return a magnitude in i from the counts of galaxies, between ``BRIGHTEST`` and ``faintest``."""
    share = rng.uniform(10 ** (SLOPE * (BRIGHTEST - faintest)), 1)
    return float(faintest + np.log10(share) / SLOPE)


def draw_type(rng: np.random.Generator, magnitude: float) -> tuple[GalaxyType, float]:
    """Return the spectral type and the redshift of a galaxy of some magnitude."""
    early, spiral = (f * np.exp(-k * (magnitude - 20)) for f, k in ((0.35, 0.450), (0.50, 0.147)))
    at = rng.random()
    if at < early:
        kind = EARLY
    elif at < early + spiral:
        kind = (SPIRAL_EARLY, SPIRAL_LATE)[rng.integers(2)]
    else:
        kind = IRREGULAR
    middle = kind.z_0 + kind.k_m * (magnitude - 20)
    redshift = np.inf
    while redshift > MAX_REDSHIFT:  # (z / z_m)**a has a gamma distribution
        redshift = middle * rng.gamma((kind.a + 1) / kind.a) ** (1 / kind.a)
    return kind, float(redshift)


def draw_radius(rng: np.random.Generator, magnitude: float, spheroid: bool) -> float:
    r"""Return a half-light radius along the major axis, pixels.

    The median of ln(r/arcsec) is -1.145 - 0.269 (i - 23) for the scale length of disks and -1.320 - 0.278 (i - 23) for
    the half-light radius of spheroids; about it :math:`p(r) \propto r \exp[-(r/a)^{4/3}]`.

    References
    ----------
    Miller et al. (2013), MNRAS 429, 2858, appendix B1, from fits to Hubble images by Simard et al. (2002). Their
    relation ends at i = 25.5, and is continued here.
    """
    intercept, slope, to_half_light = (-1.320, 0.278, 1.0) if spheroid else (-1.145, 0.269, 1.6783)
    median = np.exp(intercept - slope * (magnitude - 23)) * to_half_light / PIXEL
    return float(median / 1.134 * rng.gamma(1.5) ** 0.75)  # 1.134 is the median of r/a


@functools.cache
def _bandpass(band: str) -> galsim.Bandpass:
    return galsim.Bandpass(f"LSST_{band}.dat", wave_type="nm").withZeropoint("AB")


@functools.cache
def _template(name: str) -> galsim.SED:
    return galsim.SED(f"CWW_{name}_ext.sed", wave_type="Ang", flux_type="flambda")


def _over_i(spectrum: galsim.SED, bands: str) -> tuple[float, ...]:
    flux = [10 ** (-0.4 * spectrum.calculateMagnitude(_bandpass(band))) for band in (*bands, "i")]
    return tuple(max(value / flux[-1], 1e-4) for value in flux[:-1])


def galaxy_colours(template: str, redshift: float, bands: str) -> tuple[float, ...]:
    """Return flux per band over that in i: templates of Coleman, Wu & Weedman (1980), ApJS 43, 393, as in GalSim."""
    return _over_i(_template(template).atRedshift(redshift), bands)


def star_colours(temperature: float, bands: str) -> tuple[float, ...]:
    """Return flux per band over that in i of a black body; temperature in K."""
    planck = lambda nm: nm**-5 / np.expm1(1.438777e7 / (nm * temperature))
    return _over_i(galsim.SED(planck, wave_type="nm", flux_type="flambda"), bands)


def draw_star(rng: np.random.Generator, center: tuple[float, float], faintest: float, bands: str) -> Source:
    """Return a star; the number of stars of any magnitude is the same."""
    magnitude = rng.uniform(BRIGHTEST, faintest)
    colours = star_colours(np.exp(rng.uniform(np.log(COOLEST), np.log(HOTTEST))), bands)
    return Source(center, magnitude, ((1.0, colours, galsim.DeltaFunction()),), is_star=True, kind="star")


def draw_galaxy(
    rng: np.random.Generator,
    center: tuple[float, float],
    faintest: float,
    bands: str,
    gradients: bool = False,
) -> Source:
    """Return a galaxy.

    Early types are Sersic profiles with n uniform in 2 to 5; spirals have a disk and a bulge (n = 4, 5 to 40 % of the
    light, 0.1 to 0.5 of the size). Of the irregular type half are plain disks, and half have what none of the galaxies
    has that the shipped priors were trained on: 30 to 80 % of the light in 4 to 20 points, or a companion within one
    radius or two, which a fifth of those of `profile` has. The share of irregular and merging galaxies to I = 25 was
    found to be about 40 % by Abraham et al. (1996), MNRAS 279, L47; here it is a third.

    Parameters
    ----------
    rng
        Advanced.
    center
        (y, x), pixels.
    faintest
        Limit in i.
    bands
        Names; i is that of the magnitude, whether among them or not.
    gradients
        Whether bulges have the colours of early types, so that no image is right in all bands.
    """
    magnitude = draw_magnitude(rng, faintest)
    kind, redshift = draw_type(rng, magnitude)
    colours = galaxy_colours(kind.template, redshift, bands)
    axis_ratio, angle = draw_axis_ratio(rng), rng.uniform(0, np.pi)
    along = draw_radius(rng, magnitude, kind is EARLY)
    size = along * np.sqrt(axis_ratio)  # circularized
    disk = sersic_profile(1.0, size, axis_ratio, angle)
    if kind is EARLY:
        index = float(np.round(rng.uniform(2, 5), 1))  # GalSim builds a table for every index
        return Source(
            center, magnitude, ((1.0, colours, sersic_profile(index, size, axis_ratio, angle)),), kind="early"
        )
    if kind is not IRREGULAR:
        share = rng.uniform(0.05, 0.4)
        bulge = sersic_profile(4.0, rng.uniform(0.1, 0.5) * size, (1 + axis_ratio) / 2, angle)
        central = galaxy_colours("E", redshift, bands) if gradients else colours
        return Source(center, magnitude, ((1 - share, colours, disk), (share, central, bulge)), kind="spiral")
    if rng.random() < 0.5:
        return Source(center, magnitude, ((1.0, colours, disk),), kind="disk")
    if rng.random() < 0.5:
        points = galsim.RandomKnots(
            int(rng.integers(4, 21)), profile=disk, rng=galsim.BaseDeviate(int(rng.integers(1, 2**31)))
        )
        share = rng.uniform(0.3, 0.8)
        return Source(center, magnitude, ((1 - share, colours, disk), (share, colours, points)), kind="knots")
    companion = draw_companion(rng, along, size)
    share = rng.uniform(0.15, 0.45)
    return Source(center, magnitude, ((1 - share, colours, disk), (share, colours, companion)), kind="merger")
