"""What HMC, NUTS and MALA share: how the change of energy along a trajectory is known."""

import abc

import equinox as eqx
import jax.numpy as jnp
from blackjax.mcmc.hmc import HMCState
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.density.base import AbstractDensity
from scoresample.errors import ConfigError
from scoresample.samplers.base import AbstractKernel, Tuning
from scoresample.samplers.energies import QUADRATURES, AbstractTarget, Quadrature, WorkTarget
from scoresample.samplers.targets import check_energy, flat_target, with_energy_decided
from scoresample.samplers.whitening import Whitening

ENERGIES = ("auto", "log_prob", "line_integral")


class AbstractHamiltonian(AbstractKernel):
    r"""A kernel that follows trajectories and accepts or rejects by the change of energy.

    ``energy`` says how that change is known:

    - ``log_prob``: from values of the density. A term that has none raises `ScoreOnlyError` before compiling.
    - ``line_integral``: values where there are some, and for terms without value the work of their score along the
      trajectory (`samplers.energies.WorkTarget`), by the rule that ``quadrature`` names: ``simpson``, or
      Gauss-Legendre with 2 to 4 points, ``gauss2`` to ``gauss4``. Where every term has a value the work of the whole
      score is taken, to see what a rule costs.
    - ``auto``: ``log_prob`` where every term has a value, else ``line_integral``.

    ``integrator`` says how the trajectory is followed: ``leapfrog``, one score in a step, or ``two_stage``, two scores
    in a step that is more than twice as long at the same acceptance (`samplers.integrators.Splitting`). In coordinates
    that are known to be round both follow a standard normal exactly.
    """

    quadratures = ("simpson", "gauss2", "gauss3", "gauss4")
    integrators = ("leapfrog", "two_stage")
    energy: eqx.AbstractVar[str]
    quadrature: eqx.AbstractVar[str]
    integrator: eqx.AbstractVar[str]

    @property
    def num_stages(self) -> int:
        return 2 if self.integrator == "two_stage" else 1

    @property
    def rule(self) -> Quadrature:
        """The rule of integration of ``line_integral``."""
        return QUADRATURES[self.quadrature]

    def check(self, density: AbstractDensity) -> None:
        check_energy(self.name, self.energy, ENERGIES, density)
        if self.quadrature not in self.quadratures:
            raise ConfigError(
                f"{self.name}: quadrature is {self.quadrature!r}; it must be one of {', '.join(self.quadratures)}."
            )
        if self.integrator not in self.integrators:
            raise ConfigError(
                f"{self.name}: integrator is {self.integrator!r}; it must be one of {', '.join(self.integrators)}."
            )

    def resolved(self, density: AbstractDensity) -> "AbstractHamiltonian":
        return with_energy_decided(self, density)

    def target(self, density: AbstractDensity, whitening: Whitening) -> AbstractTarget:
        rule = None if self.quadrature == "chord" else self.rule
        return flat_target(density, whitening, by_value=self.energy == "log_prob", rule=rule)

    def init(self, target: AbstractTarget, z: Float[Array, " n"]) -> HMCState:
        return HMCState(z, *target.start(z))

    def step(
        self,
        key: PRNGKeyArray,
        shared: PRNGKeyArray,
        state: HMCState,
        target: AbstractTarget,
        integrator,
        tuning: Tuning,
    ) -> tuple[HMCState, dict[str, Array]]:
        if not isinstance(target, WorkTarget):
            state, stats = self.move(key, shared, state, target, integrator, tuning)
            return state, stats | {"log_prob": state.logdensity}
        # Only differences along a trajectory matter; begun at 0 they are sharper in single precision. The sum of those
        # accepted goes on beside them: it says how energy varies, from a zero that each chain has for itself.
        reached = state.logdensity
        begin = state._replace(logdensity=jnp.zeros_like(reached))
        end, stats = self.move(key, shared, begin, target, integrator, tuning)
        end = end._replace(logdensity=end.logdensity + reached)
        return end, stats | {"energy": stats["energy"] - reached, "log_prob_change": end.logdensity}

    @abc.abstractmethod
    def move(
        self,
        key: PRNGKeyArray,
        shared: PRNGKeyArray,
        state: HMCState,
        target: AbstractTarget,
        integrator,
        tuning: Tuning,
    ) -> tuple[HMCState, dict[str, Array]]:
        """Return the next state and statistics of the trajectory."""
