"""Models of one observation from good starts and from bad ones, as figure 7 of Sampson et al. (2024).

    scoresample bench blends -o gallery/ --scenes 4 --method oracle
    python -m benchmarks.starts gallery/scenes/scene_00003.npz starts.png

A row for each of our MAP and the constrained fit, from their own start, from spectra 20 times too bright, from spectra
that are the same in all bands, and from Gaussian images: data, model, and residuals in units of the noise, summed over
bands. The median error of a flux, relative to the truth, is beside it, and printed.
"""

import argparse
import pathlib

import jax
import matplotlib.pyplot as plt
import numpy as np

from scoresample.data.readers import read_observation
from scoresample.numerics.files import replacing
from scoresample.products.blends import METHODS, installed
from scoresample.products.blends_methods import START_VARIANTS
from scoresample.products.blends_scene import measure, read_truth
from scoresample.products.colour import ColourScale
from scoresample.products.photometry import ObjectImages
from scoresample.products.pipeline_settings import RunSettings

NAMES = {
    "": "own start",
    "bright": "spectra 20 times\ntoo bright",
    "flat": "flat spectra",
    "blobs": "Gaussian images",
}
LARGEST = 6.0
"""Residual, in units of the noise, at the ends of the colours."""


def main() -> None:
    """Fit, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scene", type=pathlib.Path)
    parser.add_argument("picture", type=pathlib.Path)
    args = parser.parse_args()
    observation, truth = read_observation(args.scene), read_truth(args.scene)
    data, weight = (np.asarray(a, float) for a in (observation.images, observation.inverse_variance))
    methods = installed(("map", "constrained"))
    rows = [(method, variant) for variant in ("", *START_VARIANTS) for method in methods]
    figure, axes = plt.subplots(len(rows), 3, figsize=(8, 2.6 * len(rows)), layout="constrained")
    for panels, (method, variant) in zip(axes, rows, strict=True):
        found = METHODS[method].run(args.scene, truth, RunSettings(), jax.random.key(0), variant)
        label = f"{method}:{variant}" if variant else method
        estimate = found.estimates[label]
        error = np.median([abs(one["flux_error"]) for one in measure(estimate, truth)])
        model = estimate.images.sum(axis=0)
        sky = np.sum(weight * (data - model), axis=(1, 2)) / np.sum(weight, axis=(1, 2))
        colour = ColourScale(weight, ObjectImages(truth.images, sky))
        residual = np.sum((data - model - sky[:, None, None]) * np.sqrt(weight), axis=0) / np.sqrt(len(data))
        panels[0].imshow(colour.with_sky(data), origin="lower")
        panels[1].imshow(colour(model), origin="lower")
        panels[2].imshow(residual, origin="lower", cmap="RdBu_r", vmin=-LARGEST, vmax=LARGEST)
        panels[0].set_ylabel(f"{method}\n{NAMES[variant]}\nflux error {error:.3f}", fontsize=8)
        chi2 = float(np.mean((data - model - sky[:, None, None]) ** 2 * weight))
        print(
            f"{label}: {found.status}, median flux error {error:.4f}, chi2 per pixel {chi2:.3f}", flush=True
        )
    for axis, title in zip(axes[0], ("data", "model", "residual"), strict=True):
        axis.set_title(title)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    plt.close(figure)
    with replacing(args.picture) as temporary:
        figure.savefig(temporary, dpi=90)


if __name__ == "__main__":
    main()
