"""The road from a scene file to its products: read, initialize, MAP, draws, verdict, catalog, picture."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from astropy.table import QTable

from scoresample.diagnostics.verdict import diagnose
from scoresample.products.archive import save_report
from scoresample.products.pipeline_draws import climb, draw
from scoresample.products.pipeline_files import (
    CATALOGS,
    REPORT,
    finished_report,
)
from scoresample.products.pipeline_outputs import (
    check_fit,
    picture,
    picture_hallucination,
    score_hallucination,
    tabulate,
)
from scoresample.products.pipeline_problem import prepare
from scoresample.products.pipeline_report import make_report, noting_warnings
from scoresample.products.pipeline_settings import RunSettings
from scoresample.products.report_page import write_page
from scoresample.products.tables import read_flux_catalog
from scoresample.samplers.endings import Deadline
from scoresample.samplers.interruption import noting_ctrl_c


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


@contextmanager
def _timing(seconds: dict[str, float], name: str) -> Generator[None, None, None]:
    """Note how long a step takes, in wall-clock seconds."""
    begun = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - begun, 3)
