"""The most probable position."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from tqdm.auto import tqdm

from scoresample.density.base import AbstractDensity, Position
from scoresample.errors import ConfigError
from scoresample.numerics.trees import flatten
from scoresample.samplers.whitening import Whitening, prior_whitening


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
        The last position; the best one when log_prob exists.
    status
        ``converged``, ``max_steps``, ``not finite`` or ``interrupted``.
    history
        One entry per step.
    """

    position: Position
    status: str
    history: MAPHistory


def find_map(
    density: AbstractDensity,
    start: Position | None = None,
    *,
    method: str = "auto",
    max_steps: int = 1000,
    learning_rate: float = 0.1,
    tolerance: float = 0.02,
    progress: bool = False,
) -> MAPResult:
    r"""Climb to a maximum of a density.

    Works in coordinates whitened by the prior, :math:`\theta = \theta_0 + L z`, where one unit is one prior
    standard deviation in every direction. Stops when the root mean square of the score in z and of the last
    step are both below ``tolerance``.

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
    if start is None:
        start = _own_start(density)
    density.check_position(start)
    if method == "lbfgs" and not density.has_log_prob:
        density.log_prob(start)  # raises ScoreOnlyError naming the term
    method = ("lbfgs" if density.has_log_prob else "adam") if method == "auto" else method
    compiled = density.for_map().for_compilation()
    whitening = prior_whitening(compiled, start)
    if whitening.size == 0:
        empty = np.zeros(0)
        return MAPResult(start, "converged", MAPHistory(empty, empty, empty))
    climber = _Climber(method, max_steps, learning_rate)
    state = climber.init(whitening)
    rows, status = [], "max_steps"
    with tqdm(total=max_steps, desc="MAP", disable=not progress) as bar:
        try:
            while len(rows) < max_steps:
                num_steps = min(_CHUNK, max_steps - len(rows))
                state, chunk = _climb(climber, compiled, whitening, state, num_steps)
                rows.extend(np.asarray(chunk)[:num_steps])
                bar.update(num_steps)
                bar.set_postfix(score=f"{rows[-1][1]:.3g}")
                if not np.isfinite(rows[-1]).all(where=[density.has_log_prob, True, True]):
                    status = "not finite"
                    break
                recent = np.asarray(rows[-num_steps:])
                if recent[-1, 1] < tolerance and recent[-1, 2] < tolerance:
                    status = "converged"
                    break
        except KeyboardInterrupt:
            status = "interrupted"
    columns = np.asarray(rows).reshape(-1, 3).T
    return MAPResult(whitening.position(state[0]), status, MAPHistory(*columns))


_CHUNK = 20  # steps between looks at convergence, progress and Ctrl-C


def _own_start(density: AbstractDensity) -> Position:
    if not hasattr(density, "initial_position"):
        raise ConfigError("this density has no start of its own; pass start, a position to climb from.")
    return density.initial_position()


class _Climber(eqx.Module):
    """An optimizer with its settings: what compiled code depends on."""

    method: str = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    learning_rate: float = eqx.field(static=True)

    def optimizer(self) -> optax.GradientTransformationExtraArgs:
        if self.method == "lbfgs":
            return optax.lbfgs(memory_size=20, linesearch=optax.scale_by_backtracking_linesearch(max_backtracking_steps=20, store_grad=True))
        schedule = optax.cosine_onecycle_schedule(self.max_steps, self.learning_rate, pct_start=0.2)
        return optax.adam(schedule)

    def init(self, whitening: Whitening):
        z = jnp.zeros(whitening.size, flatten(whitening.center)[0].dtype)
        return z, self.optimizer().init(z)


@eqx.filter_jit
def _climb(climber: _Climber, density: AbstractDensity, whitening: Whitening, state, num_steps):
    """Take steps in one compiled piece; returns the state and rows of (log_prob, score rms, step rms)."""
    optimizer = climber.optimizer()

    def loss(z):
        return -density.log_prob(whitening.position(z))

    def step(index, carry):
        z, memory, rows = carry
        if climber.method == "lbfgs":
            value, gradient = optax.value_and_grad_from_state(loss)(z, state=memory)
            updates, memory = optimizer.update(gradient, memory, z, value=value, grad=gradient, value_fn=loss)
        else:
            position, pull_back = jax.vjp(whitening.position, z)
            gradient = -pull_back(density.score(position))[0]
            value = jnp.nan
            updates, memory = optimizer.update(gradient, memory, z)
        row = jnp.stack([-value, _rms(gradient), _rms(updates)])
        return optax.apply_updates(z, updates), memory, rows.at[index].set(row)

    z, memory = state
    rows = jnp.zeros((_CHUNK, 3), z.dtype)
    z, memory, rows = jax.lax.fori_loop(0, jnp.asarray(num_steps), step, (z, memory, rows))
    return (z, memory), rows


def _rms(vector: Float[Array, " n"]) -> Float[Array, ""]:
    return jnp.sqrt(jnp.mean(vector**2))
