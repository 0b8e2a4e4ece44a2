"""The climb and the draws of a run, each kept in a file as soon as it is there."""

import dataclasses
import warnings
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from scoresample.density.posterior import Position, Posterior
from scoresample.diagnostics.audit import audit_of
from scoresample.diagnostics.shown_noise import shown_noise
from scoresample.diagnostics.verdict import diagnose
from scoresample.errors import ScoresampleWarning
from scoresample.numerics.tree_files import load_tree, save_checkpoint
from scoresample.products.archive import save_draws
from scoresample.products.pipeline_files import (
    CHECKPOINT,
    DRAWS,
    MAP,
    STARTS,
    load_map,
    save_map,
)
from scoresample.products.pipeline_problem import KERNELS, Problem
from scoresample.products.pipeline_settings import RunSettings
from scoresample.products.starts import Starts, dispersed_starts
from scoresample.samplers.base import Draws
from scoresample.samplers.checkpoint import fingerprint, read_note
from scoresample.samplers.endings import Deadline
from scoresample.samplers.optimize import MAPResult, find_map
from scoresample.samplers.run import sample

_MOST_SHOWN_NOISE = 0.5


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
    key = keys_of(problem, settings)[0]
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
    if not _are_dispersed(settings):
        return None
    path, num, key = folder / STARTS, settings.chains, keys_of(problem, settings)[3]
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


def climb_alone(posterior: Posterior, settings: RunSettings, deadline: Deadline) -> MAPResult:
    """Find the MAP as a run does, and keep it nowhere; raises `KeyboardInterrupt` after Ctrl-C."""
    best = find_map(
        posterior, max_steps=settings.max_steps, max_seconds=deadline.seconds_left, progress=False
    )
    if best.status == "interrupted":
        raise KeyboardInterrupt
    return best


def sample_around(
    key: PRNGKeyArray, posterior: Posterior, settings: RunSettings, position: Position, deadline: Deadline
) -> Draws:
    """Draw as a run does from a MAP on, and keep nothing on the way; raises `KeyboardInterrupt` after Ctrl-C."""
    start = position
    if _are_dispersed(settings):
        start = dispersed_starts(
            jax.random.fold_in(key, 1),
            posterior,
            position,
            settings.chains,
            max_seconds=deadline.seconds_left,
            progress=False,
        ).positions
    draws = sample_as_set(key, posterior, settings, start, max_seconds=deadline.seconds_left)
    if draws.status == "interrupted":
        raise KeyboardInterrupt
    return draws


def _are_dispersed(settings: RunSettings) -> bool:
    """Return whether chains begin in places of their own; draws of `Laplace` are no chains."""
    return settings.starts != "map" and settings.sampler != "laplace"


def keys_of(problem: Problem, settings: RunSettings):
    """Return the keys of sampling, hallucination score, predictive check and starts, different for every scene."""
    key = jax.random.fold_in(jax.random.key(settings.seed), np.uint32(zlib.crc32(problem.name.encode())))
    return (*jax.random.split(key), *(jax.random.fold_in(key, number) for number in (2, 3)))


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
