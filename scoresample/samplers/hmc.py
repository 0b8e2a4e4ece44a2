"""Hamiltonian Monte Carlo, NUTS and MALA: settings around blackjax kernels."""

from typing import Any

import blackjax.mcmc.hmc
import blackjax.mcmc.nuts
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.mcmc.hmc import HMCState
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.samplers.base import Tuning
from scoresample.samplers.energies import WorkTarget
from scoresample.samplers.hamiltonian import AbstractHamiltonian
from scoresample.samplers.integrators import leapfrog, whole_trajectory
from scoresample.samplers.trajectories import LENGTHS, stretch_of


class NUTS(AbstractHamiltonian):
    """The no-U-turn sampler (Hoffman & Gelman 2014), with multinomial sampling along the trajectory.

    Parameters
    ----------
    target_acceptance
        Mean acceptance that warm-up adapts the step size to.
    max_doublings
        Trajectories have at most ``2**max_doublings`` steps.
    energy, quadrature
        How energies are known, see `AbstractHamiltonian`.
    integrator
        ``leapfrog``, or ``two_stage``: two scores in each step, see `AbstractHamiltonian`.
    """

    uses_mass = True
    target_acceptance: float = eqx.field(static=True, default=0.8)
    max_doublings: int = eqx.field(static=True, default=10)
    energy: str = eqx.field(static=True, default="auto")
    quadrature: str = eqx.field(static=True, default="simpson")
    integrator: str = eqx.field(static=True, default="leapfrog")

    def move(
        self, key: PRNGKeyArray, shared: PRNGKeyArray, state: HMCState, target, integrator, tuning: Tuning
    ) -> tuple[HMCState, dict[str, Array]]:
        kernel = blackjax.mcmc.nuts.build_kernel(integrator.in_stages(self.num_stages))
        state, info = kernel(
            key, state, target, tuning.step_size, tuning.inverse_mass, max_num_doublings=self.max_doublings
        )
        return state, _statistics(info) | {"num_steps": self.num_stages * info.num_integration_steps}


class HMC(AbstractHamiltonian):
    r"""Hamiltonian Monte Carlo with trajectories of random length.

    The length l is uniform between 1/3 and 5/3 of ``trajectory_length``: a fixed one would return to its start in
    some direction (Neal 2011, sec. 5.3.2). Along a direction of width s in whitened coordinates the next draw is on
    average :math:`\overline{\cos(l/s)}` times the last, and squares keep :math:`\overline{\cos^2(l/s)}`. At a mean
    length of 3 that is -0.45 and 0.41 where the whitening is right (s = 1), 0.50 and 0.35 where the posterior is three
    times wider. Each draw is cheaper than a NUTS tree.

    Parameters
    ----------
    trajectory_length
        Mean length, in units of the posterior's standard deviation in well-conditioned coordinates.
    max_stretch
        By how much warm-up may make them longer, where something mixes slowly (`trajectories.stretch_of`); by default
        not at all: long ones come to steeper places, and need shorter steps.
    max_steps
        Trajectories have at most this many steps.
    target_acceptance
        Mean acceptance that warm-up adapts the step size to.
    energy, quadrature
        How energies are known, see `AbstractHamiltonian`. The rule ``chord`` integrates the score once for each
        trajectory, in a straight line from end to end: cheaper where trajectories are many steps long, and less exact.
    integrator
        ``two_stage``: two scores in each step, see `AbstractHamiltonian`; or ``leapfrog``.
    """

    quadratures = (*AbstractHamiltonian.quadratures, "chord")
    uses_mass = True
    trajectory_length: float = eqx.field(static=True, default=3.0)
    max_stretch: float = eqx.field(static=True, default=1.0)
    max_steps: int = eqx.field(static=True, default=256)
    target_acceptance: float = eqx.field(static=True, default=0.8)
    energy: str = eqx.field(static=True, default="auto")
    quadrature: str = eqx.field(static=True, default="simpson")
    integrator: str = eqx.field(static=True, default="two_stage")

    def move(
        self, key: PRNGKeyArray, shared: PRNGKeyArray, state: HMCState, target, integrator, tuning: Tuning
    ) -> tuple[HMCState, dict[str, Array]]:
        # All chains share the length: together they would have to wait for the longest.
        factor = jax.random.uniform(shared, (), tuning.step_size.dtype, *LENGTHS)
        length = self.trajectory_length * tuning.stretch * factor
        most = jnp.minimum(self.max_steps, tuning.max_scores // self.num_stages)
        num_steps = jnp.clip(jnp.ceil(length / tuning.step_size), 1, most).astype(int)
        step_size = jnp.minimum(
            tuning.step_size, length / num_steps
        )  # so that the length is as random as drawn
        integrator, in_parts = integrator.in_stages(self.num_stages), num_steps
        if isinstance(target, WorkTarget) and target.quadrature is None:
            integrator, in_parts = whole_trajectory(integrator, num_steps, self.rule), 1
        kernel = blackjax.mcmc.hmc.build_kernel(integrator)
        state, info = kernel(key, state, target, step_size, tuning.inverse_mass, in_parts)
        return state, _statistics(info) | {"num_steps": self.num_stages * num_steps}

    def stretch(self, positions: Float[np.ndarray, "step chain n"]) -> float:
        return stretch_of(positions, self.max_stretch) if self.max_stretch > 1 else 1.0


class MALA(AbstractHamiltonian):
    """The Metropolis-adjusted Langevin algorithm: one step along the score, then accept or reject.

    Parameters
    ----------
    target_acceptance
        0.57 is best in high dimension (Roberts & Rosenthal 1998).
    energy, quadrature
        How energies are known, see `AbstractHamiltonian`.
    """

    uses_mass = False
    integrators = ("leapfrog",)
    target_acceptance: float = eqx.field(static=True, default=0.57)
    energy: str = eqx.field(static=True, default="auto")
    quadrature: str = eqx.field(static=True, default="simpson")
    integrator: str = eqx.field(static=True, default="leapfrog", init=False)

    def move(
        self, key: PRNGKeyArray, shared: PRNGKeyArray, state: HMCState, target, integrator, tuning: Tuning
    ) -> tuple[HMCState, dict[str, Array]]:
        # A Langevin step of size h is one leap of size sqrt(2 h), whatever coordinates rotate otherwise.
        kernel = blackjax.mcmc.hmc.build_kernel(leapfrog)
        leap = jnp.sqrt(2 * tuning.step_size)
        state, info = kernel(key, state, target, leap, jnp.ones_like(state.position), 1)
        return state, _statistics(info) | {"num_steps": jnp.ones((), int)}

    def first_step_size(self, size: int) -> float:
        return size ** (-1 / 3)


def _statistics(info: Any) -> dict[str, Array]:
    return {
        "acceptance_rate": info.acceptance_rate,
        "diverging": info.is_divergent,
        "energy": info.energy,
    }
