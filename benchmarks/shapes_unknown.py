"""What it costs not to know shapes: the least errors of fluxes in the gallery, in closed form.

A method that knows the profile of every galaxy but for its size, ellipticity, position and wings, and how these scatter
in the population, has to find them from the same images as the fluxes. To first order about the truth its errors are
Gaussian, with the covariance

    C = (D^T N^-1 D + P)^-1

D the derivatives of all images by fluxes, backgrounds and what is unknown of each source, N the noise, P the inverse of
the scatter. The oracle is the same with D by fluxes and backgrounds alone. To this order no method that has to
find shapes has smaller errors; those of the gallery do not know profiles either.

    python -m benchmarks.shapes_unknown --scenes 200
"""

import argparse
import dataclasses

import galsim
import numpy as np
import pandas as pd

from benchmarks.gallery import markdown
from scoresample.diagnostics.blend_report import BINS
from scoresample.diagnostics.calibration_groups import by_value, in_bins
from scoresample.products.photometry import blendedness
from scoresample.training.demo_scene import Source
from scoresample.training.gallery import Gallery, draw_source, draw_sources, make_psf, simulate_blend

LOG_SIZE = 0.72
"""Scatter of ln r at known magnitude, where p(r) ~ r exp[-(r/a)^(4/3)] as in the gallery (`population.draw_radius`)."""

ELLIPTICITY = 0.25
"""Of each component, of the axis ratios of the gallery (`galaxies.draw_axis_ratio`)."""

WINGS, WIDER = 0.25, 4.0
"""Of the share of the light that may be in wings of the same shape, so many times as wide. With a quarter of it an
exponential galaxy is as concentrated (80 over 20 % radius) as at a Sersic index of 1.5."""

STEP = 0.01
DRAWS = 200
"""Of the error of each flux, for medians over sources."""

SHAPE, STAR = ("y", "x", "size", "e1", "e2", "wings"), ("y", "x")
UNKNOWN = {
    "oracle": (),
    "position": STAR,
    "and size": SHAPE[:3],
    "and ellipticity": SHAPE[:5],
    "and wings": SHAPE,
}


def changed(profile: galsim.GSObject, what: str, by: float) -> galsim.GSObject:
    """Return a profile with one of its numbers changed."""
    if what == "size":
        return profile.dilate(np.exp(by))
    if what == "wings":
        return (1 - by) * profile + by * profile.dilate(WIDER)
    if what in STAR:
        return profile.shift(0, by) if what == "y" else profile.shift(by, 0)
    return profile.shear(**{what.replace("e", "g"): by})


def slopes(source: Source, band: int, psf: galsim.GSObject, shape: tuple[int, int]) -> list[np.ndarray]:
    """Return the derivatives of the image of a source by what may be unknown of it."""
    found = []
    for what in STAR if source.is_star else SHAPE:
        there = [
            dataclasses.replace(source, parts=tuple((*p[:2], changed(p[2], what, by)) for p in source.parts))
            for by in (STEP, -STEP)
        ]
        more, less = (draw_source(one, band, psf, shape) for one in there)
        found.append((more - less) / (2 * STEP))
    return found


def information(gallery: Gallery, number: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return D^T N^-1 D + P of a scene, the names of what is unknown of sources, and the arrays of its file.

    Fluxes and the background come first, band by band.
    """
    rng = np.random.default_rng([gallery.seed, number])
    sources, arrays = draw_sources(rng, gallery), simulate_blend(gallery, number)
    shape, each = arrays["weights"].shape[1:], len(sources) + 1
    names = np.array([what for source in sources for what in (STAR if source.is_star else SHAPE)])
    scatter = {"size": LOG_SIZE, "wings": WINGS} | dict.fromkeys(STAR, gallery.detection_error)
    known = [scatter.get(what, ELLIPTICITY) ** -2 for what in names]
    total = np.diag([0.0] * (each * len(gallery.bands)) + known)
    for index, band in enumerate(gallery.bands):
        psf = make_psf(band, rng)  # of the seeing of the file's, and of as small an ellipticity
        light = arrays["true_images"][:, index] / arrays["true_flux"][:, index, None, None]
        # At a given flux inside of the image, which is what is asked for.
        by_shape = [
            slope - slope.sum() * own
            for source, own in zip(sources, light, strict=True)
            for slope in slopes(source, index, psf, shape)
        ]
        columns = np.stack([*light, np.ones(shape), *by_shape]).reshape(each + len(names), -1)
        at = np.concatenate([np.arange(each) + index * each, np.arange(len(names)) - len(names)])
        total[np.ix_(at, at)] += columns * arrays["weights"][index].ravel() @ columns.T
    return total, names, arrays


def errors_of_sums(total: np.ndarray, names: np.ndarray, unknown: tuple[str, ...], each: int) -> np.ndarray:
    """Return the standard deviation of each source's flux, summed over bands."""
    first = len(total) - len(names)
    kept = np.concatenate([np.arange(first), first + np.flatnonzero(np.isin(names, unknown))])
    covariance = np.linalg.inv(total[np.ix_(kept, kept)])[:first, :first]
    of_sums = covariance.reshape(first // each, each, first // each, each).sum((0, 2))
    return np.sqrt(np.diag(of_sums)[:-1])


def measure(gallery: Gallery, number: int) -> list[dict]:
    """Return a row for each source: standard errors of its flux, summed over bands and relative to the truth."""
    total, names, arrays = information(gallery, number)
    flux = arrays["true_flux"].sum(1)
    found = {
        label: errors_of_sums(total, names, unknown, len(flux) + 1) / flux
        for label, unknown in UNKNOWN.items()
    }
    found |= {
        "magnitude": arrays["magnitude_i"],
        "blendedness": blendedness(arrays["true_images"]),
        "kind": arrays["kind"],
    }
    return [{name: values[k] for name, values in found.items()} | {"scene": number} for k in range(len(flux))]


def medians(rows: pd.DataFrame, normal: np.ndarray) -> dict[str, str]:
    """Return the median absolute error over sources and draws, and how many times the oracle's it is."""
    found = {label: float(np.median(np.abs(np.outer(rows[label], normal)))) for label in UNKNOWN}
    return {"sources": str(len(rows))} | {
        label: f"{value:.3f}" + (f", {value / found['oracle']:.2f} times" if UNKNOWN[label] else "")
        for label, value in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=200)
    args = parser.parse_args()
    rows = pd.DataFrame([row for k in range(args.scenes) for row in measure(Gallery(), k)])
    normal = np.random.default_rng(0).normal(size=DRAWS)
    groups = in_bins(rows, BINS) + by_value(rows, "kind")
    print(markdown(pd.DataFrame([{"": name} | medians(rows[inside], normal) for name, inside in groups])))


if __name__ == "__main__":
    main()
