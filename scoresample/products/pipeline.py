"""The road from a scene file to its products: read, initialize, MAP, draws, verdict, catalog, picture."""

import dataclasses
import time
import warnings
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import QTable
from jaxtyping import PRNGKeyArray

from scoresample.data.catalog import Catalog
from scoresample.data.observation import Observation
from scoresample.data.readers import read_catalog, read_observation
from scoresample.density.posterior import Position, Posterior
from scoresample.diagnostics.audit import audit_of
from scoresample.diagnostics.hallucination import hallucination_score
from scoresample.diagnostics.predictive import PredictiveCheck, predictive_check
from scoresample.diagnostics.shown_noise import shown_noise
from scoresample.diagnostics.verdict import Diagnosis, diagnose
from scoresample.errors import ScoresampleError, ScoresampleWarning
from scoresample.models.initialization import initialize_scene
from scoresample.models.load import load_prior, prior_hash
from scoresample.models.priors import AbstractLogPrior
from scoresample.numerics.tree_files import load_tree, save_checkpoint
from scoresample.products.archive import save_draws, save_report
from scoresample.products.catalog import flux_catalog, flux_draws
from scoresample.products.hallucination_plots import plot_hallucination
from scoresample.products.pipeline_files import (
    CATALOGS,
    CHECKPOINT,
    DRAWS,
    FIT_PICTURE,
    FLUX_DRAWS,
    HALLUCINATION_PICTURE,
    MAP,
    PICTURE,
    REPORT,
    STARTS,
    finished_report,
    load_map,
    save_map,
    sha256_of,
)
from scoresample.products.pipeline_report import make_report, noting_warnings
from scoresample.products.pipeline_settings import RunSettings
from scoresample.products.plots import plot_scene
from scoresample.products.predictive_plots import plot_predictive
from scoresample.products.report_page import write_page
from scoresample.products.starts import Starts, dispersed_starts
from scoresample.products.tables import read_flux_catalog, write_catalog
from scoresample.samplers.annealed import AnnealedLangevin
from scoresample.samplers.base import Draws
from scoresample.samplers.checkpoint import fingerprint, read_note
from scoresample.samplers.endings import Deadline
from scoresample.samplers.hmc import HMC, MALA, NUTS
from scoresample.samplers.interruption import noting_ctrl_c
from scoresample.samplers.laplace import Laplace
from scoresample.samplers.optimize import MAPResult, find_map
from scoresample.samplers.run import sample
from scoresample.samplers.unadjusted import ULA, UnderdampedLangevin

KERNELS = {
    "nuts": NUTS,
    "hmc": HMC,
    "mala": MALA,
    "laplace": Laplace,
    "ula": ULA,
    "underdamped": UnderdampedLangevin,
    "annealed": AnnealedLangevin,
}


_MOST_SHOWN_NOISE = 0.5


class Problem(NamedTuple):
    """A scene file made ready.

    Attributes
    ----------
    provenance
        ``file``, its name; ``sha256`` of its content; ``prior``, with name, noise level and hash.
    catalog
        The detections, with the truth when it is known.
    posterior
        To be sampled.
    """

    provenance: dict[str, Any]
    catalog: Catalog
    posterior: Posterior

    @property
    def name(self) -> str:
        """The scene id."""
        return self.posterior.observation.name


class SceneResult(NamedTuple):
    """How a scene went.

    Attributes
    ----------
    name
        The scene id.
    status
        That of the draws (`samplers.run.sample`): ``done``, ``interrupted``, ``out of time: ...`` or ``stopped: ...``;
        ``failed: ...``, with the reason, where there are none.
    converged
        The verdict.
    table
        The flux catalog, None when there is none.
    report
        What ``report.json`` holds; empty when nothing was written.
    """

    name: str
    status: str
    converged: bool
    table: QTable | None
    report: dict[str, Any]


def run_scene(
    path: str | Path,
    out: str | Path,
    settings: RunSettings | None = None,
    *,
    resume: bool = False,
    progress: bool = False,
) -> SceneResult:
    """Go the whole road for one scene file, and write everything into a folder.

    Parameters
    ----------
    path
        Scene file.
    out
        Folder for ``map.npz``, ``draws.nc``, ``fluxes.fits``, ``fluxes.ecsv``, ``flux_draws.fits``, ``report.json``,
        ``report.html``, ``scene.png`` and ``fit.png``. Each is complete under a temporary name before it replaces an
        earlier one, and none is touched before the input was accepted.
    settings
        `RunSettings()` by default.
    resume
        Whether to go on from ``map.npz`` and ``checkpoint.npz`` of an interrupted run, and leave a finished
        run of the same file and settings as it is.
    progress
        Whether to show bars.

    Returns
    -------
    How it went. After Ctrl-C during sampling everything is written from the draws so far; during the climb to the
    MAP only that is kept.

    Raises
    ------
    ScoresampleError
        Input that cannot be used; with ``resume``, an interrupted run of another file or other settings.
    """
    settings = RunSettings() if settings is None else settings
    folder, seconds, deadline = Path(out), {}, Deadline(settings.max_seconds)
    with noting_warnings() as warned:
        with _timing(seconds, "read"):
            problem = prepare(path, settings)
        report = finished_report(folder / REPORT, problem.provenance, settings) if resume else None
        if report is not None and (folder / CATALOGS[0]).exists():
            table = read_flux_catalog(folder / CATALOGS[0])
            return SceneResult(problem.name, "done", report["verdict"]["converged"], table, report)
        folder.mkdir(parents=True, exist_ok=True)
        with _timing(seconds, "map"):
            best = climb(problem, settings, folder, deadline, resume=resume, progress=progress)
        if best.status == "interrupted":
            return SceneResult(problem.name, "interrupted", False, None, {})
        with _timing(seconds, "sample"):
            draws = draw(problem, settings, best, folder, deadline, resume=resume, progress=progress)
        with noting_ctrl_c() as stop_if_pressed:  # the draws are done: what remains is written first
            with _timing(seconds, "diagnose"):
                diagnosis = diagnose(draws)
            with _timing(seconds, "fit"):
                check = check_fit(problem, settings, draws, folder)
            with _timing(seconds, "hallucination"):
                hall = score_hallucination(problem, settings, draws)
            with _timing(seconds, "catalog"):
                table = tabulate(draws, settings, folder, hall, diagnosis)
            with _timing(seconds, "picture"):
                picture(problem, best if hall is None else draws, folder)
                picture_hallucination(problem, draws, hall, folder)
            report = make_report(problem, best, draws, diagnosis, check, hall, seconds, warned)
            save_report(folder / REPORT, report)
            write_page(folder)
            stop_if_pressed()
    return SceneResult(problem.name, draws.status, diagnosis.converged, table, report)


def prepare(path: str | Path, settings: RunSettings) -> Problem:
    """Read a scene file and lay out its posterior; raises `ScoresampleError` for input that cannot be used."""
    observation, catalog = read_scene(path, settings)
    prior = prior_of(settings)
    try:
        scene = initialize_scene(observation, catalog, background=settings.background)
    except ScoresampleError as error:
        raise type(error)(f"{Path(path).name}: {error}") from None
    provenance = {
        "file": Path(path).name,
        "sha256": sha256_of(path),
        "prior": {"name": prior.name, "noise_level": prior.noise_level, "sha256": prior_hash(settings.prior)},
    }
    posterior = Posterior(scene, observation, image=prior)
    KERNELS[settings.sampler]().check(posterior)  # before the climb, which may take minutes
    return Problem(provenance, catalog, posterior)


def read_scene(path: str | Path, settings: RunSettings) -> tuple[Observation, Catalog]:
    """Return the observation and the detections of a scene file, as settings say."""
    observation = read_observation(
        path, bad_planes=settings.bad_planes or None, psf_bands=settings.psf_bands or None
    )
    catalog = read_catalog(path, frame=observation.frame)
    if not settings.stars:
        catalog = dataclasses.replace(catalog, is_star=np.zeros(len(catalog), bool))
    return observation, catalog


def prior_of(settings: RunSettings) -> AbstractLogPrior:
    """Return the prior of galaxy images that settings ask for."""
    return load_prior(
        settings.prior, noise_level=settings.noise_level, hides_noise=settings.prior_noise == "hidden"
    )


def climb(
    problem: Problem,
    settings: RunSettings,
    folder: Path,
    deadline: Deadline,
    *,
    resume: bool = False,
    progress: bool = False,
) -> MAPResult:
    """Find the MAP and keep it in ``map.npz``, or take it from there when resuming.

    ``deadline`` is that of the scene.
    """
    path = folder / MAP
    if resume and path.exists():
        best = load_map(path, problem.posterior, problem.provenance, settings)
        if best.status not in ("interrupted", "out of time"):
            return best
    best = find_map(
        problem.posterior,
        max_steps=settings.max_steps,
        max_seconds=deadline.seconds_left,
        progress=progress,
    )
    _warn_of_shown_noise(problem.posterior, best)
    save_map(path, best, problem.provenance, settings)
    return best


def draw(
    problem: Problem,
    settings: RunSettings,
    best: MAPResult,
    folder: Path,
    deadline: Deadline,
    *,
    resume: bool = False,
    progress: bool = False,
) -> Draws:
    """Draw from the posterior, with a checkpoint on the way, and keep the draws in ``draws.nc``.

    ``deadline`` is that of the scene.
    """
    checkpoint = folder / CHECKPOINT
    if not resume:
        for path in (checkpoint, folder / STARTS):  # they would be resumed from
            path.unlink(missing_ok=True)
    starts = begin(problem, settings, best, folder, deadline, progress=progress)
    key = _keys(problem, settings)[0]
    draws = sample_as_set(
        key,
        problem.posterior,
        settings,
        best.position if starts is None else starts.positions,
        max_seconds=deadline.seconds_left,
        progress=progress,
        checkpoint=checkpoint,
    )
    found = audit_of(draws)  # now, while all images are there
    more = {"input": problem.provenance, "run": dataclasses.asdict(settings)}
    more |= {} if found is None else {"audit": found._asdict()}
    more |= (
        {} if starts is None else {"starts": {"below": starts.below.tolist(), "kept": starts.kept.tolist()}}
    )
    draws = draws._replace(settings=draws.settings | more)
    save_draws(folder / DRAWS, draws, images=settings.images)
    if draws.status == "done":
        (folder / STARTS).unlink(missing_ok=True)
    return draws


def begin(
    problem: Problem,
    settings: RunSettings,
    best: MAPResult,
    folder: Path,
    deadline: Deadline,
    *,
    progress: bool = False,
) -> Starts | None:
    """Find dispersed starts, and keep them in ``starts.npz`` until the draws are done; or take them from there.

    None where chains begin around the MAP. ``deadline`` is that of the scene.
    """
    if settings.starts == "map" or settings.sampler == "laplace":  # which has no chains
        return None
    path, num, key = folder / STARTS, settings.chains, _keys(problem, settings)[3]
    mark = fingerprint(key, best.position, num)
    if path.exists():
        read_note(path, mark)
        stored = load_tree(path, Starts([best.position] * num, np.zeros(num), np.zeros(num, bool)))
        return stored._replace(positions=jax.tree.map(jnp.asarray, stored.positions))
    starts = dispersed_starts(
        key,
        problem.posterior,
        best.position,
        num,
        max_seconds=deadline.seconds_left,
        progress=progress,
    )
    save_checkpoint(path, starts, {"fingerprint": mark})
    return starts


def sample_as_set(
    key: PRNGKeyArray,
    posterior: Posterior,
    settings: RunSettings,
    start: Position | list[Position],
    *,
    max_seconds: float | None = None,
    progress: bool = False,
    checkpoint: Path | None = None,
) -> Draws:
    """Draw from a posterior with the sampler and sizes of a run."""
    return sample(
        key,
        posterior,
        KERNELS[settings.sampler](),
        start=start,
        num_chains=settings.chains,
        num_warmup=settings.warmup,
        num_draws=settings.draws,
        max_draws=settings.max_draws,
        enough=lambda draws: not diagnose(draws, audited=False).more_draws_may_help,
        max_seconds=max_seconds,
        progress=progress,
        checkpoint=checkpoint,
    )


def check_fit(problem: Problem, settings: RunSettings, draws: Draws, folder: Path) -> PredictiveCheck | None:
    """Return `predictive_check` and write ``fit.png``; None without draws."""
    if draws.settings["num_kept"] == 0:
        return None
    check = predictive_check(_keys(problem, settings)[2], draws)
    plot_predictive(check, folder / FIT_PICTURE)
    return check


def score_hallucination(problem: Problem, settings: RunSettings, draws: Draws):
    """Return `hallucination_score`, or None without draws."""
    if draws.settings["num_kept"] == 0:
        return None
    return hallucination_score(_keys(problem, settings)[1], problem.posterior, draws)


def tabulate(draws: Draws, settings: RunSettings, folder: Path, hall: Any, diagnosis: Diagnosis) -> QTable:
    """Write the flux catalog and the flux draws; return the catalog."""
    table = flux_catalog(draws, hall, diagnosis=diagnosis)
    for name in CATALOGS:
        write_catalog(table, folder / name)
    if draws.settings["num_kept"]:
        write_catalog(flux_draws(draws, settings.num_flux_draws), folder / FLUX_DRAWS)
    return table


def picture(problem: Problem, drawn: Draws | MAPResult, folder: Path) -> None:
    """Write ``scene.png``, with the true fluxes marked where they are known."""
    plot_scene(problem.posterior, drawn, folder / PICTURE, true_flux=problem.catalog.true_flux)


def picture_hallucination(problem: Problem, draws: Draws, hall: Any, folder: Path) -> None:
    """Write ``hallucination.png``, or take away that of an earlier run where there is no free image or no draw."""
    if hall is None or not hall.difference:
        (folder / HALLUCINATION_PICTURE).unlink(missing_ok=True)
    else:
        plot_hallucination(problem.posterior, draws, hall, folder / HALLUCINATION_PICTURE)


def _warn_of_shown_noise(posterior: Posterior, best: MAPResult) -> None:
    """Warn where the noise of a prior is more than half that of the data."""
    ratios = shown_noise(posterior, best.position)
    worst = max(ratios, key=ratios.__getitem__, default=None)
    if worst is not None and ratios[worst] > _MOST_SHOWN_NOISE:
        warnings.warn(
            f"the noise of the prior is {ratios[worst]:.2g} times that of the data in {worst!r}: bright galaxies can "
            "lose flux to others; leave out --prior-noise shown.",
            ScoresampleWarning,
            stacklevel=2,
        )


def _keys(problem: Problem, settings: RunSettings):
    """Return the keys of sampling, hallucination score, predictive check and starts, different for every scene."""
    key = jax.random.fold_in(jax.random.key(settings.seed), np.uint32(zlib.crc32(problem.name.encode())))
    return (*jax.random.split(key), *(jax.random.fold_in(key, number) for number in (2, 3)))


@contextmanager
def _timing(seconds: dict[str, float], name: str) -> Generator[None, None, None]:
    """Note how long a step takes, in wall-clock seconds."""
    begun = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - begun, 3)
