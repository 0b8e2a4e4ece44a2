"""What the study of a gallery leaves in its folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scoresample.diagnostics.blend_report import BlendReport
from scoresample.errors import FAILED, ConfigError, FileFormatError, one_line
from scoresample.numerics.files import replacing
from scoresample.products.archive import save_report
from scoresample.products.blends_plots import plot_errors, plot_intervals
from scoresample.products.pipeline_report import versions
from scoresample.products.plain import plain

SETTINGS, REPORT, TABLE = "settings.json", "blends.json", "blends.csv"
ERRORS, INTERVALS = "blends.png", "intervals.png"


def scene_path(folder: Path, number: int) -> Path:
    """Return where a scene is."""
    return folder / "scenes" / f"scene_{number:05d}.npz"


def result_file(folder: Path, method: str, number: int) -> Path:
    """Return where it is kept what a method made of a scene."""
    return folder / "results" / method.replace(":", "-") / f"{number:05d}.json"


def is_done(folder: Path, method: str, number: int) -> bool:
    """Return whether it is kept what a method made of a scene; one that failed is tried again."""
    path = result_file(folder, method, number)
    return path.exists() and not _read(path)["status"].startswith(FAILED)


def check_study(folder: Path, about: Mapping[str, Any]) -> None:
    """Write what a study is of; raise `ConfigError` where the folder has another gallery, prior or settings."""
    path = folder / SETTINGS
    if not path.exists():
        save_report(path, dict(about))
        return
    if _read(path) != plain(about):
        raise ConfigError(
            f"{folder} holds a study of another gallery, prior or settings, as {SETTINGS} there says; repeat those, or "
            "give another folder."
        )


def read_results(folder: Path, methods: Sequence[str], num_scenes: int) -> list[dict[str, Any]]:
    """Return what is kept of the methods and scenes."""
    return [_read(result_file(folder, method, number)) for number in range(num_scenes) for method in methods]


def write_study(folder: Path, report: BlendReport, about: Mapping[str, Any]) -> None:
    """Write ``blends.json``, ``blends.csv`` (a row for each object and method) and the pictures."""
    content = {
        "targets": [target._asdict() for target in report.targets],
        "groups": report.groups.to_dict("records"),
        "intervals": report.intervals.to_dict("records"),
        "runs": report.runs.to_dict("records"),
        "of": about,
        "versions": versions(),
    }
    save_report(folder / REPORT, content)
    with replacing(folder / TABLE) as temporary:
        report.table.to_csv(temporary, index=False, float_format="%.6g")
    draw_study(report, folder)


def draw_study(report: BlendReport, folder: Path) -> None:
    """Draw the pictures of a study."""
    plot_errors(report, folder / ERRORS)
    plot_intervals(report, folder / INTERVALS)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path}: not complete ({one_line(error)}); delete it and go on.") from None
