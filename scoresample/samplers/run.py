"""Running chains: warm-up, draws, progress, interruption and checkpoints."""

import importlib.metadata
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, PRNGKeyArray, PyTree
from tqdm.auto import tqdm

from scoresample.density.base import AbstractDensity, Position
from scoresample.errors import ConfigError
from scoresample.numerics.tree_files import load_tree, save_checkpoint
from scoresample.samplers import chunks
from scoresample.samplers.adaptation import WindowAdaptation
from scoresample.samplers.base import AbstractKernel, AbstractSampler, Draws, Stage, settings_of
from scoresample.samplers.checkpoint import fingerprint, read_note
from scoresample.samplers.endings import (
    Deadline,
    RunEnded,
    check_finite,
    check_moves,
    check_step_size,
)
from scoresample.samplers.hmc import NUTS
from scoresample.samplers.interruption import noting_ctrl_c
from scoresample.samplers.laplace import Laplace
from scoresample.samplers.trajectories import flat_positions
from scoresample.samplers.whitening import (
    Whitening,
    add_curvature,
    coordinates_of,
    local_whitening,
    recenter,
)

_SECONDS_BETWEEN_CHECKPOINTS = 20.0


def sample(
    key: PRNGKeyArray,
    density: AbstractDensity,
    sampler: AbstractSampler | None = None,
    *,
    start: PyTree[ArrayLike] | Sequence[PyTree[ArrayLike]] | None = None,
    num_chains: int = 4,
    num_warmup: int = 300,
    num_draws: int = 500,
    max_draws: int | None = None,
    enough: Callable[[Draws], bool] | None = None,
    max_seconds: float | None = None,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> Draws:
    """Draw from a density.

    Where the density knows the scale of its prior, chains run in coordinates whitened by it and by the
    leading curvature at the start, and begin at independent draws of that approximation around the start;
    warm-up then finds only the step size. Otherwise they begin at the start, and warm-up also learns a
    diagonal mass matrix.

    Parameters
    ----------
    key
        Decides everything random; the same key gives the same draws.
    density
        A posterior or any other density.
    sampler
        `NUTS` by default.
    start
        A position, best that of `find_map`; or a sequence of one position for each chain, used as they are.
        A posterior without a start begins at its scene's own values.
    num_chains, num_warmup, num_draws
        Sizes. Warm-up steps are thrown away.
    max_draws, enough
        With both, chains of ``num_draws`` go on, half as many again at a time, until ``enough(draws)`` is true or there
        are ``max_draws``; such as
        ``enough=lambda draws: not ss.diagnose(draws, audited=False).more_draws_may_help``.
    max_seconds
        After so long the run ends with the draws it has; None for any time. It is looked at between pieces of 25 steps,
        which may be long ones, and compiling counts. A run with a checkpoint can be resumed with more time.
    progress
        Whether to show bars.
    checkpoint
        A file that the run is kept in until it is done, and resumed from if it exists.

    Returns
    -------
    The draws. A run that ends early keeps what is done, and its status says why: ``interrupted`` by Ctrl-C; ``out of
    time: ...``; or ``stopped: ...``, where going on makes no sense (`samplers.endings`): a density or score that is not
    finite, a chain that does not move, a step size that collapsed.

    Raises
    ------
    ScoreOnlyError
        Before compiling, if the sampler is to compare values (``energy="log_prob"``) and a term has only a score.
    PositionError
        If a start does not fit the density.
    ConfigError
        If sizes are out of range or a checkpoint belongs to another run.
    """
    sampler = NUTS() if sampler is None else sampler
    _check_sizes(num_chains, num_warmup, num_draws)
    sampler.check(density)
    if isinstance(sampler, AbstractKernel):
        sampler = sampler.resolved(density)
    kernel = sampler if isinstance(sampler, AbstractKernel) else None
    stages = () if kernel is None else kernel.stages(density, num_warmup)
    starts = _starts(density, start, num_chains)
    deadline = Deadline(max_seconds)
    compiled = density.for_compilation()
    key_curvature, key_start, key_run = jax.random.split(key, 3)
    first = stages[0].density if stages else density
    whitening = local_whitening(first, starts[0], bent=kernel is not None)
    sizes = {"num_chains": num_chains, "num_warmup": num_warmup, "num_draws": num_draws}
    seed = np.asarray(jax.random.key_data(key)).tolist()
    versions = {name: importlib.metadata.version(name) for name in ("jax", "blackjax", "numpyro")}

    def draws_of(done, status: str, tuned: dict[str, float | None]) -> Draws:
        position, derived, stats = done
        settings = {
            "sampler": settings_of(sampler),
            "unadjusted": sampler.unadjusted,
            **sizes,
            "num_kept": int(jax.tree.leaves((position, derived))[0].shape[1]),
            "seed": seed,
            **tuned,
            "seconds": round(time.perf_counter() - deadline.begun, 3),
            "versions": versions,
        }
        return Draws(position, derived, stats, status, settings, density)

    run = _Run(density, sizes, checkpoint, progress, deadline)
    if checkpoint is not None:
        formula = compiled.formula(starts[0])
        run.mark = fingerprint(compiled, formula, whitening, starts, settings_of(sampler), sizes, key)
    if kernel is None or whitening.size == 0:
        if isinstance(sampler, Laplace):
            whitening = sampler.whiten(key_curvature, compiled, whitening)
        status, tuned = run.independent(key_run, whitening), {"step_size": None}
    else:
        known = whitening.local is not None
        if known:
            # Room for as many points as later, for one compiled function.
            points = jnp.zeros((num_chains, whitening.size), whitening.rest.diagonal.dtype)
            whitening, _ = add_curvature(
                key_curvature, first.for_compilation(), whitening, points, num_points=jnp.asarray(1)
            )
        z = _first_coordinates(key_start, whitening, starts, num_chains, disperse=known and len(starts) == 1)
        run.max_draws = num_draws if max_draws is None or enough is None else max(num_draws, max_draws)
        run.enough = lambda done: enough is None or enough(draws_of(done, "done", {"step_size": None}))
        status, tuned = run.chains(
            key_run, kernel, stages, whitening, z, adapt_mass=kernel.uses_mass and not known
        )
    return draws_of(run.collected(), status, tuned)


class _Run:
    """One run under way: what is done so far, and where it is kept."""

    def __init__(
        self, original: AbstractDensity, sizes: dict[str, int], checkpoint, progress: bool, deadline: Deadline
    ):
        self.density = original.for_compilation()
        self.sizes = sizes
        self.path = None if checkpoint is None else Path(checkpoint)
        self.progress = progress
        self.deadline = deadline
        self.max_draws = sizes["num_draws"]
        self.enough: Callable[[Any], bool] = lambda done: True
        self.mark = ""
        self.done: list[Any] = []  # (position, derived, stats) with axes (step, chain, ...)
        self.saved_at = time.perf_counter()

    def chains(
        self,
        key: PRNGKeyArray,
        kernel: AbstractKernel,
        stages: Sequence[Stage],
        whitening: Whitening,
        z,
        adapt_mass: bool,
    ):
        """Run a Markov kernel; return the status, and what warm-up has found."""
        adaptation = WindowAdaptation(kernel.target_acceptance, adapt_mass, kernel.fixed_step_size)
        num_warmup, num_draws = self.sizes["num_warmup"], self.sizes["num_draws"]
        before = stages[-1].begin  # scales are learned where they will be used
        slow, ends = (
            np.concatenate([np.zeros(before, bool), flags])
            for flags in adaptation.schedule(num_warmup - before)
        )
        states = chunks.start_chains(kernel, stages[0].density.for_compilation(), whitening, z)
        adapting = adaptation.init(whitening.size, kernel.first_step_size(whitening.size), z.dtype)
        key_warm, key_draw = jax.random.split(key)
        begins = [stage.begin for stage in stages[1:]]
        recenter_at = [] if adapt_mass else _recenter_steps(num_warmup, before)
        measure_from = max([before, *recenter_at])
        measure_until = _last_measured_step(measure_from, num_warmup)
        window = np.zeros((0, *z.shape), z.dtype)  # positions while mixing is measured

        def nothing():
            fixed = (kernel, adaptation, stages[-1].density.for_compilation())
            return chunks.no_draws(*fixed, whitening, key_draw, states, adapting)

        warmed, still = 0, np.zeros(len(z), int)
        note = self._note()
        if note is not None:
            warmed = note["warmed"]
            like = ((states, adapting, whitening, window), [nothing()] if note["num_done"] else [])
            (*state, window), self.done = load_tree(self.path, like)
            states, adapting, whitening = jax.tree.map(jnp.asarray, tuple(state))
        try:
            with noting_ctrl_c() as stop_if_pressed:
                check_finite(states, "start" if warmed == 0 else f"are after {warmed} warm-up steps")
                with tqdm(total=num_warmup, initial=warmed, desc="warm-up", disable=not self.progress) as bar:
                    while warmed < num_warmup:
                        stop_if_pressed()
                        self.deadline.check(f"{warmed} of {num_warmup} warm-up steps")
                        until = min(step for step in (*begins, num_warmup) if step > warmed)
                        n = min(chunks.CHUNK, until - warmed)
                        flags = slow[warmed : warmed + n], ends[warmed : warmed + n]
                        density = _stage_at(stages, warmed).density.for_compilation()
                        fixed = (kernel, adaptation, density)
                        states, adapting, positions, acceptance = chunks.warm_up(
                            *fixed, whitening, key_warm, states, adapting, warmed, n, *flags
                        )
                        warmed += n
                        step_size = float(adaptation.current(adapting).step_size)
                        still = check_moves(still, positions, step_size)
                        if measure_from < warmed <= measure_until and not adapt_mass:
                            window = np.concatenate([window, flat_positions(positions)])
                            if warmed == measure_until:
                                adapting = adaptation.lengthened(adapting, kernel.stretch(window))
                                window = window[:0]
                        if warmed in recenter_at or warmed in begins:
                            original, z = _stage_at(stages, warmed).density, states.position
                            density = original.for_compilation()
                            if not adapt_mass:
                                key_again = jax.random.fold_in(key, warmed)
                                whitening, z = recenter(key_again, original, density, whitening, z)
                            states = chunks.start_chains(kernel, density, whitening, z)
                            check_finite(states, f"are after {warmed} warm-up steps")
                            adapting = adaptation.restart(adapting)
                        bar.set_postfix(acceptance=f"{acceptance:.2f}")
                        bar.update(n)
                        self._keep((states, adapting, whitening, window), warmed)
                step_size = float(adaptation.final(adapting).step_size)
                if num_warmup > 0 and kernel.fixed_step_size is None and whitening.local is not None:
                    check_step_size(step_size)
                fixed = (kernel, adaptation, stages[-1].density.for_compilation())
                with self._draw_bar() as bar:
                    goal = self._goal(num_draws, bar)
                    while (first := self._num_done()) < goal:
                        stop_if_pressed()
                        self.deadline.check(f"{first} of {goal} draws")
                        n = min(chunks.CHUNK, goal - first)
                        states, out = chunks.draw(*fixed, whitening, key_draw, states, adapting, first, n)
                        self._append(out, n, bar)
                        still = check_moves(still, self.done[-1][0], step_size)
                        self._keep((states, adapting, whitening, window), warmed)
                        goal = self._goal(goal, bar)
            status = "done"
        except (KeyboardInterrupt, RunEnded) as ended:
            status = "interrupted" if isinstance(ended, KeyboardInterrupt) else str(ended)
            self._keep((states, adapting, whitening, window), warmed, now=True)
        if not self.done:  # ended before the first draw
            self.done = [nothing()]
        self._finish(status)
        final = adaptation.final(adapting)
        return status, {"step_size": float(final.step_size), "trajectory_stretch": float(final.stretch)}

    def independent(self, key: PRNGKeyArray, whitening: Whitening) -> str:
        """Draw standard normal coordinates; return the status."""
        status = "done"
        try:
            with noting_ctrl_c() as stop_if_pressed, self._draw_bar() as bar:
                while (first := self._num_done()) < self.sizes["num_draws"]:
                    stop_if_pressed()
                    if self.done:  # the first piece is the result of everything before, and takes no time
                        self.deadline.check(f"{first} of {self.sizes['num_draws']} draws")
                    n = min(chunks.CHUNK, self.sizes["num_draws"] - first)
                    _, out = chunks.draw_normal(
                        self.density,
                        whitening,
                        key,
                        self.sizes["num_chains"],
                        jnp.asarray(first),
                        jnp.asarray(n),
                    )
                    self._append(out, n, bar)
        except (KeyboardInterrupt, RunEnded) as ended:
            if not self.done:
                raise
            status = "interrupted" if isinstance(ended, KeyboardInterrupt) else str(ended)
        return status

    def collected(self, most: int | None = None):
        """Return (position, derived, stats) with axes (chain, draw, ...), all or so many draws."""
        together = jax.tree.map(lambda *parts: np.concatenate(parts)[:most], *self.done)
        return jax.tree.map(lambda x: np.swapaxes(x, 0, 1), together)

    def _draw_bar(self):
        done = self._num_done()
        return tqdm(total=self.sizes["num_draws"], initial=done, desc="draws", disable=not self.progress)

    def _num_done(self) -> int:
        return sum(jax.tree.leaves(part)[0].shape[0] for part in self.done)

    def _append(self, out, n: int, bar) -> None:
        self.done.append(jax.tree.map(lambda x: np.asarray(x)[:n], out))
        stats = self.done[-1][2]
        if "diverging" in stats:
            total = sum(int(part[2]["diverging"].sum()) for part in self.done)
            bar.set_postfix(divergences=total)
        bar.update(n)

    def _goal(self, goal: int, bar) -> int:
        """Return how many draws there shall be: more than before where those did not do."""
        while self._num_done() >= goal and goal < self.max_draws and not self.enough(self.collected(goal)):
            goal = min(goal + goal // 2 + 1, self.max_draws)
            bar.total = goal
            bar.refresh()
        return goal

    # Checkpoints hold the chains' state and all draws so far

    def _note(self) -> dict[str, Any] | None:
        return read_note(self.path, self.mark) if self.path is not None and self.path.exists() else None

    def _keep(self, state, warmed: int, now: bool = False) -> None:
        if self.path is None or not (
            now or time.perf_counter() - self.saved_at > _SECONDS_BETWEEN_CHECKPOINTS
        ):
            return
        note = {"fingerprint": self.mark, "warmed": warmed, "num_done": self._num_done()}
        draws = [jax.tree.map(lambda *parts: np.concatenate(parts), *self.done)] if self.done else []
        save_checkpoint(self.path, (state, draws), note)
        self.saved_at = time.perf_counter()

    def _finish(self, status: str) -> None:
        if self.path is not None and status == "done":
            self.path.unlink(missing_ok=True)


def _stage_at(stages: Sequence[Stage], step: int) -> Stage:
    """Return the stage that a warm-up step belongs to."""
    return [stage for stage in stages if stage.begin <= step][-1]


def _recenter_steps(num_warmup: int, begin: int) -> list[int]:
    """Return after which warm-up steps coordinates are measured anew: three times in the first half from ``begin`` on.

    The maximum is no typical point in thousands of dimensions, and curvature there is not that of the bulk.
    """
    steps = (
        begin + max(1, round((num_warmup - begin) * part / chunks.CHUNK)) * chunks.CHUNK
        for part in (0.15, 0.3, 0.5)
    )
    return sorted({step for step in steps if step < num_warmup})


def _last_measured_step(begin: int, num_warmup: int) -> int:
    """Return the warm-up step until which mixing is measured, from ``begin`` on: a chunk before the end."""
    return begin + max((num_warmup - begin) // chunks.CHUNK - 1, 0) * chunks.CHUNK


def _check_sizes(num_chains: int, num_warmup: int, num_draws: int) -> None:
    for name, value, least in (
        ("num_chains", num_chains, 1),
        ("num_warmup", num_warmup, 0),
        ("num_draws", num_draws, 1),
    ):
        if value < least:
            raise ConfigError(f"{name} is {value}; it must be at least {least}.")


def _starts(density: AbstractDensity, start, num_chains: int) -> list[Position]:
    if start is None:
        start = density.initial_position()
    starts = list(start) if isinstance(start, (list, tuple)) else [start]
    if len(starts) not in (1, num_chains):
        raise ConfigError(
            f"start holds {len(starts)} positions for {num_chains} chains; give one, or one for each."
        )
    starts = [jax.tree.map(jnp.asarray, position) for position in starts]
    for position in starts:
        density.check_position(position)
    return starts


def _first_coordinates(key: PRNGKeyArray, whitening: Whitening, starts, num_chains: int, disperse: bool):
    dtype = whitening.rest.diagonal.dtype
    if disperse:
        return jax.random.normal(key, (num_chains, whitening.size), dtype)
    z = coordinates_of(whitening, jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)).astype(dtype)
    return jnp.broadcast_to(z, (num_chains, whitening.size))
