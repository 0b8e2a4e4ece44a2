"""What a flat prior on fluxes says about sizes: one galaxy of unknown radius, in closed form.

Exponential galaxies alone in six bands, with radii from the prior of `profile` and fluxes whose logarithms are uniform;
the posterior of radius and flux on a grid of radii, fluxes integrated out, when these are flat

- ``amplitude``: in what multiplies S, the image of peak 1;
- ``flux``: in the total;
- ``error``: in units of the error of the flux, as in a `Posterior`;
- ``brightness``: not flat, but normal about a brightness of the galaxy that is log-uniform, as simulated: the control.

``python benchmarks/flat_fluxes.py``
"""

import argparse

import numpy as np
import scipy.special

from scoresample.models.morphology import sersic_transform
from scoresample.models.profile_shape import RADIUS, RADIUS_SCATTER
from scoresample.models.psf import GaussianPSF

SIDE, BANDS = 48, 6
PSF_SIGMA, MODEL_SIGMA = 1.5, 0.7
COLOUR = 0.5
"""Scatter of the flux of a band, relative to the brightness of its galaxy."""

SIGNAL_TO_NOISE = (5.0, 60.0)
"""Of a point of that brightness, all bands together."""

RADII = np.geomspace(0.15, 12, 90)
BRIGHTNESSES = 80
BINS = ((0, 10), (10, 20), (20, 60))
PRIORS = ("amplitude", "flux", "error", "brightness")


def templates(sigma: float) -> np.ndarray:
    """Return images of unit flux of all radii, (radius, pixel), as a PSF shows them."""
    shape = (SIDE, SIDE)
    narrow = np.asarray(GaussianPSF(sigma).transform(shape))
    spectra = np.stack([sersic_transform(shape, float(r), 1.0, (0.0, 0.0)) for r in RADII])
    images = np.fft.fftshift(np.fft.irfft2(spectra * narrow, s=shape), axes=(1, 2))
    return images.reshape(len(RADII), -1)


def posterior(
    best: np.ndarray, known: np.ndarray, peak: np.ndarray, prior: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return weights, means and standard deviations of a mixture of normals for the flux in the first band, and radii.

    ``best`` are the best fluxes, (band, radius), ``known`` their inverse variances by radius; ``peak`` the largest
    pixel of S of unit flux.
    """
    log_radius = np.log(RADII / RADIUS) / RADIUS_SCATTER
    log_weight = -0.5 * log_radius**2 + 0.5 * known * np.sum(best**2, axis=0)
    if prior != "brightness":
        volume = {
            "amplitude": 0.5 * np.log(peak**2 / known),
            "flux": -0.5 * np.log(known),
            "error": 0 * known,
        }
        log_weight = log_weight + BANDS * volume[prior]
        return _normalized(log_weight), best[0], known**-0.5, RADII
    brightness = np.geomspace(*SIGNAL_TO_NOISE, BRIGHTNESSES)[:, None] / signal_of_point(known)
    variance = (COLOUR * brightness) ** 2
    total = variance + 1 / known
    off = best[:, None] - brightness
    log_weight = -0.5 * log_radius**2 + np.sum(
        0.5 * known * best[:, None] ** 2 - 0.5 * off**2 / total - 0.5 * np.log(total * known), axis=0
    )
    mean = brightness + variance / total * off[0]
    return (
        _normalized(log_weight).ravel(),
        mean.ravel(),
        np.sqrt(variance / known / total).ravel(),
        np.broadcast_to(RADII, log_weight.shape).ravel(),
    )


def study(num: int, seed: int) -> dict[str, np.ndarray]:
    """Return for each prior (galaxy, quantity), and the signal-to-noise of galaxies.

    Quantities are the pull of the flux, the probability below its truth, and errors: of the flux relative to the
    brightness, and of ln radius.
    """
    rng = np.random.default_rng(seed)
    seen, peak = templates(PSF_SIGMA), templates(MODEL_SIGMA).max(axis=1)
    known = np.sum(seen**2, axis=1)  # the noise of a pixel is 1
    rows = {prior: [] for prior in PRIORS}
    signal = []
    for _ in range(num):
        radius = RADIUS * np.exp(RADIUS_SCATTER * rng.normal())
        which = np.argmin(abs(np.log(RADII / radius)))
        brightness = np.exp(rng.uniform(*np.log(SIGNAL_TO_NOISE))) / signal_of_point(known)
        flux = brightness * (1 + COLOUR * rng.normal(size=BANDS))
        data = flux[:, None] * seen[which] + rng.normal(size=(BANDS, seen.shape[1]))
        best = data @ seen.T / known
        signal.append(np.sqrt(known[which] * np.sum(flux**2)))
        for prior in PRIORS:
            weight, mean, sd, radii = posterior(best, known, peak, prior)
            center = weight @ mean
            off = center - flux[0]
            spread = np.sqrt(weight @ (sd**2 + (mean - center) ** 2))
            below = weight @ scipy.special.ndtr((flux[0] - mean) / sd)
            log_radius = weight @ np.log(radii) - np.log(RADII[which])
            rows[prior].append((off / spread, below, off / brightness, log_radius))
    return {"signal_to_noise": np.array(signal)} | {name: np.array(found) for name, found in rows.items()}


def signal_of_point(known: np.ndarray) -> float:
    """Return the signal-to-noise of a point of unit flux in every band; the smallest galaxy is one."""
    return np.sqrt(BANDS * known[0])


def _normalized(log_weight: np.ndarray) -> np.ndarray:
    weight = np.exp(log_weight - log_weight.max())
    return weight / weight.sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--galaxies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = study(options.galaxies, options.seed)
    columns = (
        "S/N | flat in | galaxies | ln radius off by | flux off by | pulls, mean | rms | 68 % hold | 95 %"
    )
    print(f"| {columns} |\n|{'---|' * 9}")
    for low, high in BINS:
        inside = (found["signal_to_noise"] >= low) & (found["signal_to_noise"] < high)
        for prior in PRIORS:
            pull, below, off, log_radius = found[prior][inside].T
            hold = [np.mean(abs(below - 0.5) < 0.5 * part) for part in (0.68, 0.95)]
            print(
                f"| {low} to {high} | {prior} | {inside.sum()} | {log_radius.mean():+.2f} | {off.mean():+.3f} "
                f"| {pull.mean():+.2f} | {np.sqrt(np.mean(pull**2)):.2f} | {hold[0]:.2f} | {hold[1]:.2f} |"
            )


if __name__ == "__main__":
    main()
