"""What scores and modes say of a half-masked scene, of faint galaxies, and of blends.

python benchmarks/hallucination.py hallucination.png                       the shipped scene, five minutes
python benchmarks/hallucination.py hallucination.png --scene hsc_cosmos_35.npz     the first part alone

1. A scene as it is, and with the right half of its brightest galaxy's box masked: MAP, score and modes of both. That
   galaxy goes to FIGURE, full and half masked, as in figure 12 of Sampson et al. (2024); printed are the AUC of the
   score for pixels of the box without data in any band, and for the same number of pixels chosen at random. With
   ``--store`` the numbers go to benchmarks/hallucination.json, by scene and prior.
2. One galaxy with the same noise at several fluxes, and beside a neighbour at several distances: gamma and the number
   of modes that data decide, at the MAP.
"""

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import scipy.stats

from scoresample.data.catalog import Catalog
from scoresample.data.demo import load_demo
from scoresample.data.observation import Observation, make_observation
from scoresample.data.readers import read_catalog, read_observation
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.hallucination import hallucination_score
from scoresample.diagnostics.modes import data_modes
from scoresample.models.initialization import gaussian_morphology, initialize_scene
from scoresample.models.load import load_prior, prior_hash
from scoresample.models.priors import AbstractLogPrior
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source
from scoresample.numerics.files import replacing
from scoresample.products.archive import save_report
from scoresample.products.hallucination_plots import HEIGHT, WIDTH, plot_hallucination
from scoresample.samplers.optimize import find_map

FLUXES = (100.0, 300.0, 1000.0, 3000.0)
DISTANCES = (10.0, 6.0, 4.0, 2.0)
SIDE = 15
STORED = Path(__file__).with_suffix(".json")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("figure", type=Path)
    parser.add_argument("--scene", type=Path)
    parser.add_argument("--prior", default="log-gaussian")
    parser.add_argument("--store", action="store_true")
    arguments = parser.parse_args()
    path = arguments.scene
    observation, catalog = load_demo() if path is None else (read_observation(path), read_catalog(path))
    prior = load_prior(arguments.prior)
    found = {"half_masked": half_masked(observation, catalog, prior, arguments.figure)}
    if path is None:
        found["trends"] = trends(prior)
    if arguments.store:
        stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
        scene = "shipped" if path is None else path.stem
        stored.setdefault(scene, {})[arguments.prior] = found | {"prior_hash": prior_hash(arguments.prior)}
        save_report(STORED, stored)


def half_masked(
    observation: Observation, catalog: Catalog, prior: AbstractLogPrior, path: Path
) -> dict[str, dict[str, float]]:
    """Draw and print scores of the brightest galaxy, full and half masked, and return their numbers."""
    scene = initialize_scene(observation, catalog, prior=prior)
    images = [
        k for k, source in enumerate(scene.sources) if source.parameters.keys() & {f"{source.name}.image"}
    ]
    brightest = scene.sources[max(images, key=lambda k: float(scene.flux[k].sum()))]
    weights = np.array(observation.inverse_variance)
    column = int(brightest.origin[1]) + brightest.shape[1] // 2 + 1
    weights[:, :, column : int(brightest.origin[1]) + brightest.shape[1]] = 0
    frame = observation.frame
    masked = make_observation(
        observation.images,
        weights,
        observation.psfs,
        frame.bands,
        flux_unit=frame.flux_unit,
        name="half masked",
    )
    scenes = {"full": (scene, observation), "half masked": (Scene(masked.frame, *_parts(scene)), masked)}
    figure = plt.figure(figsize=(WIDTH, len(scenes) * (HEIGHT + 0.4)), layout="constrained")
    numbers = {}
    for part, (what, given) in zip(figure.subfigures(len(scenes), 1), scenes.items(), strict=True):
        posterior = Posterior(*given, image=prior)
        best = find_map(posterior, progress=False)
        hall = hallucination_score(jax.random.key(0), posterior, best)
        part.suptitle(what, fontsize=10)
        plot_hallucination(posterior, best, hall, names=[brightest.name], figure=part)
        modes = data_modes(jax.random.key(1), posterior, best, names=[brightest.name])[brightest.name]
        numbers[what] = {
            "pixels": hall.difference[brightest.name].size,
            "gamma": hall.confidence[brightest.object_name],
            "light_from_data": hall.light_from_data[brightest.object_name],
            "modes_decided": modes.num_decided,
            "modes_decided_error": modes.num_decided_error,
        }
        if what == "half masked":
            numbers[what] |= separation(hall, brightest, np.asarray(masked.inverse_variance), modes)
        print(
            what, brightest.name, *(f"{name} {value:.4g}" for name, value in numbers[what].items()), sep=", "
        )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    return numbers


def _parts(scene: Scene):
    return scene.sources, scene.background, scene.model_psf


def separation(hall, source, weights, modes) -> dict[str, float]:
    """Return how well the score tells pixels without data in the box, and where the most open patterns are."""
    y, x = (o + np.arange(n) for o, n in zip(np.asarray(source.origin), source.shape, strict=True))
    inside = ((y >= 0) & (y < weights.shape[1]))[:, None] & (x >= 0) & (x < weights.shape[2])
    clipped = np.ix_(np.clip(y, 0, weights.shape[1] - 1), np.clip(x, 0, weights.shape[2] - 1))
    dark = (weights == 0).all(axis=0)[clipped]
    shuffled = np.random.default_rng(0).permutation(dark[inside])
    numbers = {}
    for what, image in (("score", hall.difference), ("data_share", hall.data_share)):
        score = image[source.name][inside] * (1 if what == "score" else -1)
        numbers[f"auc_of_{what}"] = auc(score, dark[inside])
        numbers[f"auc_of_{what}_shuffled"] = auc(score, shuffled)
    power = np.sum(modes.open_patterns**2, axis=0)
    return numbers | {"masked": dark.mean(), "open_power_masked": power[dark].sum() / power.sum()}


def auc(scores, dark) -> float:
    ranks = scipy.stats.rankdata(scores)[dark]
    return (ranks.sum() - ranks.size * (ranks.size + 1) / 2) / (ranks.size * np.sum(~dark))


def trends(prior: AbstractLogPrior) -> list[dict[str, float | None]]:
    """Print and return grades of one galaxy at several fluxes, and beside a neighbour."""
    rows = []
    for flux, distance in [*((f, None) for f in FLUXES), *((FLUXES[-1], d) for d in DISTANCES)]:
        rows.append({"flux": flux, "distance": distance} | _grades(galaxies(prior, flux, distance)))
        print(
            *(f"{name} {'-' if value is None else f'{value:.4g}'}" for name, value in rows[-1].items()),
            sep=", ",
        )
    return rows


def galaxies(prior: AbstractLogPrior, flux: float, distance: float | None) -> Posterior:
    """Return a galaxy of 15 x 15 pixels in two bands with noise of 1 per pixel, alone or beside its like."""
    shape, rng, spectrum = (24, 32), np.random.default_rng(0), np.array([0.6, 1.0])
    centers = [np.array([11.0, 9.0]), *([] if distance is None else [np.array([11.0, 9.0 + distance])])]
    light = sum(_spot(shape, center, 2.3) for center in centers)
    images = flux * spectrum[:, None, None] * light + rng.normal(size=(2, *shape))
    psf = _spot((9, 9), np.array([4.0, 4.0]), 1.2)
    observation = make_observation(images, np.ones(images.shape), [psf / psf.sum()] * 2, ["g", "r"])
    sources = tuple(
        make_source(f"galaxy_{k}", gaussian_morphology(SIDE, 2.0), center, flux * spectrum)
        for k, center in enumerate(centers)
    )
    scene = Scene(observation.frame, sources, jnp.zeros(2), GaussianPSF(0.7))
    return Posterior(scene, observation, image=prior)


def _spot(shape, center, sigma):
    y, x = np.indices(shape)
    return np.exp(-((y - center[0]) ** 2 + (x - center[1]) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def _grades(posterior: Posterior) -> dict[str, float]:
    best = find_map(posterior, progress=False)
    hall = hallucination_score(jax.random.key(0), posterior, best)
    modes = data_modes(jax.random.key(1), posterior, best, names=["galaxy_0"])["galaxy_0"]
    return {
        "gamma": hall.confidence["galaxy_0"],
        "light_from_data": hall.light_from_data["galaxy_0"],
        "likelihood": np.sum(hall.likelihood["galaxy_0"]),
        "modes_decided": modes.num_decided,
        "modes_decided_error": modes.num_decided_error,
    }


if __name__ == "__main__":
    main()
