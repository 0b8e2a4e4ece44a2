"""A scene of the gallery and what methods make of it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import norm

from scoresample.diagnostics.blend_measures import correlation, flux_error
from scoresample.diagnostics.coverage import crps, pit
from scoresample.errors import FileFormatError, one_line
from scoresample.products.photometry import blendedness, peak_offset


class Truth(NamedTuple):
    """What is true of a scene, beside its file: fluxes and images inside the frame, after convolution."""

    flux: Float[np.ndarray, "object band"]
    images: Float[np.ndarray, "object band y x"]
    centers: Float[np.ndarray, "object 2"]
    magnitude: Float[np.ndarray, " object"]
    kind: np.ndarray
    known_star: Bool[np.ndarray, " object"]


class Estimate(NamedTuple):
    """What a method says of every object: fluxes and images inside the frame, and errors where it has them.

    Attributes
    ----------
    flux, images
        In the order of the catalog.
    sd
        Standard deviation of each flux.
    pit, crps, crps_expected
        See `diagnostics.coverage`.
    """

    flux: Float[np.ndarray, "object band"]
    images: Float[np.ndarray, "object band y x"]
    sd: Float[np.ndarray, "object band"] | None = None
    pit: Float[np.ndarray, "object band"] | None = None
    crps: Float[np.ndarray, "object band"] | None = None
    crps_expected: Float[np.ndarray, "object band"] | None = None


class Found(NamedTuple):
    """What a method returns: how it ended, its estimates by name, and what is to be noted besides."""

    status: str
    estimates: dict[str, Estimate]
    notes: Mapping[str, Any] = MappingProxyType({})


def read_truth(path: Path) -> Truth:
    """Return the truth of a scene file of the gallery; raises `FileFormatError` for another file."""
    names = ("true_flux", "true_images", "true_centers", "magnitude_i", "kind", "is_star")
    try:
        with np.load(path) as arrays:
            found = [arrays[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise FileFormatError(
            f"{path.name} is no scene of a gallery ({one_line(error)[:80]}); delete it, and it is made again."
        ) from None
    flux, images, centers, magnitude, kind, stars = found
    return Truth(flux, images.astype(float), centers, magnitude, kind, stars)


def from_draws(
    flux: Float[np.ndarray, "draw object band"],
    images: Float[np.ndarray, "object band y x"],
    truth: Truth,
    uniform: np.random.Generator,
) -> Estimate:
    """Return the posterior mean, and how the truth stands among the draws; ``uniform`` makes ranks even."""
    shape = truth.flux.shape
    ranks, scores, expected = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for at in np.ndindex(shape):
        values = flux[(slice(None), *at)]
        ranks[at] = pit(truth.flux[at], values, uniform)
        scores[at], expected[at] = crps(truth.flux[at], values)
    return Estimate(flux.mean(axis=0), images, flux.std(axis=0, ddof=1), ranks, scores, expected)


def from_normal(
    flux: Float[np.ndarray, "object band"],
    sd: Float[np.ndarray, "object band"],
    images: Float[np.ndarray, "object band y x"],
    truth: Truth,
) -> Estimate:
    """Return fluxes that have normal errors, and how the truth stands among them (Gneiting & Raftery 2007, eq. 5)."""
    z = (truth.flux - flux) / sd
    expected = sd / np.sqrt(np.pi)
    score = sd * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z)) - expected
    return Estimate(flux, images, sd, norm.cdf(z), score, expected)


def measure(estimate: Estimate, truth: Truth) -> list[dict[str, Any]]:
    """Return a row for each object: what it is, and how far the estimate is from it."""
    columns = {
        "kind": truth.kind,
        "known_star": truth.known_star,
        "magnitude": truth.magnitude,
        "blendedness": blendedness(truth.images),
        "flux_error": flux_error(estimate.flux, truth.flux),
        "morphology": correlation(estimate.images.sum(axis=1), truth.images.sum(axis=1)),
        "spectrum": correlation(estimate.flux, truth.flux),
        "peak_offset": peak_offset(estimate.images, truth.centers),
        "truth": truth.flux,
        "flux": estimate.flux,
    }
    for name in ("sd", "pit", "crps", "crps_expected"):
        if getattr(estimate, name) is not None:
            columns[name] = getattr(estimate, name)
    return [
        {"object": k} | {name: values[k] for name, values in columns.items()} for k in range(len(truth.flux))
    ]
