"""What scores and modes say of a half-masked scene, of faint galaxies, and of blends.

python benchmarks/hallucination.py hallucination.png                       the shipped scene, five minutes
python benchmarks/hallucination.py hallucination.png --scene hsc_cosmos_35.npz     the first part alone

1. A scene as it is, and with the right half of its brightest galaxy's box masked: MAP, score and modes of both. The
   figures go to FIGURE and, half masked, to FIGURE-masked; printed are the AUC of the score for pixels of the box
   without data in any band, and for the same number of pixels chosen at random.
2. One galaxy with the same noise at several fluxes, and beside a neighbour at several distances: gamma and the number
   of modes that data decide, at the MAP.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
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
from scoresample.models.load import load_prior
from scoresample.models.priors import AbstractLogPrior
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source
from scoresample.products.hallucination_plots import plot_hallucination
from scoresample.samplers.optimize import find_map

FLUXES = (100.0, 300.0, 1000.0, 3000.0)
DISTANCES = (10.0, 6.0, 4.0, 2.0)
SIDE = 15


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("figure", type=Path)
    parser.add_argument("--scene", type=Path)
    parser.add_argument("--prior", default="log-gaussian")
    arguments = parser.parse_args()
    path = arguments.scene
    observation, catalog = load_demo() if path is None else (read_observation(path), read_catalog(path))
    prior = load_prior(arguments.prior)
    half_masked(observation, catalog, prior, arguments.figure)
    if path is None:
        trends(prior)


def half_masked(observation: Observation, catalog: Catalog, prior: AbstractLogPrior, figure: Path) -> None:
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
    for (what, given), path in zip(
        scenes.items(), (figure, figure.with_stem(f"{figure.stem}-masked")), strict=True
    ):
        posterior = Posterior(*given, image=prior)
        best = find_map(posterior, progress=False)
        hall = hallucination_score(jax.random.key(0), posterior, best)
        plot_hallucination(posterior, best, hall, path)
        modes = data_modes(jax.random.key(1), posterior, best, names=[brightest.name])[brightest.name]
        print(f"{what}: {brightest.name} has gamma {hall.confidence[brightest.object_name]:.4g}, "
              f"{modes.num_decided:.1f} +- {modes.num_decided_error:.1f} modes decided of "
              f"{hall.difference[brightest.name].size}, the strongest {modes.strength[0]:.3g}")  # fmt: skip
        if what == "half masked":
            separation(hall, brightest, np.asarray(masked.inverse_variance), modes)


def _parts(scene: Scene):
    return scene.sources, scene.background, scene.model_psf


def separation(hall, source, weights, modes) -> None:
    """Print how well the score tells pixels without data in the box, and where the most open patterns are."""
    y, x = (o + np.arange(n) for o, n in zip(np.asarray(source.origin), source.shape, strict=True))
    inside = ((y >= 0) & (y < weights.shape[1]))[:, None] & (x >= 0) & (x < weights.shape[2])
    clipped = np.ix_(np.clip(y, 0, weights.shape[1] - 1), np.clip(x, 0, weights.shape[2] - 1))
    dark = (weights == 0).all(axis=0)[clipped]
    shuffled = np.random.default_rng(0).permutation(dark[inside])
    for what, image in (("score", hall.difference), ("share of the prior", hall.data_share)):
        score = image[source.name][inside] * (1 if what == "score" else -1)
        print(
            f"AUC of the {what} {auc(score, dark[inside]):.3f}; of a shuffled mask {auc(score, shuffled):.3f}"
        )
    power = np.sum(modes.open_patterns**2, axis=0)
    print(
        f"of the power of the five most open patterns {power[dark].sum() / power.sum():.0%} is without data"
    )


def auc(scores, dark) -> float:
    ranks = scipy.stats.rankdata(scores)[dark]
    return (ranks.sum() - ranks.size * (ranks.size + 1) / 2) / (ranks.size * np.sum(~dark))


def trends(prior: AbstractLogPrior) -> None:
    for flux in FLUXES:
        print(f"flux {flux:6g} alone:     ", _grades(galaxies(prior, flux, None)))
    for distance in DISTANCES:
        print(
            f"flux {FLUXES[-1]:6g}, {distance:4g} px away: ", _grades(galaxies(prior, FLUXES[-1], distance))
        )


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


def _grades(posterior: Posterior) -> str:
    best = find_map(posterior, progress=False)
    hall = hallucination_score(jax.random.key(0), posterior, best)
    modes = data_modes(jax.random.key(1), posterior, best, names=["galaxy_0"])["galaxy_0"]
    signal = np.sum(hall.likelihood["galaxy_0"])
    return (f"gamma {hall.confidence['galaxy_0']:8.1f}, sum of the likelihood's diagonal {signal:9.1f}, modes decided "
            f"{modes.num_decided:5.1f} +- {modes.num_decided_error:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
