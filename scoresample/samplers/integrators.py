"""How Hamiltonian trajectories are followed: integrators for blackjax kernels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from blackjax.mcmc.integrators import IntegratorState, velocity_verlet

Integrator = Callable[[Callable, Callable], Callable]
"""Maps (log density, kinetic energy) to a function of (`IntegratorState`, step size)."""

leapfrog: Integrator = velocity_verlet
"""The usual one: half a kick by the score, a straight drift, half a kick."""


MAX_ROTATION = 1.0
"""Largest step of a rotation that is worth taking: near a whole turn it would lead back to where it began."""


def rotation(log_prob: Callable, kinetic_energy: Callable) -> Callable:
    r"""Return steps that follow a standard normal exactly, and kick only by what is left of the score.

    With the score :math:`s(z) = -z + r(z)`, a step of size :math:`\epsilon` is

    .. math:: p \leftarrow p + \tfrac\epsilon2 r(z), \quad
              (z, p) \leftarrow (z \cos\epsilon + p \sin\epsilon,\; p \cos\epsilon - z \sin\epsilon), \quad
              p \leftarrow p + \tfrac\epsilon2 r(z).

    It is reversible and keeps volume, so accept/reject by the change of energy is exact as it is for leapfrog.
    Its error comes from r alone: in coordinates where a posterior is nearly standard normal, steps need not
    shrink with the number of dimensions (Shahbaba et al. 2014, Split HMC; Beskos et al. 2011, HMC on Hilbert
    spaces). The mass matrix must be the identity.
    """
    value_and_grad = jax.value_and_grad(log_prob)

    def step(state: IntegratorState, step_size) -> IntegratorState:
        z, momentum, _, score = state
        momentum = momentum + 0.5 * step_size * (score + z)
        cosine, sine = jnp.cos(step_size), jnp.sin(step_size)
        z, momentum = cosine * z + sine * momentum, cosine * momentum - sine * z
        value, score = value_and_grad(z)
        return IntegratorState(z, momentum + 0.5 * step_size * (score + z), value, score)

    return step
