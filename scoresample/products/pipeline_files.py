"""What one step of a run leaves for the next: the MAP, the draws, the report."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from scoresample.density.parameters import Parameter
from scoresample.density.posterior import Posterior
from scoresample.errors import ConfigError, FileFormatError
from scoresample.numerics.files import replacing
from scoresample.products.archive import THINNING, load_draws
from scoresample.products.pipeline_settings import RunSettings
from scoresample.products.plain import plain
from scoresample.samplers.base import Draws
from scoresample.samplers.optimize import MAPHistory, MAPResult

MAP, CHECKPOINT, DRAWS, REPORT, PICTURE = "map.npz", "checkpoint.npz", "draws.nc", "report.json", "scene.png"
FIT_PICTURE, HALLUCINATION_PICTURE, PAGE, STARTS = "fit.png", "hallucination.png", "report.html", "starts.npz"
CATALOGS, FLUX_DRAWS = ("fluxes.fits", "fluxes.ecsv"), "flux_draws.fits"
_OF_THE_MODEL = (
    "background",
    "bad_planes",
    "psf_bands",
    "stars",
    "prior",
    "least_flux",
    "noise_level",
    "prior_noise",
)


class StoredDraws(NamedTuple):
    """Arrays of ``draws.nc`` by group and name, (chain, draw, ...), its settings and status."""

    posterior: dict[str, np.ndarray]
    images: dict[str, np.ndarray]
    coordinates: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    settings: dict[str, Any]
    status: str

    def has_images(self, names: Iterable[str]) -> bool:
        """Return whether draws of these parameters were kept, every tenth at least."""
        return all(name in self.posterior or name in self.images for name in names)

    @property
    def run(self) -> RunSettings:
        """The settings of the run."""
        return RunSettings(**_with_tuples(self.settings["run"]))


def sha256_of(path: str | Path) -> str:
    """Return the hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_map(path: Path, best: MAPResult, provenance: Mapping[str, Any], settings: RunSettings) -> None:
    """Write the result of `find_map` with a note of what it belongs to."""
    note = {"input": plain(provenance), "run": plain(asdict(settings)), "status": best.status}
    arrays = {f"position/{name}": np.asarray(value) for name, value in best.position.items()}
    arrays |= {f"history/{name}": np.asarray(value) for name, value in best.history._asdict().items()}
    with replacing(path) as temporary:
        np.savez(temporary, note=np.array(json.dumps(note)), **arrays)


def load_map(
    path: Path, posterior: Posterior, provenance: Mapping[str, Any], settings: RunSettings
) -> MAPResult:
    """Read the result of `find_map` that `save_map` wrote.

    Raises
    ------
    FileFormatError
        If the file is missing or not complete.
    ConfigError
        If it belongs to another scene file or model.
    PositionError
        If it does not fit the posterior.
    """
    if not path.is_file():
        raise FileFormatError(f"{path}: no such file; run 'scoresample map' for this folder first.")
    try:
        with path.open("rb") as stream, np.load(stream) as archive:
            arrays = {name: archive[name] for name in archive.files}
        note = json.loads(arrays.pop("note").item())
        history = MAPHistory(*(arrays[f"history/{name}"] for name in MAPHistory._fields))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        message = " ".join(str(error).split())
        raise FileFormatError(
            f"{path}: not a complete MAP file ({message}); run 'scoresample map' again."
        ) from None
    _check_same_input(path.name, note["input"], provenance)
    wanted = plain(asdict(settings))
    for name in _OF_THE_MODEL:
        if note["run"].get(name) != wanted[name]:
            raise ConfigError(
                f"{path.name} was made with {name} {note['run'].get(name)!r}, not {wanted[name]!r}; give the same "
                "settings, or begin anew."
            )
    dtype = posterior.observation.images.dtype
    leaves = {n.removeprefix("position/"): v for n, v in arrays.items() if n.startswith("position/")}
    position = {name: jnp.asarray(value, dtype) for name, value in leaves.items()}
    posterior.check_position(position)
    return MAPResult(position, note["status"], history)


def model_settings(path: Path) -> dict[str, Any]:
    """Return the model settings that a ``map.npz`` was made with, for the steps after it; {} where there is none."""
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as stream, np.load(stream) as archive:
            run = json.loads(archive["note"].item())["run"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}  # load_map says what is wrong with it
    return _with_tuples({name: run[name] for name in _OF_THE_MODEL if name in run})


def read_stored(path: Path) -> StoredDraws:
    """Return what ``draws.nc`` holds.

    Raises
    ------
    FileFormatError
        If the file is missing or not complete.
    ConfigError
        If it was not written by a run over scenes.
    """
    if not path.exists():
        raise FileFormatError(f"{path} does not exist; run 'scoresample sample' for this folder first.")
    tree = load_draws(path)
    settings = json.loads(tree.attrs.get("settings", "{}"))
    if "run" not in settings:
        raise ConfigError(
            f"{path.name} was not written by a run over scenes; run 'scoresample sample' first."
        )
    groups = [
        {str(name): np.asarray(values) for name, values in tree[group].data_vars.items()}
        if group in tree.children
        else {}
        for group in ("posterior", "posterior_images", "image_coordinates", "sample_stats")
    ]
    return StoredDraws(*groups, settings, tree.attrs["status"])


def restore_draws(
    stored: StoredDraws, posterior: Posterior, provenance: Mapping[str, Any], *, images: bool
) -> Draws:
    """Return stored draws of the posterior they were made from.

    Parameters
    ----------
    stored
        From `read_stored`.
    posterior, provenance
        Of the scene file.
    images
        Whether images are needed. Where only every tenth was kept, it stands for the ten from it on: fit for
        mean images, not for judging convergence. Otherwise only those kept in full are there.

    Raises
    ------
    ConfigError
        If they are of another scene file, or images are needed and none were kept.
    """
    _check_same_input(DRAWS, stored.settings["input"], provenance)
    num_draws, dtype = int(stored.settings["num_kept"]), posterior.observation.images.dtype
    derived, position = dict(stored.posterior), {}
    for parameter in posterior.parameters:
        name = parameter.name
        if name in derived:
            position[name] = derived.pop(name).astype(dtype)
        elif images:
            if name not in stored.images:
                raise ConfigError(
                    f"{DRAWS} has no images, which this step needs; sample again with --images thin."
                )
            position[name] = stored.images[name].astype(dtype)
        if name in position and name in stored.coordinates:
            position[name] = stored.coordinates[name].astype(dtype)
        # Other images are kept as u, whatever samplers moved in.
        elif name in position and parameter.prior.has_map and name.endswith(".image"):
            position[name] = _as_sampled(parameter, position[name])
        if name in position and name not in stored.posterior:
            position[name] = np.repeat(position[name], THINNING, axis=1)[:, :num_draws]
    return Draws(position, derived, stored.stats, stored.status, stored.settings, posterior)


def _as_sampled(
    parameter: Parameter, images: Float[np.ndarray, "chain draw y x"]
) -> Float[np.ndarray, "chain draw ..."]:
    """Return the coordinates of images u, some at a time."""
    flat = jnp.asarray(images).reshape(-1, *images.shape[2:])
    found = np.asarray(jax.lax.map(parameter.unconstrain, flat, batch_size=16))
    return found.reshape(*images.shape[:2], *found.shape[1:])


def finished_report(
    path: Path, provenance: Mapping[str, Any], settings: RunSettings
) -> dict[str, Any] | None:
    """Return the report of a finished run of this very input and these settings, None if there is none."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ran = dict(report.get("settings", {}).get("run", {}), max_seconds=settings.max_seconds)
    same = report.get("input") == plain(provenance) and ran == plain(asdict(settings))
    return report if same and report.get("status") == "done" else None


def _with_tuples(run: dict[str, Any]) -> dict[str, Any]:
    """Return settings as they were before json made lists of their tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in run.items()}


def _check_same_input(source: str, came: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if came != plain(wanted):
        what = "file" if came.get("sha256") != wanted["sha256"] else "prior"
        raise ConfigError(
            f"{source} was made from another {what} ({came.get('file')}) than {wanted['file']}; give the scene it was "
            "made from, or another output folder."
        )
