"""Langevin sampling that goes down the noise levels of a prior before it draws."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from scoresample.density.base import AbstractDensity
from scoresample.errors import ConfigError
from scoresample.samplers.base import Stage, Tuning
from scoresample.samplers.energies import AbstractTarget
from scoresample.samplers.langevin import AbstractLangevin, LangevinState
from scoresample.samplers.targets import check_energy, flat_target, with_energy_decided
from scoresample.samplers.unadjusted import langevin_move
from scoresample.samplers.whitening import Whitening

ENERGIES = ("auto", "log_prob", "line_integral", "none")


class AnnealedLangevin(AbstractLangevin):
    r"""Langevin sampling from a large noise level of the prior down to its own, then draws at that one.

    The first part of warm-up samples the density as it is with more noise in its priors, at levels evenly spaced in
    their logarithm. With much noise modes run together, and chains get from one to the other; each level begins where
    the one before ended, in coordinates measured anew. The rest of warm-up, and the draws, are at the density's own
    level. Moves are those of `ULA`, accepted or rejected by Metropolis' rule, which is `MALA`: draws are exact, as far
    as chains have come to all modes in the right shares. Levels may be passed too fast for that, and R-hat then tells
    nothing: compare runs of more steps. Modes of the likelihood that no noise of the prior fills stay apart.

    Accept and reject act at all levels. Where the upper ones were left uncorrected, at the same step sizes, chains came
    to two modes of shares 0.7 and 0.3 equally often.

    Parameters
    ----------
    num_levels
        How many, the largest and the density's own among them.
    largest_level
        Where to begin; by default the largest that the density knows.
    share
        Of the warm-up steps, for the levels above the density's own.
    step_size, target_acceptance
        As for `ULA` and `MALA`: h, or by default the one of which Metropolis' rule accepts 0.57.
    steps_per_draw
        Moves from one draw to the next, and in each warm-up step.
    energy
        How moves are accepted and rejected, as for `MALA`; ``none`` leaves the draws unadjusted.

    References
    ----------
    Song & Ermon (2019), arXiv:1907.05600, algorithm 1: there every level has a step size in proportion to its square.
    """

    uses_mass = True
    num_levels: int = eqx.field(static=True, default=8)
    largest_level: float | None = eqx.field(static=True, default=None)
    share: float = eqx.field(static=True, default=0.5)
    step_size: float | None = eqx.field(static=True, default=None)
    target_acceptance: float = eqx.field(static=True, default=0.57)
    steps_per_draw: int = eqx.field(static=True, default=10)
    energy: str = eqx.field(static=True, default="auto")

    @property
    def unadjusted(self) -> bool:
        return self.energy == "none"

    def check(self, density: AbstractDensity) -> None:
        super().check(density)
        check_energy(self.name, self.energy, ENERGIES, density)
        if self.num_levels < 2:
            raise ConfigError(f"{self.name}: num_levels is {self.num_levels}; it must be at least 2.")
        if not 0 < self.share < 1:
            raise ConfigError(f"{self.name}: share is {self.share}; it must be between 0 and 1.")
        own, largest = self._ends(density)
        if not own < largest:
            raise ConfigError(
                f"{self.name}: largest_level is {largest:g}; it must be above the density's own level, {own:g}."
            )

    def resolved(self, density: AbstractDensity) -> "AnnealedLangevin":
        return with_energy_decided(self, density)

    def levels(self, density: AbstractDensity) -> Float[np.ndarray, " level"]:
        """Return the noise levels from the largest to the density's own.

        Above an own level of 0, which no ratio leads to, they go down to a thousandth of the largest.
        """
        own, largest = self._ends(density)
        if own > 0:
            return np.geomspace(largest, own, self.num_levels)
        return np.append(np.geomspace(largest, 1e-3 * largest, self.num_levels - 1), 0.0)

    def stages(self, density: AbstractDensity, num_warmup: int) -> tuple[Stage, ...]:
        levels = self.levels(density)
        begins = np.round(np.linspace(0, self.share * num_warmup, len(levels))).astype(int)
        if num_warmup <= begins[-1] or not (np.diff(begins) > 0).all():
            raise ConfigError(
                f"{self.name} passes {self.num_levels} noise levels in {self.share:g} of num_warmup, which is "
                f"{num_warmup}; give it at least {int(np.ceil(self.num_levels / self.share))} steps."
            )
        dtype = jnp.result_type(float)
        return tuple(
            Stage(int(begin), density.at_noise_level(jnp.asarray(level, dtype)))
            for begin, level in zip(begins, levels, strict=True)
        )

    def takes(self, key: PRNGKeyArray, log_ratio: Float[Array, ""]) -> Bool[Array, ""]:
        if self.unadjusted:
            return super().takes(key, log_ratio)
        return jnp.log(jax.random.uniform(key, (), log_ratio.dtype)) < log_ratio

    def target(self, density: AbstractDensity, whitening: Whitening) -> AbstractTarget:
        by_value = density.has_log_prob and self.energy != "line_integral"
        return flat_target(density, whitening, by_value=by_value)

    def move(
        self, key: PRNGKeyArray, state: LangevinState, target: AbstractTarget, integrator, tuning: Tuning
    ) -> tuple[LangevinState, Float[Array, ""]]:
        return langevin_move(key, state, target, tuning)

    def first_step_size(self, size: int) -> float:
        return size ** (-1 / 3)

    def _ends(self, density: AbstractDensity) -> tuple[float, float]:
        """Return the density's own noise level and the one to begin at."""
        levels = density.noise_levels
        if levels is None:
            raise ConfigError(
                f"{self.name} goes down noise levels, but this density knows one only. Use priors that know several, "
                "such as load_prior('galaxies') or a ScorePrior with fn_at_level; or another sampler."
            )
        own, largest = levels
        return own, largest if self.largest_level is None else min(largest, self.largest_level)
