"""What a calibration leaves in its folder: settings, scenes, report and picture."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scoresample.diagnostics.calibration import Calibration
from scoresample.errors import FAILED, ConfigError, FileFormatError
from scoresample.products.archive import save_report
from scoresample.products.calibration_plots import plot_calibration
from scoresample.products.pipeline_report import versions
from scoresample.products.plain import plain

SETTINGS, REPORT, PICTURE = "settings.json", "calibration.json", "calibration.png"


def scene_file(folder: Path, number: int) -> Path:
    """Return where a scene is kept."""
    return folder / "scenes" / f"{number:05d}.json"


def read_scene(folder: Path, number: int) -> dict[str, Any]:
    """Return what was kept of a scene; raises `FileFormatError` for a file that is not complete."""
    return _read(scene_file(folder, number))


def is_done(folder: Path, number: int) -> bool:
    """Return whether a scene is kept; one that failed is tried again."""
    return scene_file(folder, number).exists() and not read_scene(folder, number)["status"].startswith(FAILED)


def check_settings(folder: Path, about: Mapping[str, Any]) -> None:
    """Write what a calibration is of, or make sure that the folder is one of the same.

    Raises
    ------
    ConfigError
        If the folder has a calibration of another scene, model or settings.
    """
    path = folder / SETTINGS
    if not path.exists():
        save_report(path, dict(about))
        return
    if _read(path).get("fingerprint") != about["fingerprint"]:
        raise ConfigError(
            f"{folder} holds a calibration of another scene, model or settings, as {SETTINGS} there says; repeat "
            "those, or give another folder."
        )


def write_calibration(folder: Path, found: Calibration, about: Mapping[str, Any]) -> None:
    """Write ``calibration.json`` and ``calibration.png``."""
    save_report(folder / REPORT, report_of(found) | {"of": plain(about), "versions": versions()})
    plot_calibration(found, folder / PICTURE)


def report_of(found: Calibration) -> dict[str, Any]:
    """Return a calibration as lists, numbers and strings: verdict first, ranks of every flux last."""
    ranks = [] if found.table.empty else found.table.groupby(["object", "band"], sort=False)
    return {
        "status": found.status,
        "verdict": found.verdict,
        "reasons": list(found.reasons),
        "scenes": {
            "simulated": len(found.scenes),
            "used": int(found.scenes["used"].sum()),
            "converged": int(found.scenes["converged"].sum()),
        },
        "groups": found.groups.to_dict("records"),
        "fluxes": found.fluxes.to_dict("records"),
        "tarp": found.tarp._asdict(),
        "tests": found.tests,
        "ranks": [
            {"object": part["object"].iloc[0], "band": part["band"].iloc[0]}
            | {name: part[name].tolist() for name in ("rank", "pit", "crps")}
            for _, part in ranks
        ],
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = " ".join(str(error).split())
        raise FileFormatError(f"{path}: not complete ({message}); delete it and calibrate again.") from None
