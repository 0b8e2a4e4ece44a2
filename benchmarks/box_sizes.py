"""How far boxes misjudge the sizes of galaxies: radius over what the box says, in scenes of the gallery.

``python -m benchmarks.box_sizes --scenes 80`` prints the table of docs/gallery.md, in three minutes. The scenes are of
another seed than those that the gallery measures: the tables of ``log-gaussian`` are made with what is found here.
"""

import argparse
import warnings

import galsim
import numpy as np
import pandas as pd
from tqdm import tqdm

import scoresample as ss
from benchmarks.gallery import markdown
from scoresample.diagnostics.blend_report import BINS
from scoresample.diagnostics.calibration_groups import in_bins
from scoresample.models.initialization import boxes_from
from scoresample.training.galaxies import RADIUS_OF_BOX
from scoresample.training.gallery import Gallery, draw_sources, simulate_blend
from scoresample.training.population import Source

BOXES = {f"from {least} on": boxes_from(least) for least in (9, 17)}
SIDE, STEP = 200, 0.2
"""Of the image that radii are measured on: its pixels, and theirs."""

BLUR = galsim.Gaussian(sigma=0.1)
"""What spreads points over more than one of them."""


def half_light_radius(source: Source) -> float:
    """Return the radius about the centroid of all parts that holds half of the light, pixels."""
    whole = galsim.Convolve(galsim.Sum([share * part.withFlux(1.0) for share, _, part in source.parts]), BLUR)
    image = whole.shift(-whole.centroid).drawImage(nx=SIDE, ny=SIDE, scale=STEP)
    return float(image.calculateHLR())


def measure(gallery: Gallery, number: int) -> list[dict]:
    """Return a row for each galaxy and kind of boxes: magnitude, and ln of its radius over what the box says."""
    arrays = simulate_blend(gallery, number)
    images, weights, psfs, bands = (arrays[name] for name in ("images", "weights", "psfs", "bands"))
    observation = ss.make_observation(images, weights, psfs, list(bands))
    catalog = ss.make_catalog(arrays["centers"], is_star=arrays["is_star"])
    sources = draw_sources(np.random.default_rng([gallery.seed, number]), gallery)
    radii = {k: half_light_radius(source) for k, source in enumerate(sources) if not source.is_star}
    rows = []
    for name, sizes in BOXES.items():
        scene = ss.initialize_scene(observation, catalog, box_sizes=sizes)
        box = {}
        for source in scene.sources:  # of one with a core, the first is the outer
            box.setdefault(source.object_name, source.shape[0])
        for index, radius in radii.items():
            off = np.log(radius / (RADIUS_OF_BOX * box[f"galaxy_{index}"]))
            rows.append({"boxes": name, "magnitude": sources[index].magnitude_i, "off": off})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=80)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    gallery = Gallery(seed=options.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ss.ScoresampleWarning)
        rows = pd.DataFrame([row for n in tqdm(range(options.scenes)) for row in measure(gallery, n)])
    found = []
    for name, some in rows.groupby("boxes", sort=False):
        for group, inside in in_bins(some, {"i": BINS["i"]}):
            off = some["off"][inside]
            low, middle, high = np.percentile(off, [16, 50, 84])
            found.append({
                "boxes": name, "galaxies of": group, "number": len(off), "mean": f"{off.mean():+.2f}",
                "scatter": f"{off.std():.2f}", "16 %": f"{low:+.2f}", "50 %": f"{middle:+.2f}", "84 %": f"{high:+.2f}",
            })  # fmt: skip
    print(markdown(pd.DataFrame(found)))


if __name__ == "__main__":
    main()
