"""Sizes, shapes and fluxes of all sources of a scene at once, from a fit of simple profiles."""

from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.optimize
from jaxtyping import Bool, Float

from scoresample.models.morphology import sersic_transform
from scoresample.models.psf import GaussianPSF, psf_transforms
from scoresample.numerics.fft import fast_shape, shift_phases

RADII = 0.4 * 1.3 ** np.arange(14)
"""Half-light radii that are tried, pixels: 0.4 to 12."""

INDICES = (1.0, 4.0)
ELLIPTICITIES = ((0.0, 0.0), *((0.4 * np.cos(a), 0.4 * np.sin(a)) for a in np.pi * np.arange(4) / 2))
"""Round, and axis ratios of 0.43 at four angles."""

USUAL_RADIUS, SCATTER = 1.3, 0.7
"""Median, pixels, and scatter of the logarithm, of the half-light radii that are expected before anything is seen."""

MODEL_ERROR = 0.1
"""How far off a profile is, as a share of the light it puts on a pixel. What a bright galaxy leaves must not pass for
the light of its faint neighbours."""

REACH = 64
"""Farthest that a source is looked at, pixels."""

SPHEROIDS_ARE_RARER = 2.0
"""By which a de Vaucouleurs profile must raise the log-likelihood above an exponential one to be preferred."""

NUM_SWEEPS = 4


class Profile(NamedTuple):
    """A source as the fit sees it.

    Attributes
    ----------
    half_light_radius
        Geometric mean of the semi-axes, pixels, as the mean of its logarithm over all that fit; 0 for a star.
    sersic_index
        1 or 4.
    ellipticity
        (e1, e2), positive e1 along x; axis ratio (1 - e) / (1 + e).
    flux
        In every band, not negative.
    signal_to_noise
        Of the whole, if it were alone, all bands together.
    """

    half_light_radius: float
    sersic_index: float
    ellipticity: tuple[float, float]
    flux: Float[np.ndarray, " band"]
    signal_to_noise: float


def fit_profiles(
    images: Float[np.ndarray, "band y x"],
    weights: Float[np.ndarray, "band y x"],
    psfs: Float[np.ndarray, "band h w"],
    centers: Float[np.ndarray, "source 2"],
    is_star: Bool[np.ndarray, " source"],
) -> list[Profile]:
    r"""Fit exponential and de Vaucouleurs profiles to all galaxies, and points to all stars.

    One galaxy after the other is given the profile t, out of a grid, that makes most of

    .. math:: \sum_b \frac{\max(0,\; t_b^T W_b y_b - t_b^T W_b O_b\, \hat f_b)^2}
              {2\, (t_b^T W_b t_b - t_b^T W_b O_b (O_b^T W_b O_b)^{-1} O_b^T W_b t_b)}
              - \frac{\log^2 (r / r_0)}{2 s^2}

    less 2 for de Vaucouleurs profiles, with the fluxes of the other sources O, and a constant, solved for at once; four
    times over, from round exponential profiles of the usual size. W is the inverse of noise variance and
    ``MODEL_ERROR`` together.

    Parameters
    ----------
    images
        0 where there is no data.
    weights
        Inverse variances.
    psfs
        Of every band.
    centers
        (y, x).
    is_star
        Which are points.
    """
    fit = _Fit(images, weights, psfs, centers, is_star)
    for _ in range(NUM_SWEEPS):
        for source in range(len(centers)):
            fit.choose(source)
        fit.solve_fluxes()
    return [fit.profile(source) for source in range(len(centers))]


def profile_image(profile: Profile, box: int, model_psf: GaussianPSF) -> Float[np.ndarray, "y x"]:
    """Return a profile in the middle of a square box, as the model PSF shows it, of peak 1."""
    grid = fast_shape((2 * box, 2 * box))
    radius = max(profile.half_light_radius, float(RADII[0]))
    spectrum = sersic_transform(grid, radius, profile.sersic_index, profile.ellipticity)
    phase_y, phase_x = shift_phases(grid, ((box - 1) / 2, (box - 1) / 2))
    spectrum = spectrum * np.asarray(model_psf.transform(grid)) * phase_y * phase_x
    image = np.fft.irfft2(spectrum, s=grid)[:box, :box]
    return np.maximum(image / image.max(), 0)


class _Candidates(NamedTuple):
    """A grid of profiles."""

    radius: Float[np.ndarray, " candidate"]
    index: Float[np.ndarray, " candidate"]
    ellipticity: Float[np.ndarray, "candidate 2"]

    def usual(self) -> int:
        """Return which is round, exponential and of the usual size."""
        unlike = abs(np.log(self.radius / USUAL_RADIUS)) + self.index + np.hypot(*self.ellipticity.T)
        return int(np.argmin(unlike))

    def transforms(self, shape: tuple[int, int]) -> Float[np.ndarray, "candidate y x"]:
        """Return the Fourier transforms of the profiles, of unit flux."""
        rows = zip(self.radius, self.index, self.ellipticity, strict=True)
        spectra = [sersic_transform(shape, float(r), float(n), tuple(map(float, e))) for r, n, e in rows]
        return np.stack(spectra).astype(np.float32)


def _grid() -> _Candidates:
    rows = [(r, n, e) for n in INDICES for r in RADII for e in ELLIPTICITIES]
    radius, index, ellipticity = zip(*rows, strict=True)
    return _Candidates(np.array(radius), np.array(index), np.array(ellipticity))


class _Fit:
    """The state of a fit: what every source is taken for, and its fluxes."""

    def __init__(self, images, weights, psfs, centers, is_star):
        self.images, self.noise_weights = images.astype(np.float32), weights.astype(np.float32)
        self.centers, self.is_star = centers, is_star
        self.candidates = _grid()
        unusual = np.log(self.candidates.radius / USUAL_RADIUS) / SCATTER
        self.log_prior = -0.5 * unusual**2 - SPHEROIDS_ARE_RARER * (self.candidates.index > INDICES[0])
        bands, *self.shape = images.shape
        self.window = [min(n, 2 * REACH + 1) for n in self.shape]
        self.grid = fast_shape(tuple(n + k for n, k in zip(self.window, psfs.shape[1:], strict=True)))
        self.psfs = psf_transforms(psfs, self.grid).astype(np.complex64)
        self.transforms = self.candidates.transforms(self.grid)
        self.columns = np.zeros((len(centers) + 1, *images.shape), np.float32)  # the last one is the sky
        self.columns[-1] = 1
        self.flux = np.zeros((bands, len(centers) + 1))
        self.log_radius = np.zeros(len(centers))
        self.chosen = np.zeros(len(centers), int)
        self.weights = self.noise_weights
        usual = self.candidates.usual()
        for source in range(len(centers)):
            self.place(source, usual)
        self.solve_fluxes()

    def place(self, source: int, candidate: int) -> None:
        """Give a source a profile, or make it a point where it is a star."""
        transform = self.transforms[candidate]
        if self.is_star[source]:
            transform = np.ones_like(transform)
        where, (template,) = self.draw(source, transform[None])
        self.columns[(source, slice(None), *where)] = template

    def choose(self, source: int) -> None:
        """Give a galaxy the profile that fits best."""
        if self.is_star[source]:
            return
        where, templates = self.draw(source, self.transforms)
        score = self.gain(source, where, templates) + self.log_prior
        share = np.exp(score - score.max())
        self.chosen[source] = np.argmax(score)
        self.log_radius[source] = np.sum(share * np.log(self.candidates.radius)) / share.sum()
        self.columns[(source, slice(None), *where)] = templates[self.chosen[source]]

    def draw(self, source: int, transforms: Float[np.ndarray, "candidate y x"]):
        """Return where a source is looked at, and its profiles there: (candidate, band, y, x)."""
        center = self.centers[source]
        low = [
            int(np.clip(round(c) - REACH, 0, n - w))
            for c, n, w in zip(center, self.shape, self.window, strict=True)
        ]
        where = tuple(slice(a, a + w) for a, w in zip(low, self.window, strict=True))
        phase_y, phase_x = shift_phases(self.grid, (center[0] - low[0], center[1] - low[1]))
        spectra = transforms[:, None] * (self.psfs * (phase_y * phase_x).astype(np.complex64))
        drawn = scipy.fft.irfft2(spectra, s=self.grid, overwrite_x=True)
        return where, drawn[..., : self.window[0], : self.window[1]]

    def gain(self, source: int, where, templates) -> Float[np.ndarray, " candidate"]:
        """Return by how much each profile raises the log-likelihood of the best fluxes of all."""
        total = np.zeros(len(templates))
        for band in range(len(self.images)):
            others = np.append(self.flux[band, :-1] > 0, True)
            others[source] = False
            here = (slice(None), band, *where)
            weighted = self.weights[here[1:]] * templates[:, band]
            columns = self.columns[:, band][others]
            outside = (self.weights[band] * columns).reshape(len(columns), -1)
            inner = (outside @ columns.reshape(len(columns), -1).T).astype(float)
            inner[np.diag_indices_from(inner)] *= 1 + 1e-6  # two detections may share a position
            inner[np.diag_indices_from(inner)] += 1e-30  # and a band may have no data
            known = np.linalg.solve(inner, outside @ self.images[band].ravel())
            cross = np.tensordot(weighted, self.columns[here][others], ((1, 2), (1, 2)))
            size = np.sum(weighted * templates[:, band], axis=(1, 2))
            left = size - np.sum(cross * np.linalg.solve(inner, cross.T).T, axis=1)
            pull = np.sum(weighted * self.images[here[1:]], axis=(1, 2)) - cross @ known
            total += np.maximum(pull, 0) ** 2 / (2 * np.maximum(left, 1e-6 * size + 1e-30))
        return total

    def solve_fluxes(self) -> None:
        """Solve for all fluxes, not negative, and for the sky; then weigh pixels by how well they are known."""
        for band, image in enumerate(self.images):
            flat = np.concatenate([self.columns[:, band], -self.columns[-1:, band]]).reshape(
                len(self.columns) + 1, -1
            )
            root = np.sqrt(self.weights[band]).ravel()
            flux, _ = scipy.optimize.nnls((flat * root).T, image.ravel() * root)
            self.flux[band] = np.append(flux[:-2], flux[-2] - flux[-1])
        light = np.einsum("bk,kbyx->byx", self.flux[:, :-1], self.columns[:-1])
        self.weights = self.noise_weights / (1 + self.noise_weights * (MODEL_ERROR * light) ** 2)

    def profile(self, source: int) -> Profile:
        """Return what was found of a source."""
        flux = self.flux[:, source]
        light = flux[:, None, None] * self.columns[source]
        squared = np.sum(light**2 * self.noise_weights, axis=0)
        total = float(np.sqrt(np.sum(squared)))
        if self.is_star[source]:
            return Profile(0.0, 1.0, (0.0, 0.0), flux, total)
        chosen = self.chosen[source]
        radius, ellipticity = float(np.exp(self.log_radius[source])), self.candidates.ellipticity[chosen]
        return Profile(
            radius, float(self.candidates.index[chosen]), tuple(map(float, ellipticity)), flux, total
        )
