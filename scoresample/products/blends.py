"""Blends whose truth is known, and how well and how honestly methods take them apart: the study of a gallery."""

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
from tqdm import tqdm

from scoresample.diagnostics.blend_report import BlendReport, judge_blends
from scoresample.errors import FAILED, ConfigError, is_failure, one_line
from scoresample.models.load import prior_hash
from scoresample.products.archive import save_report
from scoresample.products.blends_constrained import run_constrained
from scoresample.products.blends_files import (
    check_study,
    is_done,
    read_results,
    result_file,
    scene_path,
    write_study,
)
from scoresample.products.blends_methods import (
    START_VARIANTS,
    VARIANTS,
    run_oracle,
    run_parametric,
    run_posterior,
)
from scoresample.products.blends_scarlet2 import run_scarlet2
from scoresample.products.blends_scene import Found, Truth, measure, read_truth
from scoresample.products.pipeline_settings import RunSettings
from scoresample.products.workers import work_on


class Method(NamedTuple):
    """How a method is run, the variants that it has, and the module that it needs besides ours."""

    run: Callable[..., Found]
    variants: tuple[str, ...] = ()
    needs: str | None = None


def _run_map(path: Path, truth: Truth, settings: RunSettings, key, variant: str = "") -> Found:
    return run_posterior(path, truth, settings, key, variant, draw=False)


METHODS = {
    "oracle": Method(run_oracle),
    "posterior": Method(run_posterior, VARIANTS),
    "map": Method(_run_map, VARIANTS),
    "parametric": Method(run_parametric),
    "constrained": Method(run_constrained, START_VARIANTS, "proxmin"),
    "scarlet2": Method(run_scarlet2, (), "scarlet2"),
}
"""By name; a variant is asked for as ``posterior:bright``. ``posterior`` gives the MAP on its way."""

USUAL = ("oracle", "posterior", "parametric", "constrained", "scarlet2")


class Study(NamedTuple):
    """What all scenes have in common: where, which gallery, and settings of the runs."""

    folder: Path
    gallery: Any
    settings: RunSettings


def bench_blends(
    out: str | Path,
    num_scenes: int = 200,
    gallery: Any = None,
    settings: RunSettings | None = None,
    *,
    methods: Sequence[str] | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> BlendReport:
    """Simulate a gallery of blends, let methods take them apart, and measure how far each is from the truth.

    Parameters
    ----------
    out
        Folder. Scenes are kept in ``scenes/``, what each method made of each in ``results/``, as soon as it is there; a
        second call with the same gallery and settings goes on, with more scenes or methods if asked for. At the end
        ``blends.json``, ``blends.csv``, ``blends.png`` and ``intervals.png``.
    num_scenes
        How many; scene k is the same in every call.
    gallery
        `training.gallery.Gallery`; its defaults for None.
    settings
        Of our own runs; ``seed`` decides their draws, not the scenes. A posterior whose ``max_seconds`` were over has
        what was drawn, and says so in its status; it is not taken up again.
    methods
        Of `METHODS`, with ``:variant`` for one. By default `USUAL`, without those whose library is not installed.
    workers
        Processes; by default one for every core, or one on an accelerator.
    progress
        Whether to show a bar.

    Raises
    ------
    ConfigError
        For an unknown method, a library that is not installed, sizes out of range, or a folder with another study.

    References
    ----------
    Sampson et al. (2024), Astronomy and Computing 49, 100875, section 4.3 and 4.4: metrics, 2 to 8 sources with
    i <= 27, and starts that are too bright, flat, or Gaussian.
    """
    settings = RunSettings() if settings is None else settings
    gallery = _gallery() if gallery is None else gallery
    if num_scenes < 1 or (workers is not None and workers < 1):
        raise ConfigError(f"num_scenes is {num_scenes} and workers {workers}; both must be at least 1.")
    methods = installed(USUAL) if methods is None else tuple(dict.fromkeys(methods))
    for name in methods:
        check_method(name)
    folder = Path(out)
    of = {"gallery": asdict(gallery), "run": asdict(replace(settings, max_seconds=None))}
    check_study(folder, of | {"prior": prior_hash(settings.prior)})
    missing = [
        (number, names)
        for number in range(num_scenes)
        if (names := tuple(name for name in methods if not is_done(folder, name, number)))
    ]
    with tqdm(
        total=num_scenes, initial=num_scenes - len(missing), desc="scenes", disable=not progress
    ) as bar:
        for _ in work_on(keep_blend, Study(folder, gallery, settings), missing, workers):
            bar.update()
    report = judge_blends(read_results(folder, methods, num_scenes))
    write_study(folder, report, {"gallery": asdict(gallery), "run": asdict(settings), "methods": methods})
    return report


def check_method(name: str) -> None:
    """Raise `ConfigError` for a method or variant that does not exist, or whose library is not installed."""
    base, colon, variant = name.partition(":")
    method = METHODS.get(base)
    if method is None or (colon and variant not in method.variants):
        known = [*METHODS, *(f"{key}:{variant}" for key, m in METHODS.items() for variant in m.variants)]
        raise ConfigError(f"there is no method {name!r}; choose from {', '.join(known)}.")
    if not installed((name,)):
        raise ConfigError(
            f"method {name!r} needs {method.needs}; run pip install {method.needs}, or leave the method out."
        )


def installed(names: Sequence[str]) -> tuple[str, ...]:
    """Return those methods whose library is there."""
    needs = {name: METHODS[name.partition(":")[0]].needs for name in names}
    return tuple(name for name in names if not needs[name] or importlib.util.find_spec(needs[name]))


def keep_blend(study: Study, item: tuple[int, tuple[str, ...]]) -> int:
    """Let methods work on a scene, and write what is found; one that fails has a status that says why."""
    from scoresample.training.gallery import write_gallery_scene

    number, names = item
    path = scene_path(study.folder, number)
    if not path.exists():
        write_gallery_scene(path, study.gallery, number)
    truth = read_truth(path)
    for name in names:
        base, _, variant = name.partition(":")
        key = jax.random.fold_in(jax.random.key(study.settings.seed), number)
        begun = time.perf_counter()
        try:
            found = METHODS[base].run(path, truth, study.settings, key, variant)
        except Exception as error:
            if not is_failure(error):
                raise
            found = Found(f"{FAILED}{one_line(error)}", {})
        rows = {label: measure(estimate, truth) for label, estimate in found.estimates.items()}
        about = {"scene": number, "method": name, "status": found.status, "notes": found.notes}
        about |= {
            "bands": study.gallery.bands,
            "seconds": round(time.perf_counter() - begun, 2),
            "objects": rows,
        }
        save_report(result_file(study.folder, name, number), about)
    jax.clear_caches()  # scenes have boxes of their own: compiled code of one is of little use to others
    return number


def _gallery():
    try:
        from scoresample.training.gallery import Gallery
    except ModuleNotFoundError as error:
        raise ConfigError(f"a gallery needs {error.name}; run pip install 'scoresample[sim]'.") from None
    return Gallery()
