"""Fluxes of MAPs by what boxes and first images come from: rings around detections, or a fit of all profiles.

``python benchmarks/first_light.py --scenes 16`` prints the table of docs/gallery.md; forty seconds for each scene.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import scoresample as ss
from scoresample.diagnostics.blend_measures import correlation, flux_error
from scoresample.models.initialization import boxes_from, initialize_scene
from scoresample.products.blends_scene import read_truth
from scoresample.products.photometry import object_images
from scoresample.products.pipeline_problem import read_scene
from scoresample.products.pipeline_settings import RunSettings
from scoresample.training.gallery import Gallery, write_gallery_scene

FROM_17 = boxes_from(17)
VARIANTS = {
    "rings": {},
    "rings from 17": {"box_sizes": FROM_17},
    "profiles": {"sizes": "profiles"},
    "profiles from 17": {"sizes": "profiles", "box_sizes": FROM_17},
}
BINS = ((20, 23), (23, 24.5), (24.5, 26), (26, 27))


def measure(path: Path, variant: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return flux errors (eq. 14 of Sampson et al. 2024), correlations of morphology, and pixels of the boxes."""
    truth = read_truth(path)
    observation, catalog = read_scene(path, RunSettings())
    scene = initialize_scene(observation, catalog, **VARIANTS[variant])
    posterior = ss.Posterior(scene, observation)
    images = np.asarray(object_images(posterior, ss.find_map(posterior, progress=False).position).objects)
    pixels = np.array([np.prod(source.shape) for source in scene.sources])
    error = flux_error(images.sum(axis=(2, 3)), truth.flux)
    return np.asarray(error), np.asarray(correlation(images.sum(axis=1), truth.images.sum(axis=1))), pixels


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args()
    found, magnitudes, mergers = {variant: [] for variant in options.variant}, [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.npz"
        for number in range(options.scenes):
            write_gallery_scene(path, Gallery(seed=options.seed), number)
            truth = read_truth(path)
            magnitudes.extend(truth.magnitude)
            mergers.extend(truth.kind == "merger")
            for variant in options.variant:
                found[variant].append(measure(path, variant))
                print(number, variant, np.round(found[variant][-1][0], 2), flush=True)
    magnitude, merger = np.array(magnitudes), np.array(mergers)
    print(f"{len(magnitude)} sources; medians of absolute flux errors:")
    for variant, rows in found.items():
        error, alike, pixels = (np.concatenate(column) for column in zip(*rows, strict=True))
        error = abs(error)
        bins = [np.median(error[(magnitude > low) & (magnitude <= high)]) for low, high in BINS]
        print(
            f"{variant:16s} all {np.median(error):.3f}  no mergers {np.median(error[~merger]):.3f}  "
            + "  ".join(
                f"i {low:g}-{high:g}: {value:.3f}" for (low, high), value in zip(BINS, bins, strict=True)
            )
            + f"  morphology {np.median(alike):.4f}  half of its light or more amiss: {np.sum(error > 0.5)}"
            + f"  pixels of all boxes: {pixels.sum()}"
        )


if __name__ == "__main__":
    main()
