"""How fluxes of the MAP depend on the noise level of the learned prior, and how its noise compares with a scene's.

python benchmarks/prior_noise.py ../shared/data/psf_matched_sim.npz --no-stars     some minutes

For each noise level: i-band fluxes over the truth, where images are at their most probable given the fluxes of the MAP
with the Gaussian prior, and fluxes are then solved for again; and the scatter that scenes would show if they showed the
noise of the prior, 0.1 noise_level times the brightness, over the noise of the data in a pixel, all bands together.
"""

import argparse

import numpy as np

from scoresample.diagnostics.shown_noise import shown_noise
from scoresample.products.pipeline_problem import Problem, prepare
from scoresample.products.pipeline_settings import RunSettings
from scoresample.samplers.optimize import find_map

LEVELS = (0.05, 0.1, 0.15, 0.3)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scene")
    parser.add_argument("--no-stars", dest="stars", action="store_false")
    arguments = parser.parse_args()
    gaussian = prepare(arguments.scene, RunSettings(prior="gaussian", stars=arguments.stars))
    start = find_map(gaussian.posterior, progress=False).position
    print("gaussian       ", *(f"{ratio:7.2f}" for ratio in to_truth(gaussian, start)))
    for level in LEVELS:
        settings = RunSettings(prior="galaxies", noise_level=level, stars=arguments.stars)
        problem = prepare(arguments.scene, settings)
        best = find_map(problem.posterior, start, progress=False)
        shown = RunSettings(prior="galaxies", noise_level=level, stars=arguments.stars, prior_noise="shown")
        ratios = shown_noise(prepare(arguments.scene, shown).posterior, start).values()
        print(f"{level:<5g} flux/truth", *(f"{ratio:7.2f}" for ratio in to_truth(problem, best.position)))
        print("      scatter/noise", *(f"{ratio:6.2f} " for ratio in ratios), flush=True)


def to_truth(problem: Problem, position) -> np.ndarray:
    """Return i-band fluxes over the truth."""
    band = problem.posterior.observation.frame.bands.index("i")
    fluxes = np.asarray(problem.posterior.amplitudes(position))[band]
    truth = problem.catalog.true_flux[:, band]
    return fluxes[: len(truth)] / truth


if __name__ == "__main__":
    main()
