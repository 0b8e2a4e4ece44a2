"""Simulate the scene that ``scoresample demo`` works on, with its truth.

``python -m scoresample.training.demo_scene`` writes ``scoresample/resources/demo_scene.npz``.
"""

import argparse
import dataclasses
import pathlib

import galsim
import numpy as np
from astropy.wcs import WCS
from jaxtyping import Float

from scoresample.training import painted
from scoresample.training.galaxies import sersic_profile

BANDS = "ugrizy"
SHAPE = (40, 40)
PSF_SIZE = 19
PIXEL = 0.2  # arcsec, as Rubin's camera
ZEROPOINT = 31.4  # AB magnitude of 1 nJy
# Seeing (arcsec), point-source depth (5 sigma, AB) and sky brightness (mag per square arcsec): the sky of the
# survey design in Ivezic et al. (2019), ApJ 873, 111, coadds 0.3 to 0.5 mag short of its ten-year depth.
SEEING = (0.85, 0.80, 0.75, 0.72, 0.70, 0.68)
DEPTH = (25.6, 26.9, 27.0, 26.4, 25.7, 24.6)
SKY = (22.9, 22.2, 21.2, 20.5, 19.6, 18.6)
SKY_RESIDUAL = (0.12, -0.10, 0.20, 0.25, 0.15, 0.30)  # in units of the sky noise of a pixel

OLD = (0.06, 0.26, 0.68, 1.0, 1.25, 1.38)  # flux per band over that in i
DISK = (0.18, 0.44, 0.78, 1.0, 1.13, 1.20)
BLUE = (0.48, 0.74, 0.90, 1.0, 1.04, 1.05)
COOL_STAR = (0.02, 0.12, 0.42, 1.0, 1.45, 1.70)


@dataclasses.dataclass(frozen=True)
class Source:
    """One source: where it is (y, x in pixels), how bright, its parts, and in a word what it is.

    ``parts`` are (share of the i-band light, flux per band over that in i, profile of flux 1 in pixels).
    """

    center: tuple[float, float]
    magnitude_i: float
    parts: tuple[tuple[float, tuple[float, ...], galsim.GSObject], ...]
    is_star: bool = False
    kind: str = ""

    def profile(self, band: int) -> galsim.GSObject:
        """Return the source in one band, in nJy and pixels, before the PSF."""
        flux = 10 ** (0.4 * (ZEROPOINT - self.magnitude_i))
        parts = [share * flux * spectrum[band] * profile for share, spectrum, profile in self.parts]
        return parts[0] if len(parts) == 1 else galsim.Sum(parts)


def disturbed_profile(
    seed: int, half_light_radius: float, axis_ratio: float, angle: float
) -> galsim.GSObject:
    """Return a painted disturbed galaxy of flux 1 as a profile, in pixels."""
    radius, azimuth = painted.disk_coordinates(48, (0.0, 0.0), axis_ratio, angle)
    fine = painted.paint_disturbed(np.random.default_rng(seed), radius, azimuth, half_light_radius)
    image = galsim.Image(fine / fine.sum(), scale=1 / painted.OVERSAMPLING)
    return galsim.InterpolatedImage(image, normalization="flux")


def make_sources() -> list[Source]:
    """Return four galaxies that overlap and a cool star."""
    point = galsim.DeltaFunction()
    disk, bulge = sersic_profile(1.0, 1.5, 0.6, 0.6), sersic_profile(4.0, 0.7, 0.85, 0.6)
    return [
        Source((19.3, 18.6), 23.0, ((0.85, DISK, disk), (0.15, OLD, bulge))),
        Source((25.1, 24.4), 23.4, ((1.0, OLD, sersic_profile(2.0, 1.3, 0.8, 1.2)),)),
        Source((11.6, 22.9), 23.3, ((1.0, BLUE, disturbed_profile(5, 1.7, 0.7, 0.3)),)),
        Source((26.4, 13.3), 24.2, ((1.0, BLUE, sersic_profile(1.0, 1.6, 0.6, 2.6)),)),
        Source((11.2, 13.1), 22.8, ((1.0, COOL_STAR, point),), is_star=True),
    ]


def make_psf(band: int) -> galsim.GSObject:
    """Return a Moffat PSF (beta 3.5) of flux 1, in pixels, slightly elliptical, cut so that its stamp holds it."""
    fwhm = SEEING[band] / PIXEL
    return galsim.Moffat(beta=3.5, fwhm=fwhm, trunc=PSF_SIZE / 2 - 1.2).shear(
        g1=0.012, g2=-0.006 + 0.003 * band
    )


def pixel_noise(band: int, psf: Float[np.ndarray, "y x"]) -> float:
    """Return the sky noise of a pixel, nJy: depth over 5 is the error of a point source fitted with the PSF."""
    return 10 ** (0.4 * (ZEROPOINT - DEPTH[band])) / 5 * np.sqrt(np.sum(psf**2))


def make_wcs() -> str:
    """Return a TAN header, as a string, for a field near the Chandra Deep Field South; north is up."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [53.125, -27.806]
    wcs.wcs.crpix = [(SHAPE[1] + 1) / 2, (SHAPE[0] + 1) / 2]
    wcs.wcs.cdelt = [-PIXEL / 3600, PIXEL / 3600]
    wcs.wcs.cunit = ["deg", "deg"]
    return wcs.to_header_string().rstrip()


def simulate_scene(seed: int) -> dict[str, np.ndarray]:
    """Return the arrays of the scene file: images, weights, PSFs and detections, and the truth beside them.

    Images are in nJy per pixel; pixel (0, 0) has its center at (0, 0). The noise is Gaussian with the variance of
    sky and sources together, which is exactly 1 / ``weights``. ``true_flux`` (source, band) is what falls inside
    the image after convolution, ``true_background`` (band) the constant left in each band; ``centers`` are detections
    with errors of 0.1 pixel, ``true_centers`` are not.
    """
    rng = np.random.default_rng(seed)
    sources = make_sources()
    images, weights, psfs, fluxes, backgrounds = [], [], [], [], []
    for band in range(len(BANDS)):
        psf = make_psf(band)
        stamp = psf.drawImage(
            nx=PSF_SIZE, ny=PSF_SIZE, scale=1.0, dtype=np.float64
        ).array  # includes the pixel
        stamp /= stamp.sum()
        noise_free = np.stack([draw_source(source, band, psf) for source in sources])
        sigma = pixel_noise(band, stamp)
        sky = 10 ** (0.4 * (ZEROPOINT - SKY[band])) * PIXEL**2
        variance = sigma**2 * (1 + noise_free.sum(0) / sky)  # Poisson noise of the sky sets the gain
        background = SKY_RESIDUAL[band] * sigma
        noise = np.sqrt(variance) * rng.normal(size=SHAPE)
        images.append(noise_free.sum(0) + background + noise)
        weights.append(1 / variance)
        psfs.append(stamp)
        fluxes.append(noise_free.sum((1, 2)))
        backgrounds.append(background)
    centers = np.array([source.center for source in sources])
    return {
        "images": np.asarray(images, np.float32),
        "weights": np.asarray(weights, np.float32),
        "psfs": np.asarray(psfs, np.float32),
        "bands": np.array(list(BANDS)),
        "centers": centers + 0.1 * rng.normal(size=centers.shape),
        "is_star": np.array([source.is_star for source in sources]),
        "flux_unit": np.array("nJy"),
        "wcs": np.array(make_wcs()),
        "true_flux": np.asarray(fluxes).T,
        "true_background": np.asarray(backgrounds),
        "true_centers": centers,
    }


def draw_source(source: Source, band: int, psf: galsim.GSObject) -> Float[np.ndarray, "y x"]:
    """Return one source in one band without noise, nJy per pixel, convolved with PSF and pixel."""
    middle = (np.array(SHAPE) - 1) / 2
    offset = (source.center[1] - middle[1], source.center[0] - middle[0])
    convolved = galsim.Convolve(source.profile(band), psf)
    return convolved.drawImage(nx=SHAPE[1], ny=SHAPE[0], scale=1.0, offset=offset, dtype=np.float64).array


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    here = pathlib.Path(__file__).resolve().parent.parent / "resources" / "demo_scene.npz"
    parser = argparse.ArgumentParser(prog="python -m scoresample.training.demo_scene", description=__doc__)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--output", type=pathlib.Path, default=here)
    options = parser.parse_args(arguments)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.output, **simulate_scene(options.seed))


if __name__ == "__main__":
    main()
