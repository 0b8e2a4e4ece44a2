"""Whether a score is good enough to be sampled by its work: is it a gradient, and is it integrated well enough."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from scoresample.density.base import AbstractDensity
from scoresample.diagnostics.curl import curl
from scoresample.errors import ConfigError, PositionError
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.priors import AbstractLogPrior, AbstractPrior
from scoresample.numerics.linear import LowRankScale
from scoresample.numerics.spread import spread_indices
from scoresample.numerics.trees import flatten
from scoresample.samplers.base import Draws
from scoresample.samplers.energies import QUADRATURES, Quadrature, WorkTarget, gauss_legendre
from scoresample.samplers.targets import flat_target
from scoresample.samplers.whitening import Whitening, coordinates_of, local_whitening, positions_of

LIMIT = 0.1
"""Of the curl; beyond it the bias of draws is above about 2 % of their standard deviations (docs/sampling.md)."""

USUAL_STEP = 0.4
"""Of a sampler in coordinates of order one, where no run tells its step size."""

FINE = gauss_legendre(16)
_FEWEST = 3  # points; two would make loops of no area
_MOST_SEGMENTS = 256  # of a quarter of a loop
_POINTS = 4  # of a loop for each of them


class Audit(NamedTuple):
    """What `audit` found.

    Attributes
    ----------
    curl, curl_error
        |J - J^T| / |J|, and its standard error; 0 for a gradient.
    loop_work, loop_work_error
        Work of the score once around closed loops, root mean square in nats, and its standard error; 0 for a gradient.
    refinement
        How much the energy at the end of a quarter of such a loop changes when the quadrature is refined, root mean
        square in nats.
    of
        Names of the terms that the score is of.
    """

    curl: float
    curl_error: float
    loop_work: float
    loop_work_error: float
    refinement: float
    of: tuple[str, ...]

    @property
    def is_gradient(self) -> bool:
        """Whether the curl is within `LIMIT`."""
        return bool(self.curl <= LIMIT)

    def __str__(self) -> str:
        return (
            f"score of {', '.join(self.of)}: curl |J - J^T| / |J| {self.curl:.2g} +- {self.curl_error:.1g}, work "
            f"around closed loops {self.loop_work:.2g} +- {self.loop_work_error:.1g} nats, refining the quadrature "
            f"changes energies by {self.refinement:.2g} nats"
        )


def audit(
    target: AbstractDensity | AbstractPrior,
    at: Draws | PyTree[Float[Array | np.ndarray, "n ..."]] | None = None,
    *,
    key: PRNGKeyArray | None = None,
    num_points: int = 32,
    num_probes: int = 32,
) -> Audit:
    r"""Measure how far the score that a sampler integrates is from the gradient of a density.

    The score is that of the terms that have no value; of the whole density where all have one, which must read 0. In
    the coordinates z that samplers move in, as far as they are known before a run:

    - the *curl* at the points;
    - the *work around closed loops*, the orbits that a sampler would follow if the density were normal,

    .. math:: W = \oint s(z) \cdot dz, \qquad z(t) = \bar z + (z_i - \bar z)\cos t + (z_j - \bar z)\sin t

      where :math:`z_i`, :math:`z_j` are two of the points. What comes back to the same place with another energy has
      none; this is in nats, the unit of what is accepted or rejected;
    - the *refinement*: a quarter of a loop in straight segments as long as a step of the sampler, integrated by its own
      rule and by 16 Gauss-Legendre points.

    Parameters
    ----------
    target
        A posterior, another density, or a prior of images.
    at
        Where to measure: draws of ``target``, or positions (images u for a prior) with one more axis in front. By
        default, for a posterior, points as far from its first position as its local scale says; for a prior its own
        draws, or those of the Gaussian prior where it cannot be drawn from.
    key
        For probes and points; by default always the same.
    num_points, num_probes
        Of points, each in two loops, and of probes for the curl.

    Returns
    -------
    The measured values; printing them gives one line. Mean biases of 1 % of a standard deviation were measured at a
    curl of 0.1, of 9 % at 0.4 (docs/sampling.md).

    Raises
    ------
    ConfigError
        If there are fewer than three points.
    """
    key_points, key_curl = jax.random.split(jax.random.key(0) if key is None else key)
    density = _PriorAlone(target) if isinstance(target, AbstractPrior) else target
    settings: dict[str, Any] = {}
    if isinstance(at, Draws):
        at, settings = _some(at.position, num_points), at.settings
    elif at is None:
        at = _usual_points(key_points, target, num_points)
    points = jax.tree.map(jnp.asarray, at)
    count = len(jax.tree.leaves(points)[0])
    if count < _FEWEST:
        raise ConfigError(
            f"an audit needs at least {_FEWEST} points, but got {count}; give more draws or positions."
        )
    whitening = _coordinates(density, points)
    field = FlatScore(density.for_compilation(), whitening)
    z = coordinates_of(whitening, points)
    twist = curl(key_curl, field, z, num_probes)
    rule, num_segments = _as_sampled(settings, z)
    segments = jnp.asarray(num_segments)
    loops, changes = (np.asarray(part, float) for part in _along_loops(field, z, rule, segments))
    work, error = _rms(loops)
    return Audit(
        twist.value, twist.error, work, error, _rms(changes)[0], density.score_only_terms or ("all",)
    )


def audit_of(draws: Draws) -> Audit | None:
    """Return the audit that the settings of draws hold, or else that of the terms of which only the score is known.

    None where all terms have a value, where there are too few draws, and where draws were stored without their images.
    """
    if not draws.density.score_only_terms:
        return None
    if "audit" in draws.settings:
        stored = {name: np.nan if value is None else value for name, value in draws.settings["audit"].items()}
        return Audit(**stored | {"of": tuple(stored["of"])})
    few = jax.tree.map(jnp.asarray, _some(draws.position, _FEWEST))
    if not jax.tree.leaves(few) or len(jax.tree.leaves(few)[0]) < _FEWEST:
        return None
    try:
        draws.density.check_position(jax.tree.map(lambda leaf: leaf[0], few))
    except PositionError:
        return None
    return audit(draws.density, draws)


class FlatScore(eqx.Module):
    """The score that line integrals need, in flat coordinates."""

    density: AbstractDensity
    whitening: Whitening

    def target(self) -> WorkTarget:
        """Return it with its integrals."""
        return flat_target(self.density, self.whitening, by_value=False)

    def score(self, z: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return the score at a point."""
        return self.target().score_only(z)


class _PriorAlone(AbstractDensity):
    """A prior of images as a density; a position is an image."""

    prior: AbstractPrior

    @property
    def score_only_terms(self) -> tuple[str, ...]:
        return () if isinstance(self.prior, AbstractLogPrior) else (self.prior.name,)

    def explicit(self, position: Float[Array, "y x"]) -> Float[Array, ""]:
        if isinstance(self.prior, AbstractLogPrior):
            return self.prior.log_prob(position)
        return jnp.zeros((), position.dtype)

    def score_only(self, position: Float[Array, "y x"]) -> Float[Array, "y x"]:
        return self.prior.score(position)


@eqx.filter_jit
def _along_loops(
    field: FlatScore, z: Float[Array, "point n"], rule: Quadrature, num_segments: Int[Array, ""]
) -> tuple[Float[Array, " loop"], Float[Array, " loop"]]:
    """Return the work around each loop, and what a finer rule changes along a quarter of it."""
    middle = jnp.mean(z, axis=0)
    target = field.target()

    def one(pair):
        a, b = pair
        segment = (jnp.pi / 2) / num_segments.astype(z.dtype)
        at = lambda t: middle + jnp.cos(t) * a + jnp.sin(t) * b

        def power(t):
            return jnp.dot(field.score(at(t)), jnp.cos(t) * b - jnp.sin(t) * a)

        def work(index, total):
            # Evenly spaced points are as good as it gets for smooth periodic functions.
            angles = (index.astype(z.dtype) + jnp.arange(_POINTS, dtype=z.dtype) / _POINTS) * segment
            return total + segment * jnp.mean(jax.vmap(power)(angles))

        def change(index, total):
            ends = [at((index.astype(z.dtype) + step) * segment) for step in (0, 1)]
            return total + target.work(*ends, rule) - target.work(*ends, FINE)

        nothing = jnp.zeros((), z.dtype)
        around = jax.lax.fori_loop(0, 4 * num_segments, work, nothing)
        return around, jax.lax.fori_loop(0, num_segments, change, nothing)

    away = z - middle
    return jax.lax.map(one, (away, jnp.roll(away, -1, axis=0)))


def _as_sampled(settings: dict[str, Any], z: Float[Array, "point n"]) -> tuple[Quadrature, int]:
    """Return the rule of a run, and how many of its steps a quarter of an orbit through the points takes."""
    sampler = settings.get("sampler", {})
    name = sampler.get("quadrature", "simpson")
    if name == "chord":
        return QUADRATURES[name], 1
    # Momenta are standard normal: a step of size h goes h sqrt(n) far.
    length = jnp.pi / 2 * jnp.sqrt(jnp.mean((z - jnp.mean(z, axis=0)) ** 2))
    num_stages = 2 if sampler.get("integrator") == "two_stage" else 1  # each has an integral of its own
    num_steps = np.ceil(num_stages * float(length) / (settings.get("step_size") or USUAL_STEP))
    return QUADRATURES[name], int(np.clip(np.nan_to_num(num_steps, nan=1), 1, _MOST_SEGMENTS))


def _coordinates(density: AbstractDensity, points: PyTree[Float[Array, "n ..."]]) -> Whitening:
    """Return the coordinates of a sampler around the mean; of the scale that points have, where nothing is known."""
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), points)
    whitening = local_whitening(density, mean)
    if whitening.local is not None:
        return whitening
    scale = None
    if isinstance(density, _PriorAlone):
        prior = density.prior.for_shape(mean.shape)
        scale = prior.scale(mean.shape) if prior.coordinate_shape(mean.shape) == mean.shape else None
    if scale is None:
        spread = flatten(jax.tree.map(lambda leaf: jnp.std(leaf, axis=0), points))[0]
        if isinstance(density, _PriorAlone):  # pixels are alike
            spread = jnp.full_like(spread, jnp.sqrt(jnp.mean(spread**2)))
        nothing = jnp.zeros((spread.size, 0), spread.dtype), jnp.ones(0, spread.dtype)
        scale = LowRankScale(jnp.where(spread > 0, spread, 1), *nothing)
    return eqx.tree_at(lambda w: w.rest, whitening, scale)


def _usual_points(key: PRNGKeyArray, target: AbstractDensity | AbstractPrior, num: int):
    """Return typical points of a density or a prior."""
    if isinstance(target, AbstractLogPrior):
        return target.sample(key, _shape_of(target), num)
    if isinstance(target, AbstractPrior):
        return load_gaussian_prior().sample(key, _shape_of(target), num)
    whitening = local_whitening(target, target.initial_position())
    z = jax.random.normal(key, (num, whitening.size), whitening.rest.diagonal.dtype)
    return positions_of(whitening, z)


def _shape_of(prior: AbstractPrior) -> tuple[int, int]:
    """Return the shape of a prior's images, where it has one; 32 pixels where it takes many."""
    return getattr(prior, "shape", (32, 32))


def _some(positions: PyTree, num: int) -> PyTree[np.ndarray]:
    """Return so many of the draws, evenly spaced over all chains."""
    flat = jax.tree.map(lambda leaf: np.reshape(leaf, (-1, *np.shape(leaf)[2:])), positions)
    total = max((len(leaf) for leaf in jax.tree.leaves(flat)), default=0)
    chosen = spread_indices(total, num)
    return jax.tree.map(lambda leaf: leaf[chosen], flat)


def _rms(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return the root mean square of independent values, and its standard error."""
    squares = np.square(np.asarray(values, float))
    rms = np.sqrt(squares.mean())
    error = squares.std(ddof=1) / np.sqrt(len(squares)) / (2 * rms) if rms > 0 else 0.0
    return float(rms), float(error)
