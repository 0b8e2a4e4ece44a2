"""How Hamiltonian trajectories are followed: integrators for blackjax kernels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from blackjax.mcmc.integrators import IntegratorState
from jaxtyping import Array, Float, Int

from scoresample.samplers.energies import AbstractTarget, Quadrature, Vector, WorkTarget

Integrator = Callable[[AbstractTarget, Callable], Callable]
"""Maps (target, kinetic energy) to a function of (`IntegratorState`, step size)."""

MAX_ROTATION = 1.0
"""Largest step of a rotation that is worth taking: near a whole turn it would lead back to where it began."""


def leapfrog(target: AbstractTarget, kinetic_energy: Callable) -> Callable:
    """Return the usual steps: half a kick by the score, a straight drift, half a kick."""

    def step(state: IntegratorState, step_size) -> IntegratorState:
        z, momentum, _, known = state
        momentum = momentum + 0.5 * step_size * target.score(known)
        z = z + step_size * jax.grad(kinetic_energy)(momentum)
        value, known = target.follow(state, z)
        return IntegratorState(z, momentum + 0.5 * step_size * target.score(known), value, known)

    return step


def rotate(z: Vector, momentum: Vector, angle: float | Float[Array, ""]) -> tuple[Vector, Vector]:
    """Return position and momentum after some time of a standard normal's own motion."""
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return cosine * z + sine * momentum, cosine * momentum - sine * z


def rotation(target: AbstractTarget, kinetic_energy: Callable) -> Callable:
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

    def step(state: IntegratorState, step_size) -> IntegratorState:
        z, momentum, _, known = state
        momentum = momentum + 0.5 * step_size * (target.score(known) + z)
        z, momentum = rotate(z, momentum, step_size)
        value, known = target.follow(state, z)
        return IntegratorState(z, momentum + 0.5 * step_size * (target.score(known) + z), value, known)

    return step


def whole_trajectory(integrator: Integrator, num_steps: int | Int[Array, ""], rule: Quadrature) -> Integrator:
    """Return the integrator whose one step is a trajectory, with one integral of the score from end to end.

    For a `WorkTarget` without a rule of its own. Where the score is a gradient, work does not depend on the way.
    """

    def of(target: WorkTarget, kinetic_energy: Callable) -> Callable:
        one = integrator(target, kinetic_energy)

        def step(state: IntegratorState, step_size) -> IntegratorState:
            end = jax.lax.fori_loop(0, num_steps, lambda _, now: one(now, step_size), state)
            work = target.work(state.position, end.position, rule)
            return end._replace(logdensity=end.logdensity + work)

        return step

    return of
