"""Warm-up: the step size, and where nothing better is known the scales, learned from the chains."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.mass_matrix import MassMatrixAdaptationState, mass_matrix_adaptation
from blackjax.adaptation.step_size import DualAveragingAdaptationState, dual_averaging_adaptation
from blackjax.adaptation.window_adaptation import build_schedule
from jaxtyping import Array, Float, Int

from scoresample.samplers.base import Tuning

WARM_UP_SCORES = 25
"""Most scores of a trajectory of given length during warm-up, until it is known how long trajectories are to be; on the
HSC scene it halves the cost of warm-up."""

SHRINKAGE = 0.15
"""How strongly dual averaging holds the logarithm of the step size, in coordinates that are known to be round. With
blackjax's 0.05, as in Stan, one chain that refuses a step divides the next by two: in scene 2 of the gallery draws
accepted 90 % where 80 were asked for, and 98 % in coordinates that were tried, after 25 steps of 0.05 to 0.72."""

_NO_LIMIT = np.iinfo(np.int32).max


class AdaptationState(NamedTuple):
    """State of blackjax's dual averaging and of its mass matrix estimate, and how long trajectories are to be.

    ``max_scores`` is the most of a trajectory of given length.
    """

    step_size: DualAveragingAdaptationState
    mass: MassMatrixAdaptationState
    stretch: Float[Array, ""]
    max_scores: Int[Array, ""]


class WindowAdaptation(NamedTuple):
    """Stan's warm-up in windows, one for all chains together.

    All chains share the step size and the mass matrix: their mean acceptance drives dual averaging, and
    every chain's position enters the variance of a slow window, which makes short warm-ups enough.

    Attributes
    ----------
    target_acceptance
        Of the step size.
    adapt_mass
        Whether slow windows estimate a diagonal mass matrix. Needless in whitened coordinates.
    step_size
        That of all steps; None to find one.
    """

    target_acceptance: float
    adapt_mass: bool
    step_size: float | None = None

    @property
    def _dual_averaging(self):
        """Return blackjax's functions that begin, advance and end the search of a step size."""
        shrinkage = {} if self.adapt_mass else {"gamma": SHRINKAGE}
        return dual_averaging_adaptation(self.target_acceptance, **shrinkage)

    def schedule(self, num_warmup: int) -> tuple[np.ndarray, np.ndarray]:
        """Return for each step whether it is in a slow window, and whether it ends one."""
        if num_warmup == 0:
            return np.zeros(0, bool), np.zeros(0, bool)
        schedule = np.asarray([(int(a), bool(b)) for a, b in build_schedule(num_warmup)])
        return schedule[:, 0].astype(bool) & self.adapt_mass, schedule[:, 1].astype(bool) & self.adapt_mass

    def init(self, size: int, step_size: float, dtype) -> AdaptationState:
        """Return the state before the first step."""
        mass_init, _, _ = mass_matrix_adaptation(True)
        step_init, _, _ = self._dual_averaging
        state = AdaptationState(
            step_init(jnp.asarray(step_size, dtype)),
            mass_init(size),
            jnp.ones((), dtype),
            jnp.asarray(WARM_UP_SCORES),
        )

        def fixed(x):
            # Without its dtype spelled out, a number stays weakly typed and the loops over steps compile twice.
            return jnp.asarray(x, dtype if jnp.result_type(x).kind == "f" else jnp.result_type(x))

        return jax.tree.map(fixed, state)

    def restart(self, state: AdaptationState) -> AdaptationState:
        """Return the state for new coordinates much like the old: averages begin anew, at the step size so far.

        Dual averaging is drawn towards ten times the step size it starts with, which costs many small steps
        after the large ones are refused; here it is twice the average so far.
        """
        average = state.step_size.log_step_size_avg
        step_init, _, _ = self._dual_averaging
        fresh = step_init(jnp.exp(average) / 5)._replace(log_step_size=average, log_step_size_avg=average)
        return state._replace(
            step_size=jax.tree.map(lambda a, b: jnp.asarray(a, b.dtype), fresh, state.step_size)
        )

    def lengthened(self, state: AdaptationState, stretch: float) -> AdaptationState:
        """Return the state for trajectories as long as those of the draws, so much longer than the sampler's.

        Long ones come to steeper places: of the steps that 80 % of short trajectories can take they may refuse half.
        """
        if stretch > 1:
            state = self.restart(state)
        return state._replace(
            stretch=jnp.full_like(state.stretch, stretch),
            max_scores=jnp.full_like(state.max_scores, _NO_LIMIT),
        )

    def update(
        self,
        state: AdaptationState,
        positions: Float[Array, "chain n"],
        acceptance: Float[Array, " chain"],
        slow: Array,
        ends_window: Array,
    ) -> AdaptationState:
        """Return the state after one step of all chains."""
        _, mass_update, mass_final = mass_matrix_adaptation(True)
        step_init, step_update, step_final = self._dual_averaging
        step_size = step_update(state.step_size, jnp.mean(jnp.nan_to_num(acceptance)))

        def learn(mass):
            return jax.lax.fori_loop(0, positions.shape[0], lambda i, m: mass_update(m, positions[i]), mass)

        mass = jax.lax.cond(slow, learn, lambda m: m, state.mass)
        mass = jax.lax.cond(ends_window, mass_final, lambda m: m, mass)
        restarted = step_init(step_final(step_size))
        step_size = jax.tree.map(
            lambda a, b: jnp.where(ends_window, a, b).astype(b.dtype), restarted, step_size
        )
        return state._replace(step_size=step_size, mass=mass)

    def current(self, state: AdaptationState) -> Tuning:
        """Return what the next warm-up step uses."""
        return self._tuning(state, state.step_size.log_step_size, state.max_scores)

    def final(self, state: AdaptationState) -> Tuning:
        """Return what the draws use: the averaged step size."""
        return self._tuning(
            state, state.step_size.log_step_size_avg, jnp.full_like(state.max_scores, _NO_LIMIT)
        )

    def _tuning(
        self, state: AdaptationState, log_step_size: Float[Array, ""], max_scores: Int[Array, ""]
    ) -> Tuning:
        step_size = jnp.exp(log_step_size)
        if self.step_size is not None:
            step_size = jnp.full_like(step_size, self.step_size)
        return Tuning(step_size, state.mass.inverse_mass_matrix, max_scores, state.stretch)
