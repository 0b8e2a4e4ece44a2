"""Hamiltonian Monte Carlo, NUTS and MALA: settings around blackjax kernels."""

from typing import Any

import blackjax.mcmc.hmc
import blackjax.mcmc.mala
import blackjax.mcmc.nuts
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.samplers.base import AbstractKernel, Tuning


class NUTS(AbstractKernel):
    """The no-U-turn sampler (Hoffman & Gelman 2014), with multinomial sampling along the trajectory.

    Parameters
    ----------
    target_acceptance
        Mean acceptance that warm-up adapts the step size to.
    max_doublings
        Trajectories have at most ``2**max_doublings`` steps.
    energy
        ``log_prob``: energies from the density's values. ``auto`` is the same.
    """

    uses_mass = True
    target_acceptance: float = eqx.field(static=True, default=0.8)
    max_doublings: int = eqx.field(static=True, default=10)
    energy: str = eqx.field(static=True, default="auto")

    def init(self, log_prob, z: Float[Array, " n"]):
        return blackjax.mcmc.hmc.init(z, log_prob)

    def step(
        self, key: PRNGKeyArray, shared: PRNGKeyArray, state, log_prob, integrator, tuning: Tuning
    ) -> tuple[Any, dict[str, Array]]:
        kernel = blackjax.mcmc.nuts.build_kernel(integrator)
        state, info = kernel(
            key, state, log_prob, tuning.step_size, tuning.inverse_mass, max_num_doublings=self.max_doublings
        )
        return state, {
            "log_prob": state.logdensity,
            "acceptance_rate": info.acceptance_rate,
            "diverging": info.is_divergent,
            "energy": info.energy,
            "num_steps": info.num_integration_steps,
        }


class HMC(AbstractKernel):
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
    max_steps
        Trajectories have at most this many steps.
    target_acceptance
        Mean acceptance that warm-up adapts the step size to.
    energy
        ``log_prob``: energies from the density's values. ``auto`` is the same.
    """

    uses_mass = True
    trajectory_length: float = eqx.field(static=True, default=3.0)
    max_steps: int = eqx.field(static=True, default=256)
    target_acceptance: float = eqx.field(static=True, default=0.8)
    energy: str = eqx.field(static=True, default="auto")

    def init(self, log_prob, z: Float[Array, " n"]):
        return blackjax.mcmc.hmc.init(z, log_prob)

    def step(
        self, key: PRNGKeyArray, shared: PRNGKeyArray, state, log_prob, integrator, tuning: Tuning
    ) -> tuple[Any, dict[str, Array]]:
        # All chains share the length: together they would have to wait for the longest.
        length = self.trajectory_length * jax.random.uniform(shared, (), tuning.step_size.dtype, 1 / 3, 5 / 3)
        most = jnp.minimum(self.max_steps, tuning.max_steps)
        num_steps = jnp.clip(jnp.ceil(length / tuning.step_size), 1, most).astype(int)
        step_size = jnp.minimum(
            tuning.step_size, length / num_steps
        )  # so that the length is as random as drawn
        kernel = blackjax.mcmc.hmc.build_kernel(integrator)
        state, info = kernel(key, state, log_prob, step_size, tuning.inverse_mass, num_steps)
        return state, {
            "log_prob": state.logdensity,
            "acceptance_rate": info.acceptance_rate,
            "diverging": info.is_divergent,
            "energy": info.energy,
            "num_steps": num_steps,
        }


class MALA(AbstractKernel):
    """The Metropolis-adjusted Langevin algorithm: one step along the score, then accept or reject.

    Parameters
    ----------
    target_acceptance
        0.57 is best in high dimension (Roberts & Rosenthal 1998).
    energy
        ``log_prob``: values from the density. ``auto`` is the same.
    """

    uses_mass = False
    target_acceptance: float = eqx.field(static=True, default=0.57)
    energy: str = eqx.field(static=True, default="auto")

    def init(self, log_prob, z: Float[Array, " n"]):
        return blackjax.mcmc.mala.init(z, log_prob)

    def step(
        self, key: PRNGKeyArray, shared: PRNGKeyArray, state, log_prob, integrator, tuning: Tuning
    ) -> tuple[Any, dict[str, Array]]:
        kernel = blackjax.mcmc.mala.build_kernel()
        state, info = kernel(key, state, log_prob, tuning.step_size)
        return state, {
            "log_prob": state.logdensity,
            "acceptance_rate": info.acceptance_rate,
            "num_steps": jnp.ones((), int),
        }

    def first_step_size(self, size: int) -> float:
        return size ** (-1 / 3)
