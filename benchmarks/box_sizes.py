"""How far boxes misjudge the sizes of galaxies: radius over what the box says, in scenes of the gallery.

``python -m benchmarks.box_sizes --scenes 40`` prints the table of docs/gallery.md, in a minute.
"""

import argparse
import warnings

import galsim
import numpy as np
import pandas as pd
from tqdm import tqdm

import scoresample as ss
from scoresample.models.initialization import BOX_SIZES, COMPACT_BOX
from scoresample.training.galaxies import RADIUS_OF_BOX
from scoresample.training.gallery import Gallery, draw_sources, simulate_blend
from scoresample.training.population import Source

BOXES = {"from 9 on": BOX_SIZES, "from 17 on": tuple(n for n in BOX_SIZES if n >= COMPACT_BOX)}
BINS = ((20, 23), (23, 24.5), (24.5, 26), (26, 27), (20, 27))
SIDE, STEP, BLUR = (
    200,
    0.2,
    0.1,
)  # of the image that radii are measured on: its pixels, theirs, what hides points


def half_light_radius(source: Source) -> float:
    """Return the radius about the centroid of all parts that holds half of the light, pixels."""
    blur = galsim.Gaussian(sigma=BLUR)
    parts = (share * galsim.Convolve(profile, blur).withFlux(1.0) for share, _, profile in source.parts)
    image = sum(part.drawImage(nx=SIDE, ny=SIDE, scale=STEP).array for part in parts)
    y, x = np.indices((SIDE, SIDE))
    center = [np.sum(image * axis) / np.sum(image) for axis in (y, x)]
    radius = np.hypot(y - center[0], x - center[1]).ravel()
    order = np.argsort(radius)
    inside = np.cumsum(image.ravel()[order]) / np.sum(image)
    return STEP * float(np.interp(0.5, inside, radius[order]))


def measure(gallery: Gallery, number: int) -> list[dict]:
    """Return a row for each galaxy and kind of boxes: magnitude, and ln of its radius over what the box says."""
    arrays = simulate_blend(gallery, number)
    images, weights, psfs, bands = (arrays[name] for name in ("images", "weights", "psfs", "bands"))
    observation = ss.make_observation(images, weights, psfs, list(bands))
    catalog = ss.make_catalog(arrays["centers"], is_star=arrays["is_star"])
    sources = draw_sources(np.random.default_rng([gallery.seed, number]), gallery)
    rows = []
    for name, sizes in BOXES.items():
        scene = ss.initialize_scene(observation, catalog, box_sizes=sizes)
        box = {}
        for source in scene.sources:  # of one with a core, the first is the outer
            box.setdefault(source.object_name, source.shape[0])
        for index, source in enumerate(sources):
            if not source.is_star:
                off = np.log(half_light_radius(source) / (RADIUS_OF_BOX * box[f"galaxy_{index}"]))
                rows.append({"boxes": name, "magnitude": source.magnitude_i, "off": off})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=40)
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ss.ScoresampleWarning)
        rows = pd.DataFrame([row for n in tqdm(range(options.scenes)) for row in measure(Gallery(), n)])
    print("| boxes | i | galaxies | mean | scatter | 16 % | 50 % | 84 % |\n|---|---|---|---|---|---|---|---|")
    for name, some in rows.groupby("boxes", sort=False):
        for low, high in BINS:
            off = some["off"][(some["magnitude"] > low) & (some["magnitude"] <= high)]
            cells = [f"{value:+.2f}" for value in (off.mean(), *np.percentile(off, [16, 50, 84]))]
            cells.insert(1, f"{off.std():.2f}")
            print(f"| {name} | {low:g} to {high:g} | {len(off)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
