"""Whether PSFs can be those of the images: stars tell when they are in another order, or of other images."""

import warnings

import numpy as np
import scipy.optimize
from jaxtyping import Bool, Complex, Float, Int

from scoresample.data.catalog import Catalog
from scoresample.data.observation import Observation
from scoresample.errors import ScoresampleWarning
from scoresample.models.psf import GaussianPSF, psf_transforms
from scoresample.numerics.fft import fast_shape, wave_numbers

RADIUS = 4  # pixels around a star that are compared; beyond are its neighbours
NUM_STEPS = 6  # Gauss-Newton steps to the star's position
LEAST_GAIN = 50.0
LEAST_SHARE = 0.25
"""Falls of chi-square worth a word: larger than both, the second as a share of its excess over degrees of freedom."""

MOST_IN_A_PIXEL = 0.5
"""Of the light of a PSF. A Gaussian whose full width at half maximum is a pixel has 0.58, one of two pixels 0.20."""


def warn_of_psfs(observation: Observation, catalog: Catalog) -> None:
    """Warn with a `ScoresampleWarning` where stars say that the PSFs are in another order, or too narrow.

    And where one has most of its light in one pixel, whether there are stars or not.
    """
    bands, name = observation.frame.bands, f"{observation.name}: " if observation.name else ""
    needles = [bands[b] for b in np.flatnonzero(needle_psfs(np.asarray(observation.psfs)))]
    if needles:
        warnings.warn(
            f"{name}the PSF of {', '.join(needles)} has most of its light in one pixel. If the images are not as "
            "sharp, errors are too small and wings of one object go to another: give the PSFs of these images.",
            ScoresampleWarning,
            stacklevel=3,
        )
    wide = wide_stars(observation, catalog)
    order = (
        likely_psf_order(observation, catalog) if len(wide) == 0 else None
    )  # no order mends PSFs too narrow
    if order is not None:
        warnings.warn(
            f"{name}the stars fit the PSFs of other bands much better: the PSFs look like those of "
            f"{', '.join(order)}, but stand for {', '.join(bands)}. Bring them into the order of the images, or "
            f"read the file with psf_bands={order!r} (--psf-bands {','.join(order)}).",
            ScoresampleWarning,
            stacklevel=3,
        )
    if len(wide):
        named = ", ".join(str(catalog.object_id[index]) for index in wide)
        warnings.warn(
            f"{name}sources {named} are called stars but are wider than the PSFs: give the PSFs of these images, "
            "or take them for galaxies (is_star=False, --no-stars).",
            ScoresampleWarning,
            stacklevel=3,
        )


def needle_psfs(psfs: Float[np.ndarray, "band y x"]) -> Bool[np.ndarray, " band"]:
    """Return which PSFs have more than half of their light in one pixel: hardly a camera samples so coarsely."""
    return psfs.max(axis=(1, 2)) > MOST_IN_A_PIXEL * psfs.sum(axis=(1, 2))


def likely_psf_order(observation: Observation, catalog: Catalog) -> tuple[str, ...] | None:
    r"""Return the bands that the PSFs seem to belong to, in their order; None where they seem to be right.

    Every star is fitted in every band with every PSF, with flux, position and a plane of background free. Of all ways
    to hand each band one PSF, that with the smallest sum of chi-squares is taken, if it is smaller than that of the
    given order by 50, and by a quarter of what the given order has beyond its degrees of freedom.
    """
    bands = observation.frame.bands
    stars = np.flatnonzero(catalog.is_star)
    if len(stars) == 0 or len(bands) == 1:
        return None
    stamps = [_Stamp(observation, catalog.centers[star]) for star in stars]
    total = sum(stamp.misfit(stamp.transforms) for stamp in stamps)
    band, psf = scipy.optimize.linear_sum_assignment(total)
    given, best = np.trace(total), total[band, psf].sum()
    if not _is_much_better(given, best, sum(stamp.degrees for stamp in stamps)):
        return None
    return tuple(bands[b] for b in np.argsort(psf))


def wide_stars(observation: Observation, catalog: Catalog) -> Int[np.ndarray, " star"]:
    """Return which sources are called stars and fit much better with every PSF blurred by a pixel."""
    found = []
    for star in np.flatnonzero(catalog.is_star):
        stamp = _Stamp(observation, catalog.centers[star])
        blurred = stamp.transforms * GaussianPSF(1.0).transform(stamp.grid)
        given, best = stamp.own_misfit(stamp.transforms), stamp.own_misfit(blurred)
        if _is_much_better(given, best, stamp.degrees):
            found.append(star)
    return np.asarray(found, int)


def _is_much_better(given: float, best: float, degrees: int) -> bool:
    return bool(given - best > max(LEAST_GAIN, LEAST_SHARE * (given - degrees)))


class _Stamp:
    """The pixels around a star, and the PSFs on a grid that holds both.

    Attributes
    ----------
    degrees
        Pixels with data less the six numbers that are fitted, over all bands.
    """

    def __init__(self, observation: Observation, center: Float[np.ndarray, "2"]):
        psfs = np.asarray(observation.psfs)
        corner = np.round(center).astype(int) - RADIUS
        low = np.maximum(corner, 0)
        high = np.minimum(corner + 2 * RADIUS + 1, observation.images.shape[1:])
        cut = (slice(None), slice(low[0], high[0]), slice(low[1], high[1]))
        self.images = np.asarray(observation.images, float)[cut]
        self.weights = np.asarray(observation.inverse_variance, float)[cut]
        self.center = np.asarray(center) - low
        size = self.images.shape[1:]
        self.grid = fast_shape(tuple(n + p for n, p in zip(size, psfs.shape[1:], strict=True)))
        self.transforms = psf_transforms(psfs, self.grid)
        self.degrees = sum(max(int((w > 0).sum()) - 6, 0) for w in self.weights)

    def misfit(self, transforms: Complex[np.ndarray, "psf y x"]) -> Float[np.ndarray, "band psf"]:
        """Return chi-square of a point source near the center, for every band with every PSF."""
        return np.array(
            [
                [self._chi2(image, np.sqrt(weight), transform) for transform in transforms]
                for image, weight in zip(self.images, self.weights, strict=True)
            ]
        )

    def own_misfit(self, transforms: Complex[np.ndarray, "band y x"]) -> float:
        """Return chi-square summed over bands, each with its own PSF: the trace of `misfit`, at less cost."""
        each = zip(self.images, np.sqrt(self.weights), transforms, strict=True)
        return sum(self._chi2(image, root, transform) for image, root, transform in each)

    def _chi2(self, image, root, transform) -> float:
        size = image.shape
        k_y, k_x = wave_numbers(self.grid)
        y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij")
        at, target, smallest = self.center, (image * root).ravel(), np.inf
        for _ in range(NUM_STEPS):
            moved = transform * np.exp(-1j * (k_y * at[0] + k_x * at[1]))
            point, down, right = (
                np.fft.irfft2(t, s=self.grid)[: size[0], : size[1]]
                for t in (moved, -1j * k_y * moved, -1j * k_x * moved)
            )
            design = (np.stack([point, np.ones(size), y, x, down, right]) * root).reshape(6, -1).T
            here = np.linalg.lstsq(design[:, :4], target, rcond=None)[0]
            smallest = min(smallest, float(np.sum((target - design[:, :4] @ here) ** 2)))
            step = np.linalg.lstsq(design, target, rcond=None)[0]
            if not step[0] > 0:
                break
            at = at + np.clip(step[4:] / step[0], -0.5, 0.5)
        return smallest
