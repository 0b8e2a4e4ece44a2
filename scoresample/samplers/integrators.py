"""How Hamiltonian trajectories are followed: integrators for blackjax kernels."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from blackjax.mcmc.integrators import IntegratorState
from jaxtyping import Array, Float, Int

from scoresample.samplers.energies import AbstractTarget, Quadrature, Vector, WorkTarget

Integrator = Callable[[AbstractTarget, Callable], Callable]
"""Maps (target, kinetic energy) to a function of (`IntegratorState`, step size)."""

MAX_ROTATION = 1.0
"""Largest step of a rotation that is worth taking: near a whole turn it would lead back to where it began."""


LEAPFROG = (0.5, 0.5)
"""Kicks of a step of one stage, in units of the step."""

TWO_STAGE = (0.1931833275037836, 0.6136333449924328, 0.1931833275037836)
"""Kicks of a step of two stages, with the least norm of its error (McLachlan 1995, SIAM J. Sci. Comput. 16, 151)."""


class Splitting(NamedTuple):
    r"""Steps that alternate between kicks by a force and a motion that is followed exactly.

    With kicks :math:`b_0 \ldots b_m` and the motion :math:`\varphi_t`, a step of size :math:`\epsilon` is

    .. math:: p \leftarrow p + b_0 \epsilon f(z); \quad
              (z, p) \leftarrow \varphi_{\epsilon/m}(z, p), \; p \leftarrow p + b_i \epsilon f(z),
              \quad i = 1 \ldots m

    and costs m scores. With kicks that read the same backwards it is reversible, and it keeps volume, so that
    accept/reject by the change of energy is exact. Each stage ends at a point that the target is told of, so that the
    work of a score is summed over stages.

    Attributes
    ----------
    motion
        Maps position, momentum, velocity of a momentum and a time to position and momentum.
    force
        Maps a position and the score there to what kicks.
    kicks
        b; their sum is 1.
    """

    motion: Callable
    force: Callable
    kicks: tuple[float, ...] = LEAPFROG

    @property
    def num_stages(self) -> int:
        """Scores for each step."""
        return len(self.kicks) - 1

    def in_stages(self, num_stages: int) -> "Splitting":
        """Return the steps with one stage or two."""
        return self._replace(kicks={1: LEAPFROG, 2: TWO_STAGE}[num_stages])

    def __call__(self, target: AbstractTarget, kinetic_energy: Callable) -> Callable:
        """Return a function of (`IntegratorState`, step size), as blackjax kernels want it."""
        velocity = jax.grad(kinetic_energy)

        def kicked(state: IntegratorState, impulse) -> IntegratorState:
            force = self.force(state.position, target.score(state.logdensity_grad))
            return state._replace(momentum=state.momentum + impulse * force)

        def step(state: IntegratorState, step_size) -> IntegratorState:
            kicks = [kick * step_size for kick in self.kicks]

            def stage(index, state: IntegratorState) -> IntegratorState:
                z, momentum = self.motion(
                    state.position, state.momentum, velocity, step_size / self.num_stages
                )
                value, known = target.follow(state, z)
                return kicked(IntegratorState(z, momentum, value, known), jnp.stack(kicks[1:])[index])

            state = kicked(state, kicks[0])
            if self.num_stages == 1:
                return stage(0, state)
            return jax.lax.fori_loop(0, self.num_stages, stage, state)  # a loop, for one score to compile

        return step


def rotate(z: Vector, momentum: Vector, angle: float | Float[Array, ""]) -> tuple[Vector, Vector]:
    """Return position and momentum after some time of a standard normal's own motion."""
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return cosine * z + sine * momentum, cosine * momentum - sine * z


leapfrog = Splitting(
    motion=lambda z, momentum, velocity, time: (z + time * velocity(momentum), momentum),
    force=lambda z, score: score,
)
"""The usual steps: kicks by the score, a straight drift between them."""

rotation = Splitting(
    motion=lambda z, momentum, velocity, time: rotate(z, momentum, time),
    force=lambda z, score: score + z,
)
r"""Steps that follow a standard normal exactly, and kick only by what the score has beyond :math:`-z`.

Their error comes from that rest alone: in coordinates where a posterior is nearly standard normal, steps need not
shrink with the number of dimensions (Shahbaba et al. 2014, Split HMC; Beskos et al. 2011, HMC on Hilbert
spaces). The mass matrix must be the identity.
"""


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
