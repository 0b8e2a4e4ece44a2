"""Galaxies with structure that no analytic profile has, painted on a fine grid.

Everything is drawn three times finer than the pixels, blurred by the model PSF and then sampled at the pixel
centers, so that a painted galaxy and a GalSim profile convolved with the same PSF are the same kind of image.
"""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

Fine = Float[np.ndarray, "fine_y fine_x"]

OVERSAMPLING = 3
SCALE_LENGTH = 1 / 1.6783  # of an exponential disk, in half-light radii


def disk_coordinates(
    box: int, center: tuple[float, float], axis_ratio: float, angle: float
) -> tuple[Fine, Fine]:
    r"""Return radius and azimuth in the plane of an inclined disk, on the fine grid.

    .. math:: R^2 = q\,x'^2 + y'^2 / q

    with x' along the major axis, so that a profile in R keeps its area (its circularized radius) for any q.

    Parameters
    ----------
    box
        Side of the image in pixels; the fine grid has ``OVERSAMPLING`` points per pixel.
    center
        (y, x) offset from the middle of the box, pixels.
    axis_ratio
        q, minor over major axis.
    angle
        Of the major axis from x, radians.
    """
    grid = (np.arange(OVERSAMPLING * box) + 0.5) / OVERSAMPLING - box / 2
    y, x = np.meshgrid(grid - center[0], grid - center[1], indexing="ij")
    major = (np.cos(angle) * x + np.sin(angle) * y) * np.sqrt(axis_ratio)
    minor = (-np.sin(angle) * x + np.cos(angle) * y) / np.sqrt(axis_ratio)
    return np.hypot(major, minor), np.arctan2(minor, major)


def to_pixels(fine: Fine, psf_sigma: float) -> Float[np.ndarray, "y x"]:
    """Blur a fine image by the Gaussian model PSF (sigma in pixels), sample it, and give it flux 1."""
    blurred = gaussian_filter(fine, OVERSAMPLING * psf_sigma, mode="nearest", truncate=5.0)
    first = OVERSAMPLING // 2
    image = blurred[first::OVERSAMPLING, first::OVERSAMPLING]
    return image / image.sum()


def paint_arms(rng: np.random.Generator, radius: Fine, azimuth: Fine, size: float) -> Fine:
    r"""Return an exponential disk with logarithmic arms: 2 (60 %), 3 or 4 of them, pitch 10 to 35 degrees.

    .. math:: e^{-R/h} \exp\{c\,\cos[m(\phi - \ln(R/h)/\tan p)]\}

    References
    ----------
    Kennicutt (1981), AJ 86, 1847: pitch angles of 5 to 35 degrees, logarithmic form. The contrast c is our choice.
    """
    scale = SCALE_LENGTH * size
    number = rng.choice([2, 3, 4], p=[0.6, 0.2, 0.2])
    pitch = np.deg2rad(rng.uniform(10, 35))
    hand = rng.choice([-1, 1])
    contrast = rng.uniform(0.3, 1.3) * (1 - np.exp(-((radius / scale) ** 2)))  # no arms in the middle
    winding = hand * np.log(np.maximum(radius / scale, 1e-2)) / np.tan(pitch)
    return np.exp(
        -radius / scale + contrast * np.cos(number * (azimuth - winding) + rng.uniform(0, 2 * np.pi))
    )


def paint_ring(rng: np.random.Generator, radius: Fine, size: float) -> Fine:
    """Return an exponential disk with a ring of radius 1 to 2.2 half-light radii and 15 to 60 % of the light."""
    scale = SCALE_LENGTH * size
    ring_radius, width = rng.uniform(1.0, 2.2) * size, rng.uniform(0.12, 0.35) * size
    disk = np.exp(-radius / scale)
    ring = np.exp(-0.5 * ((radius - ring_radius) / width) ** 2)
    share = rng.uniform(0.15, 0.6)
    return (1 - share) * disk / disk.sum() + share * ring / ring.sum()


def paint_bar(rng: np.random.Generator, radius: Fine, azimuth: Fine, size: float) -> Fine:
    """Return an exponential disk with a flat-topped bar, 0.6 to 1.5 half-light radii long, q 0.2 to 0.5.

    References
    ----------
    Erwin (2005), MNRAS 364, 283: bars reach 0.5 to 2 disk scale lengths. The share of light is our choice.
    """
    along, across = rng.uniform(0.6, 1.5) * size, rng.uniform(0.2, 0.5)
    phase = azimuth - rng.uniform(0, np.pi)
    bar_radius = np.hypot(radius * np.cos(phase), radius * np.sin(phase) / across) / along
    bar, disk = np.exp(-(bar_radius**3)), np.exp(-radius / (SCALE_LENGTH * size))
    share = rng.uniform(0.1, 0.4)
    return (1 - share) * disk / disk.sum() + share * bar / max(bar.sum(), 1e-30)


def paint_disturbed(rng: np.random.Generator, radius: Fine, azimuth: Fine, size: float) -> Fine:
    """Return a lopsided, twisted disk with one or two tidal arcs holding up to 30 % of the light.

    References
    ----------
    Rix & Zaritsky (1995), ApJ 447, 82: a third of disks have m = 1 amplitudes above 0.2. The arcs are our choice.
    """
    lopsided = rng.uniform(0.1, 0.5) * np.tanh(radius / size)
    twist = rng.normal(0, 0.5) * radius / size
    oval = rng.uniform(0, 0.3) * np.cos(2 * (azimuth - twist))
    warped = radius * (1 + oval - lopsided * np.cos(azimuth - rng.uniform(0, 2 * np.pi)) * 0.6)
    image = np.exp(-np.maximum(warped, 0) / (SCALE_LENGTH * size))
    image /= image.sum()
    for _ in range(rng.integers(1, 3)):
        distance, width = rng.uniform(1.0, 2.5) * size, rng.uniform(0.2, 0.5) * size
        delta = np.angle(np.exp(1j * (azimuth - rng.uniform(0, 2 * np.pi))))
        path = distance * (1 + rng.normal(0, 0.3) * delta)
        arc = np.exp(-0.5 * ((radius - path) / width) ** 2 - 0.5 * (delta / rng.uniform(0.3, 1.0)) ** 2)
        image = image + rng.uniform(0.03, 0.15) * arc / max(arc.sum(), 1e-30)
    return image


def paint_knots(
    rng: np.random.Generator,
    radius: Fine,
    size: float,
    center: tuple[float, float],
    axis_ratio: float,
    angle: float,
) -> Fine:
    """Return an exponential disk with 3 to 40 round Gaussian knots that follow its light and hold 10 to 50 % of it.

    Knots in a disk are the usual stand-in for star-forming regions (``galsim.RandomKnots`` draws them as points);
    the number and share are our choice.
    """
    disk = np.exp(-radius / (SCALE_LENGTH * size))
    box = len(disk) // OVERSAMPLING
    grid = (np.arange(len(disk)) + 0.5) / OVERSAMPLING - box / 2
    number = rng.integers(3, 41)
    distance, azimuth = rng.gamma(2.0, SCALE_LENGTH * size, number), rng.uniform(0, 2 * np.pi, number)
    major = distance * np.cos(azimuth) / np.sqrt(axis_ratio)
    minor = distance * np.sin(azimuth) * np.sqrt(axis_ratio)
    x = center[1] + np.cos(angle) * major - np.sin(angle) * minor
    y = center[0] + np.sin(angle) * major + np.cos(angle) * minor
    width = rng.uniform(0.05, 0.2, number) * size + 0.2  # pixels; the fine grid loses anything narrower
    along_y = np.exp(-0.5 * ((grid[:, None] - y) / width) ** 2)
    along_x = np.exp(-0.5 * ((grid[:, None] - x) / width) ** 2)
    knots = (along_y * rng.exponential(size=number) / width**2) @ along_x.T
    share = rng.uniform(0.1, 0.5)
    return (1 - share) * disk / disk.sum() + share * knots / max(knots.sum(), 1e-30)
