"""The most probable position."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, PyTree
from tqdm.auto import tqdm

from scoresample.density.base import AbstractDensity, Position
from scoresample.errors import ConfigError
from scoresample.numerics.trees import num_elements
from scoresample.samplers.climber import CHUNK, Climber
from scoresample.samplers.endings import Deadline, RunEnded
from scoresample.samplers.interruption import noting_ctrl_c
from scoresample.samplers.whitening import add_curvature, local_whitening

_DIRECTIONS = 50  # of curvature; L-BFGS finds more by itself
_ROUND = 2  # chunks of L-BFGS before the scales are first measured anew; later twice as many


class MAPHistory(NamedTuple):
    """What happened at each step: log_prob (NaN where there is none), score norm, step length."""

    log_prob: Float[np.ndarray, " step"]
    score_norm: Float[np.ndarray, " step"]
    step_norm: Float[np.ndarray, " step"]


class MAPResult(NamedTuple):
    """The outcome of `find_map`.

    Attributes
    ----------
    position
        The last position. L-BFGS never takes a step down, so that its last is its best; Adam may.
    status
        ``converged``, ``max_steps``, ``not finite``, ``out of time`` or ``interrupted``.
    history
        One entry per step.
    """

    position: Position
    status: str
    history: MAPHistory


def find_map(
    density: AbstractDensity,
    start: PyTree[ArrayLike] | None = None,
    *,
    method: str = "auto",
    max_steps: int = 1000,
    learning_rate: float = 0.1,
    tolerance: float = 0.02,
    max_seconds: float | None = None,
    progress: bool = True,
) -> MAPResult:
    r"""Climb to a maximum of a density.

    Works in whitened coordinates, :math:`\theta = \theta_0 + L z`: by the prior, and by the leading curvature
    at the point reached, measured anew after 40 and 80 steps and every 80 from there. One unit of z is about one
    posterior standard deviation. Stops when the root mean square of the score in z is below ``tolerance`` (the density
    of D coordinates is then within ``D tolerance**2 / 2`` nats of its maximum) and steps are below ten times that; or,
    with the score below ten times the tolerance, when 40 steps of L-BFGS gained less than a quarter of those nats.
    Rounding keeps the score of large scenes from falling further.

    Parameters
    ----------
    density
        What to climb; a posterior brings its own start.
    start
        First position.
    method
        ``lbfgs`` (optax, with a line search on log_prob), ``adam`` (optax, cosine one-cycle schedule over
        ``max_steps``: needs only the score), or ``auto``: lbfgs where log_prob exists.
    max_steps
        At most this many steps.
    learning_rate
        Peak of Adam's schedule, in prior standard deviations.
    tolerance
        On score and step, in inverse and plain prior standard deviations.
    max_seconds
        After so long the climb ends where it is; None for any time.
    progress
        Whether to show a bar.

    Returns
    -------
    The position and how it went. Ctrl-C ends the climb and keeps what was reached.

    Raises
    ------
    PositionError
        If ``start`` does not fit.
    ScoreOnlyError
        If ``method="lbfgs"`` and a term has only a score.
    """
    if method not in ("auto", "lbfgs", "adam"):
        raise ConfigError(f"method is {method!r}; it must be 'auto', 'lbfgs' or 'adam'.")
    deadline = Deadline(max_seconds)
    if start is None:
        start = density.initial_position()
        easier = density.easier()
        if easier is not None:
            first = find_map(
                easier,
                start,
                method=method,
                max_steps=max_steps,
                learning_rate=learning_rate,
                tolerance=tolerance,
                max_seconds=deadline.seconds_left,
                progress=progress,
            )
            if first.status in ("interrupted", "out of time", "not finite"):
                return first
            start = first.position
    start = jax.tree.map(jnp.asarray, start)
    density.check_position(start)
    if method == "lbfgs" and not density.has_log_prob:
        density.log_prob(start)  # raises ScoreOnlyError naming the term
    method = ("lbfgs" if density.has_log_prob else "adam") if method == "auto" else method
    original = density.for_map(start)
    compiled = original.for_compilation()
    size = num_elements(start)
    if size == 0:
        empty = np.zeros(0)
        return MAPResult(start, "converged", MAPHistory(empty, empty, empty))
    climber = Climber(method, max_steps, learning_rate)
    rows, status, reached = [], "max_steps", start
    with tqdm(total=max_steps, desc="MAP", disable=not progress) as bar, noting_ctrl_c() as stop_if_pressed:
        try:
            while len(rows) < max_steps and status == "max_steps":
                whitening = local_whitening(original, reached)
                if whitening.local is None:  # nothing is known of the scales but what curvature tells
                    key = jax.random.fold_in(jax.random.key(0), len(rows))
                    whitening, _ = add_curvature(key, compiled, whitening, num_directions=_DIRECTIONS)
                state = climber.init(compiled, whitening)
                in_round = _ROUND * (1 if len(rows) < 2 * _ROUND * CHUNK else 2)
                for _ in range(in_round if method == "lbfgs" else max_steps):
                    stop_if_pressed()
                    deadline.check(f"{len(rows)} steps")
                    num_steps = min(CHUNK, max_steps - len(rows))
                    if num_steps == 0:
                        break
                    state, reached, chunk = climber.climb(compiled, whitening, state, num_steps)
                    rows.extend(np.asarray(chunk)[:num_steps])
                    bar.update(num_steps)
                    bar.set_postfix(log_prob=f"{rows[-1][0]:.2f}", score=f"{rows[-1][1]:.3g}")
                    status = _judge(rows[-num_steps:], tolerance, climber.method)
                    if status != "max_steps":
                        break
                if method == "lbfgs" and status == "max_steps" and _is_flat(rows, tolerance, size):
                    status = "converged"
        except KeyboardInterrupt:
            status = "interrupted"
        except RunEnded:
            status = "out of time"
    columns = np.asarray(rows).reshape(-1, 3).T
    return MAPResult(reached, status, MAPHistory(*columns))


def _judge(rows: list, tolerance: float, method: str) -> str:
    """Return the status after the given last steps."""
    last = np.asarray(rows)
    if not np.all(np.isfinite(last[-1, 0 if method == "lbfgs" else 1 :])):
        return "not finite"
    return "converged" if last[-1, 1] < tolerance and last[:, 2].max() < 10 * tolerance else "max_steps"


def _is_flat(rows: list, tolerance: float, size: int) -> bool:
    """Return whether the last round of L-BFGS gained next to nothing near a maximum."""
    last = np.asarray(rows[-_ROUND * CHUNK :], float)
    gained = last[-1, 0] - last[0, 0]
    whole_round = len(last) == _ROUND * CHUNK
    return whole_round and bool(last[-1, 1] < 10 * tolerance and gained < size * tolerance**2 / 8)
