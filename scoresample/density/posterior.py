"""The posterior of a scene: likelihood times priors, as a density of a position."""

from collections import defaultdict
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.data.observation import Observation
from scoresample.density.base import AbstractDensity
from scoresample.density.bends import bends_of
from scoresample.density.flux_prior import FluxPrior, make_flux_prior
from scoresample.density.fluxes import FluxPosterior
from scoresample.density.held_fluxes import HeldFluxes
from scoresample.density.likelihood import Likelihood, fit_fluxes, make_likelihood
from scoresample.density.local_scale import Block, local_scale
from scoresample.density.maximized_fluxes import maximized_fluxes
from scoresample.density.parameters import Parameter
from scoresample.density.select import select_parameters
from scoresample.errors import PositionError, ShapeError
from scoresample.models.load import load_prior
from scoresample.models.priors_numpyro import as_prior
from scoresample.models.scene import Scene
from scoresample.numerics.arrays import to_jax
from scoresample.numerics.bend import Bend
from scoresample.numerics.compiling import jit_to_run_once, quick_jit

Position = dict[str, Float[Array, "..."]]

OFFSETS = "flux_offsets"
"""What fluxes with an end are called in a position: how far they are from their most probable values."""


class Posterior(AbstractDensity):
    r"""The posterior of a scene given an observation.

    A position holds the free parameters, unconstrained, by full name: ``{"galaxy_3.image": array, ...}``.
    Fluxes and background are integrated out exactly where their prior is flat or Gaussian, so the position
    leaves them out, and `derive` draws them from their exact conditional posterior. With ``least_flux`` flat ones end
    there, as no Gaussian does: then the position has ``flux_offsets``, numbers that stand for amplitudes (`FluxEnd`)
    and are next to independent standard normal.

    Parameters
    ----------
    scene
        Sources and their first values.
    observation
        On the same frame.
    flux
        Prior on the total flux of every source in every band, in the frame's unit: a numpyro distribution
        that broadcasts to (source, band), or None for flat: in units of the error that the flux of an image has by
        itself, which favours no size of galaxies (`density.flux_prior.FluxPrior` has the formula). A density flat in
        the flux, in B bands at once, would multiply the prior of the morphology by about its radius to the power B.
    least_flux
        Where flat fluxes end, in the same unit, for example -2: what is more negative than noise is improbable. None
        where any number will do.
    background
        Prior on the constant background: None for flat, or a numpyro distribution over bands.
    collapse
        Whether fluxes are integrated out. By default wherever they can be.
    priors
        Priors of single parameters by full name, such as ``{"star_1.center": dist.Normal(0, 0.1)}``;
        None holds the parameter fixed.
    by_kind
        Priors of all parameters of one kind: ``image=prior``, ``center=dist.Normal(0, 0.3)``,
        ``half_light_radius=...``; None holds them fixed. Centers are displacements from the detection.
        Without them images have the Gaussian morphology prior, profiles and stars have free centers and
        the shape priors of `models.priors_numpyro`; centers of pixel sources are fixed, since their images
        can move by themselves.

    Raises
    ------
    ShapeError
        If scene and observation are not on one frame.
    ConfigError
        If a prior names no parameter, fluxes are to be collapsed under a prior that is not Gaussian, or end above 0.
    """

    scene: Scene | None
    observation: Observation | None
    likelihood: Likelihood
    parameters: tuple[Parameter, ...]
    fixed: dict[str, Array]
    flux_prior: FluxPrior
    collapse: bool = eqx.field(static=True)
    alike: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def __init__(
        self,
        scene: Scene,
        observation: Observation,
        *,
        flux: dist.Distribution | None = None,
        least_flux: float | None = None,
        background: dist.Distribution | None = None,
        collapse: bool | None = None,
        priors: Mapping | None = None,
        **by_kind,
    ):
        _check_frames(scene, observation)
        self.scene = scene
        self.observation = observation
        self.likelihood = make_likelihood(scene, observation)
        self.flux_prior, self.collapse = make_flux_prior(
            scene, self.likelihood, flux, background, collapse, least_flux
        )
        free = select_parameters(scene, by_kind, priors or {})
        self.fixed = {k: v for k, v in scene.parameters.items() if k not in {p.name for p in free}}
        if not self.collapse:
            free += self.flux_prior.parameters(fit_fluxes(self.likelihood, scene.parameters).unit)
        elif self.flux_prior.end is not None:
            free += (Parameter(OFFSETS, as_prior(dist.Normal(0.0, 1.0)), self.flux_prior.mean.shape),)
        self.parameters = free
        self.alike = _groups_alike(free)

    # What a sampler asks for

    @property
    def score_only_terms(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters if not parameter.has_log_prob)

    def explicit(self, position: Position) -> Float[Array, ""]:
        return self.log_likelihood(position) + self.explicit_prior(position)

    def score_only(self, position: Position) -> Position:
        score = jax.tree.map(jnp.zeros_like, position)
        for first, names, together in self._alike(position):
            if not first.has_log_prob:
                score |= zip(names, jax.vmap(first.score)(together), strict=True)
        return score

    def local_scale(self, position: Position) -> list[Block]:
        return local_scale(self, position)

    def bends(self, position: Position) -> tuple[Bend, ...]:
        return bends_of(self, position)

    @property
    def noise_levels(self) -> tuple[float, float] | None:
        several = [p.prior for p in self.parameters if p.prior.largest_noise_level > p.prior.noise_level]
        if not several:
            return None
        return min(p.noise_level for p in several), max(p.largest_noise_level for p in several)

    def at_noise_level(self, level: Float[Array, ""]) -> "Posterior":
        if self.noise_levels is None:
            return super().at_noise_level(level)  # which refuses
        noisier = tuple(parameter.at_noise_level(level) for parameter in self.parameters)
        return eqx.tree_at(lambda p: p.parameters, self, noisier)

    def derive(self, key: PRNGKeyArray, position: Position) -> dict[str, Array]:
        """Draw fluxes and background that go with a position.

        Returns
        -------
        ``flux`` (object, band): the object's total inside the frame after convolution; ``background``
        (band,); ``log_likelihood`` at these amplitudes.
        """
        columns = self.columns(self.values(position))
        amplitudes = self.draw_amplitudes(key, columns, position)
        derived = {"flux": self.likelihood.object_fluxes(columns, amplitudes)}
        if self.likelihood.background:
            derived["background"] = amplitudes[:, -1]
        return derived | {"log_likelihood": self.likelihood.log_prob(columns, amplitudes)}

    def draw_amplitudes(
        self, key: PRNGKeyArray, columns: Float[Array, "column band pixel"], position: Position
    ) -> Float[Array, "band column"]:
        """Draw the amplitudes of the columns of a position; where they are sampled they are part of it."""
        if not self.collapse:
            return self.given_amplitudes(position)
        solution = self.solve(columns)
        if OFFSETS not in position:
            return solution.draw(key)
        end = self.flux_prior.end
        lengths = end.lengths(columns, self.likelihood.root_weight)
        return end.redraw(key, solution, position[OFFSETS], lengths)

    def amplitudes_of(
        self, columns: Float[Array, "column band pixel"], position: Position
    ) -> Float[Array, "band column"]:
        """Return the amplitudes of the columns of a position; the most probable ones where it has nothing of them."""
        if not self.collapse:
            return self.given_amplitudes(position)
        solution = self.solve(columns)
        return solution.at(position[OFFSETS]) if OFFSETS in position else solution.mean

    def check_position(self, position: Position) -> None:
        """Raise `PositionError` unless names and shapes are those of the free parameters."""
        wanted = {parameter.name: parameter.coordinate_shape for parameter in self.parameters}
        if not isinstance(position, Mapping) or set(position) != set(wanted):
            came = sorted(position) if isinstance(position, Mapping) else type(position).__name__
            raise PositionError(f"the position has {came}, but the posterior needs {sorted(wanted)}.")
        for name, shape in wanted.items():
            if jnp.shape(position[name]) != shape:
                raise PositionError(f"{name} has shape {jnp.shape(position[name])}, but needs {shape}.")

    def for_map(self, start: Position) -> AbstractDensity:
        """Return the density of parameters and fluxes together, with the fluxes at their best.

        Under a learned prior, that of parameters given the best fluxes at the start (`HeldFluxes` says why).
        """
        if not self.collapse:
            return self
        if any(parameter.prior.hides_noise for parameter in self.parameters):
            return HeldFluxes(self, self.amplitudes(start))
        return maximized_fluxes(self)

    def easier(self) -> "Posterior | None":
        """Return the posterior with the Gaussian prior in place of learned ones; None where there are none."""
        if not any(parameter.prior.hides_noise for parameter in self.parameters):
            return None
        gaussian, parameters = load_prior("gaussian"), list(self.parameters)
        for members in self.alike:
            first = parameters[members[0]]
            if first.prior.hides_noise:
                ready = gaussian.for_shape(first.shape)
                for index in members:
                    parameters[index] = Parameter(parameters[index].name, ready, first.shape)
        return eqx.tree_at(lambda p: p.parameters, self, tuple(parameters))

    def for_compilation(self) -> "Posterior":
        return eqx.tree_at(
            lambda p: (p.scene, p.observation), self, (None, None), is_leaf=lambda x: x is None
        )

    # What it is made of

    def values(self, position: Position) -> dict[str, Array]:
        """Return every parameter of the scene by full name: the free ones as the scene shows them, and the fixed.

        Images under a learned prior are those without the prior's noise.
        """
        values = dict(self.fixed)
        joined = defaultdict(list)
        for first, *alike in self._alike(position):
            joined[first.prior.joins].append((first.prior, *alike))
        for groups in joined.values():
            priors, names, together = zip(*groups, strict=True)
            found = priors[0].constrain_together(priors, together)
            for members, several in zip(names, found, strict=True):
                values |= zip(members, several, strict=True)
        return values

    def solve(self, columns: Float[Array, "column band pixel"]) -> FluxPosterior:
        """Return the Gaussian posterior of fluxes and background given the rendered columns."""
        return self.likelihood.solve(columns, self.flux_prior.mean, self.flux_prior.precision)

    def explicit_prior(self, position: Position, climbed: bool = False) -> Float[Array, ""]:
        """Return the log prior of the parameters whose prior has a value, or of what climbs to a MAP take for it."""
        total = jnp.zeros((), self.likelihood.data.dtype)
        for first, _, together in self._alike(position):
            if first.has_log_prob:
                log_prob = first.climbed_log_prob if climbed else first.log_prob
                total = total + jnp.sum(jax.vmap(log_prob)(together))
        if self.flux_prior.is_flat and not self.collapse:
            # The density of amplitudes at given morphology, written for fluxes: d amplitude = d flux / sum of S.
            values = self.values(position)
            sums = self.likelihood.renderer.totals(values)
            root_weight = self.likelihood.root_weight
            columns = self.likelihood.columns(values, unit_flux=False)
            amplitudes = self.flux_prior.gather(values)[:, : sums.size] / sums
            total = total + self.flux_prior.log_scale(columns, root_weight)
            if self.flux_prior.end is not None:
                lengths = self.flux_prior.end.lengths(columns[: sums.size], root_weight)
                total = total + jnp.sum(self.flux_prior.end.log_inside(amplitudes * lengths))
            total = total - self.likelihood.data.shape[0] * jnp.sum(jnp.log(jnp.abs(sums)))
            total = total + self.flux_prior.log_tie(amplitudes)
        return total

    def _alike(self, position: Position):
        """Give the first of the parameters of each group, the names of all, and their values as one array.

        Models of a user's own have positions without offsets of fluxes.
        """
        for members in self.alike:
            names = [self.parameters[index].name for index in members]
            if names == [OFFSETS] and OFFSETS not in position:
                continue
            yield self.parameters[members[0]], names, jnp.stack([position[name] for name in names])

    def given_amplitudes(self, position: Position) -> Float[Array, "band column"]:
        """Return fluxes and background of a position that holds them, (band, column)."""
        return self.flux_prior.gather(self.values(position))

    def log_likelihood(self, position: Position) -> Float[Array, ""]:
        """Return the log-likelihood, with fluxes integrated out where they are collapsed.

        Then with what ends flat fluxes, at those of the position; where it has none of them, without.
        """
        values = self.values(position)
        if self.collapse:
            columns, root_weight = self.columns(values), self.likelihood.root_weight
            evidence = self.flux_prior.log_evidence(columns, self.likelihood.data, root_weight)
            if OFFSETS not in position:
                return evidence
            end = self.flux_prior.end
            signal_to_noise = self.amplitudes_of(columns, position) * end.lengths(columns, root_weight)
            return evidence + jnp.sum(end.log_inside(signal_to_noise))
        return self.likelihood.log_prob_at(values, self.flux_prior.gather(values))

    @property
    def unit_flux(self) -> bool:
        """Whether amplitudes are fluxes; under a flat prior they multiply S as it stands."""
        return not (self.collapse and self.flux_prior.is_flat)

    def columns(self, values: dict[str, Array]) -> Float[Array, "column band pixel"]:
        """Return the rendered image of each amplitude per unit of it."""
        return self.likelihood.columns(values, self.unit_flux)

    def totals(self, values: dict[str, Array]) -> Float[Array, " column"]:
        """Return the flux of each amplitude per unit of it; 1 for the background."""
        num_columns = self.flux_prior.mean.shape[1]
        totals = self.likelihood.renderer.totals(values)
        if self.unit_flux:
            totals = jnp.ones_like(totals)
        return jnp.concatenate([totals, jnp.ones(num_columns - totals.size, totals.dtype)])

    def initial_position(self) -> Position:
        """Return the position of the scene's own values, fluxes solved for where they are free."""
        values = dict(self.scene.parameters)
        if not self.collapse:
            values |= self.flux_prior.initial_values(_solve(self.for_compilation(), values))
        values[OFFSETS] = np.zeros(self.flux_prior.mean.shape)
        values = {p.name: to_jax(values[p.name]) for p in self.parameters}
        position = _unconstrain(self.parameters, self.alike, values)
        return {p.name: position[p.name] for p in self.parameters}  # in order, which compiled code loses

    def amplitudes(self, position: Position) -> Float[Array, "band column"]:
        """Return the fluxes and background of a position, (band, column); the most probable ones if it has none."""
        return _amplitudes(self.for_compilation(), position)

    def brightness(self, position: Position) -> Float[Array, "band column"]:
        """Return the factor of each S in each band, flux over the sum of S; the most probable if it has no fluxes."""
        return _brightness(self.for_compilation(), position)

    def scene_at(self, position: Position) -> Scene:
        """Return the scene with the values of a position and its fluxes, the most probable ones if it has none."""
        amplitudes = self.amplitudes(position)
        num_sources = len(self.scene.sources)
        background = amplitudes[:, -1] if self.likelihood.background else None
        values = {k: v for k, v in self.values(position).items() if k in self.scene.parameters}
        return self.scene.replace(values, amplitudes[:, :num_sources].T, background)

    def source_images(self, position: Position) -> Float[Array, "column band y x"]:
        """Return the observed image of each source, and of the background last, at a position."""
        return _source_images(self.for_compilation(), position)

    def __repr__(self) -> str:
        what = "fluxes integrated out" if self.collapse else "fluxes sampled"
        bands = "" if self.observation is None else f" in {''.join(self.observation.frame.bands)}"
        pixels = int(np.sum(np.asarray(self.likelihood.root_weight) > 0))
        lines = [f"likelihood: Gaussian ({pixels} pixels{bands}, {what}, log_prob)"]
        if self.collapse:
            lines.append(f"flux: {self.flux_prior.name} (log_prob)")
            if self.likelihood.background:
                lines.append(f"background: {self.flux_prior.background_name} (log_prob)")
        return "\n".join(["Posterior", *(f"  {line}" for line in (*lines, *map(str, self.parameters)))])


@quick_jit
def _solve(posterior: Posterior, values: dict[str, Array]) -> FluxPosterior:
    return posterior.solve(posterior.columns(values))


@quick_jit
def _amplitudes(posterior: Posterior, position: Position) -> Float[Array, "band column"]:
    values = posterior.values(position)
    return posterior.amplitudes_of(posterior.columns(values), position) * posterior.totals(values)


@jit_to_run_once
def _unconstrain(
    parameters: tuple[Parameter, ...], alike: tuple[tuple[int, ...], ...], values: dict[str, Array]
) -> Position:
    position = {}
    for members in alike:
        names = [parameters[index].name for index in members]
        together = jnp.stack([values[name] for name in names])
        position |= zip(names, jax.vmap(parameters[members[0]].unconstrain)(together), strict=True)
    return position


@quick_jit
def _brightness(posterior: Posterior, position: Position) -> Float[Array, "band column"]:
    values = posterior.values(position)
    sources = posterior.likelihood.renderer.totals(values)
    amplitudes = posterior.amplitudes_of(posterior.columns(values), position)[:, : sources.size]
    return amplitudes / sources if posterior.unit_flux else amplitudes


@quick_jit
def _source_images(posterior: Posterior, position: Position) -> Float[Array, "column band y x"]:
    values = posterior.values(position)
    columns = posterior.columns(values)
    images = posterior.amplitudes_of(columns, position).T[:, :, None] * columns
    return images.reshape(*images.shape[:2], *posterior.likelihood.renderer.shape)


def _groups_alike(parameters: tuple[Parameter, ...]) -> tuple[tuple[int, ...], ...]:
    """Return which parameters have one prior and one shape: they go through it in one call."""
    groups: dict[tuple, list[int]] = {}
    for index, parameter in enumerate(parameters):
        groups.setdefault((id(parameter.prior), parameter.shape), []).append(index)
    return tuple(map(tuple, groups.values()))


def _check_frames(scene: Scene, observation: Observation) -> None:
    if scene.frame.shape != observation.frame.shape or scene.frame.bands != observation.frame.bands:
        raise ShapeError(
            f"the scene is on {scene.frame.shape} pixels in {scene.frame.bands}, the observation on "
            f"{observation.frame.shape} in {observation.frame.bands}; "
            "make the scene with initialize_scene(obs, catalog)."
        )
