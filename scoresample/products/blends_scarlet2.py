"""scarlet2 on a scene of the gallery, as its introduction sets it up; an optional guest."""

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from scoresample.data.observation import Observation
from scoresample.errors import ConfigError
from scoresample.models.first_light import sky_level
from scoresample.products.blends_scene import Estimate, Found, Truth
from scoresample.products.pipeline_problem import read_scene
from scoresample.products.pipeline_settings import RunSettings

MAX_STEPS, TOLERANCE = 200, 1e-4
_SPECTRUM_STEP, _IMAGE_STEP = 0.05, 0.1
_SMALLEST = 1e-6


def run_scarlet2(
    path: Path, truth: Truth, settings: RunSettings, key: PRNGKeyArray, variant: str = ""
) -> Found:
    """Fit spectra that are positive and images between 0 and 1, from Gaussian moments, by at most 200 steps of Adam.

    Without a prior on images: its networks are not part of the package. The clipped median of every band is taken off
    before, since scarlet2 has no background.

    Raises
    ------
    ConfigError
        If ``scarlet2`` is not installed.
    """
    scarlet2 = _scarlet2()
    observation, catalog = read_scene(path, settings)
    scarlet2.set_validation(False)  # it prints to stdout
    seen = _without_sky(scarlet2, observation)
    frame = scarlet2.Frame.from_observations(seen)
    constraints = scarlet2.constraint.constraints
    with scarlet2.Scene(frame) as scene:
        for center, star in zip(np.asarray(catalog.centers, np.float32), catalog.is_star, strict=True):
            if star:
                spectrum = scarlet2.init.pixel_spectrum(seen, center, correct_psf=True)
                scarlet2.PointSource(center, _positive(spectrum))
            else:
                spectrum, image = _first_guess(scarlet2, seen, center)
                scarlet2.Source(center, _positive(spectrum), image)
    with scarlet2.Parameters(scene):
        for k, (source, star) in enumerate(zip(scene.sources, catalog.is_star, strict=True)):
            step = partial(scarlet2.relative_step, factor=_SPECTRUM_STEP)
            scarlet2.Parameter(
                source.spectrum, name=f"spectrum_{k}", constraint=constraints.positive, stepsize=step
            )
            if not star:
                scarlet2.Parameter(
                    source.morphology,
                    name=f"image_{k}",
                    constraint=constraints.unit_interval,
                    stepsize=_IMAGE_STEP,
                )
    fitted = scene.fit(seen, max_iter=MAX_STEPS, e_rel=TOLERANCE, progress_bar=False)
    images = np.stack([np.asarray(seen.render(fitted.evaluate_source(s)), float) for s in fitted.sources])
    return Found("done", {"scarlet2": Estimate(images.sum(axis=(2, 3)), images)})


def _first_guess(scarlet2, seen, center: Float[np.ndarray, "2"]):
    """Return spectrum and image from moments, or, where noise leaves none, those of a point."""
    try:
        return scarlet2.init.from_gaussian_moments(seen, center)
    except ValueError:
        spectrum = scarlet2.init.pixel_spectrum(seen, center, correct_psf=True)
        return spectrum, scarlet2.init.compact_morphology()


def _without_sky(scarlet2, observation: Observation):
    data, weights = np.asarray(observation.images, float), np.asarray(observation.inverse_variance, float)
    sky = np.array([sky_level(image, weight) for image, weight in zip(data, weights, strict=True)])
    return scarlet2.Observation(
        data - sky[:, None, None],
        weights,
        psf=scarlet2.ArrayPSF(np.asarray(observation.psfs)),
        channels=list(observation.frame.bands),
    )


def _positive(spectrum) -> Float[np.ndarray, " band"]:
    spectrum = np.asarray(spectrum, np.float32)
    return np.maximum(spectrum, _SMALLEST + 1e-3 * np.abs(spectrum).max())


def _scarlet2():
    try:
        import scarlet2  # ty: ignore
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"method 'scarlet2' needs {error.name}; run pip install scarlet2, or leave the method out."
        ) from None
    return scarlet2
