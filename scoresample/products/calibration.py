"""Simulation-based calibration of a user's own scene: its PSFs, noise, positions, priors and sampler."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from scoresample.data.demo import demo_file
from scoresample.density.flux_prior_proper import SCATTER, with_proper_fluxes
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.calibration import Calibration, judge
from scoresample.diagnostics.simulation import check_can_be_drawn, least_light
from scoresample.errors import ConfigError
from scoresample.products.calibration_files import (
    check_settings,
    is_done,
    read_scene,
    write_calibration,
)
from scoresample.products.calibration_workers import Task, simulate_scenes
from scoresample.products.pipeline_problem import prepare
from scoresample.products.pipeline_settings import RunSettings
from scoresample.samplers.checkpoint import fingerprint


def calibrate(
    scene: str | Path | Posterior | None,
    out: str | Path,
    num_scenes: int = 100,
    settings: RunSettings | None = None,
    *,
    scatter: float = SCATTER,
    least: Float[np.ndarray, " source"] | None = None,
    truth_from: Posterior | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Calibration:
    r"""Measure whether error bars hold the truth as often as they say, on scenes drawn from the model itself.

    For each scene images, centers, fluxes and background are drawn from their priors, rendered with the PSFs of the
    scene, and given the noise of its weights; the MAP and the draws are those of the settings. Where posterior and
    sampler are right, the truth is a draw like any other (Talts et al. 2018), for every flux and for all together.

    What is tested is the model, its rendering, the sampler and its settings: not whether galaxies of the sky are those
    of the prior. Sources, boxes, PSFs, weights and masks are those of the scene for all truths. A flat prior on fluxes
    has no draws, so that a scene file is calibrated with normal ones around its fluxes (`with_proper_fluxes`), in
    truths and posteriors alike. Draws of a learned prior come by reverse diffusion: where those and its density
    disagree, the calibration sees that too.

    Parameters
    ----------
    scene
        A scene file; None for the shipped demo scene; or a `Posterior` with priors that can be drawn from.
    out
        Folder. Every scene is kept in ``scenes/`` as soon as it is done; a second call with the same settings goes on
        from there, with more scenes if more are asked for. At the end ``calibration.json`` and ``calibration.png``.
    num_scenes
        How many; scene k is the same in every call.
    settings
        `RunSettings()` by default.
    scatter
        Of the fluxes around those of a scene file, as a part of them.
    least
        Light that images need, see `diagnostics.simulation.least_light`, which is the default.
    truth_from
        What truths and noise are drawn from, where they are not to be those that the sampler believes: a posterior of
        the same sources with other weights, PSFs or priors. The calibration then measures what that mistake costs.
    workers
        Processes; by default one for every core, or one on an accelerator. With several, a script of your own needs
        ``if __name__ == "__main__":``, since they are started anew.
    progress
        Whether to show a bar.

    Returns
    -------
    The numbers and the verdict; print it.

    Raises
    ------
    ScoreOnlyError
        For a prior that has only a score, and so no draws.
    ConfigError
        For a flat prior of a `Posterior`, ``truth_from`` with other parameters, sizes out of range, or a folder with a
        calibration of something else.
    ScoresampleError
        For a scene file that cannot be used.
    """
    settings = RunSettings() if settings is None else settings
    if num_scenes < 1 or not scatter > 0 or (workers is not None and workers < 1):
        raise ConfigError(
            f"num_scenes is {num_scenes}, scatter {scatter:g} and workers {workers}; scenes and workers must be at "
            "least 1 and scatter positive."
        )
    model, about = _model(scene, settings, scatter)
    truth_from = model if truth_from is None else truth_from
    _check_alike(model, truth_from)
    check_can_be_drawn(truth_from)
    least = least_light(truth_from) if least is None else least
    folder = Path(out)
    about |= {"run": asdict(settings), "model": str(model)}
    about["fingerprint"] = fingerprint(
        *(m.for_compilation() for m in (model, truth_from)),
        least,
        asdict(settings),
        str(model),
        str(truth_from),
    )
    check_settings(folder, about)
    missing = [k for k in range(num_scenes) if not is_done(folder, k)]
    with tqdm(
        total=num_scenes, initial=num_scenes - len(missing), desc="scenes", disable=not progress
    ) as bar:
        for _ in simulate_scenes(Task(model, settings, least, truth_from), folder, missing, workers):
            bar.update()
    found = judge([read_scene(folder, k) for k in range(num_scenes)])
    write_calibration(folder, found, about)
    return found


def _model(scene, settings: RunSettings, scatter: float) -> tuple[Posterior, dict[str, Any]]:
    """Return the posterior that truths are drawn from, and where it comes from."""
    if isinstance(scene, Posterior):
        return scene, {"input": {"file": None}}
    with _file_of(scene) as path:
        problem = prepare(path, settings)
    model = with_proper_fluxes(problem.posterior, scatter=scatter)
    return model, {"input": problem.provenance, "scatter": scatter}


@contextmanager
def _file_of(scene: str | Path | None) -> Generator[Path, None, None]:
    if scene is not None:
        yield Path(scene)
        return
    with demo_file() as path:
        yield path


def _check_alike(model: Posterior, truth_from: Posterior) -> None:
    """Raise `ConfigError` unless truths of one posterior are truths of the other."""
    about = lambda posterior: (
        [(p.name, p.shape) for p in posterior.parameters],
        posterior.observation.images.shape,
        posterior.collapse,
    )
    if about(model) != about(truth_from):
        raise ConfigError(
            "truth_from has other free parameters, bands or pixels than the posterior to be calibrated; build both "
            "from the same scene, and let weights, PSFs or the numbers in priors differ."
        )
