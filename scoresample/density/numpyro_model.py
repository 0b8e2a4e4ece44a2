"""A user's own numpyro model as a density that all samplers take."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray
from numpyro import handlers
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn
from numpyro.primitives import Messenger

from scoresample.density.base import AbstractDensity, traced_formula
from scoresample.errors import ConfigError, PositionError
from scoresample.models.priors import AbstractPrior
from scoresample.models.priors_as_distributions import ScoreDistribution

Position = dict[str, Float[Array, "..."]]


class NumpyroDensity(AbstractDensity):
    r"""The joint density of a numpyro model, in unconstrained coordinates.

    A position holds every latent site by name, mapped to the real line by numpyro's own bijection, whose log-Jacobian
    is in the density. Sites whose distribution is a `ScoreDistribution` have only a score: samplers then integrate it.
    Scenes enter by the likelihood of a posterior, fluxes integrated out:

    .. code-block:: python

        def model(posterior):
            width = numpyro.sample("width", dist.HalfNormal(0.5))
            u = numpyro.sample("galaxy_0.image", ss.ScoreDistribution(prior, (25, 25)))
            centers = numpyro.sample("star_1.center", dist.Normal(0.0, width).expand([2]).to_event(1))
            numpyro.factor("scene", posterior.log_likelihood({"galaxy_0.image": u, "star_1.center": centers}))

        density = ss.NumpyroDensity(model, posterior, start={"galaxy_0.image": u0})
        draws = ss.sample(key, density, ss.NUTS())

    The draws' ``derived`` hold all sites as the model has them, and its deterministic ones.

    Parameters
    ----------
    model
        The model, a function.
    args, kwargs
        What it takes; arrays in them are arguments of compiled code.
    start
        Values of sites, as the model has them, to begin at. The others begin at a draw from their prior; sites that
        have only a score need one.

    Raises
    ------
    ConfigError
        If a latent site is discrete, the model has none, or ``start`` names none of them.
    """

    model: Callable = eqx.field(static=True)
    args: tuple
    kwargs: dict[str, Any]
    start: Position
    hidden: dict[str, AbstractPrior]
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = eqx.field(static=True)

    def __init__(self, model: Callable, *args, start: Mapping[str, ArrayLike] | None = None, **kwargs):
        as_jax = lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf
        self.model = model
        self.args, self.kwargs = args, kwargs = jax.tree.map(as_jax, (args, kwargs))
        given = {name: jnp.asarray(value, jnp.result_type(float)) for name, value in (start or {}).items()}
        seeded = handlers.seed(handlers.substitute(_ScoreSites(model), data=given), 0)
        traced = handlers.trace(seeded).get_trace(*args, **kwargs)
        latent = {n: s for n, s in traced.items() if s["type"] == "sample" and not s["is_observed"]}
        _check_sites(latent, given)
        self.hidden = {n: s["infer"]["prior"] for n, s in latent.items() if "prior" in s["infer"]}
        self.start = given | {n: s["value"] for n, s in latent.items() if n not in given | self.hidden}
        self.shapes = tuple((name, jnp.shape(value)) for name, value in self._unconstrained(latent).items())

    @property
    def score_only_terms(self) -> tuple[str, ...]:
        return tuple(self.hidden)

    def explicit(self, position: Position) -> Float[Array, ""]:
        return -potential_energy(self._model(0), self.args, self.kwargs, position)

    def score_only(self, position: Position) -> Position:
        nothing = jax.tree.map(jnp.zeros_like, position)
        return nothing | {name: prior.score(position[name]) for name, prior in self.hidden.items()}

    def derive(self, key: PRNGKeyArray, position: Position) -> dict[str, Array]:
        """Return every site as the model has it, deterministic ones too, but images, which the position has."""
        found = constrain_fn(self._model(key), self.args, self.kwargs, position, return_deterministic=True)
        return {name: value for name, value in found.items() if name not in self.hidden}

    def initial_position(self) -> Position:
        missing = [name for name in self.hidden if name not in self.start]
        if missing:
            raise ConfigError(
                f"site {missing[0]!r} gives only a score, and cannot be drawn from; pass start={{{missing[0]!r}: ...}}."
            )
        return unconstrain_fn(self._model(0), self.args, self.kwargs, self.start)

    def check_position(self, position: Position) -> None:
        """Raise `PositionError` unless names and shapes are those of the latent sites."""
        came = {name: jnp.shape(value) for name, value in position.items()}
        if came != dict(self.shapes):
            raise PositionError(f"the position has {came}, but the model needs {dict(self.shapes)}.")

    def formula(self, position: Position) -> str:
        return traced_formula(self.explicit, position)

    def _model(self, key) -> Callable:
        return handlers.seed(_ScoreSites(self.model), key)

    def _unconstrained(self, latent: Mapping[str, Any]) -> Position:
        values = {name: site["value"] for name, site in latent.items()}
        return unconstrain_fn(self._model(0), self.args, self.kwargs, values)


class _ScoreSites(Messenger):
    """Takes sites that have only a score for flat ones, and notes their prior."""

    def process_message(self, msg):
        if msg["type"] == "sample" and isinstance(msg["fn"], ScoreDistribution):
            shape, msg["infer"] = msg["fn"].event_shape, msg["infer"] | {"prior": msg["fn"].prior}
            msg["fn"] = _Flat(dist.constraints.real_matrix, (), shape)


class _Flat(dist.ImproperUniform):
    """Of an unknown density, what is left: nothing. A place to begin, for tracing a model alone, is zero."""

    def sample(self, key, sample_shape=()):
        return jnp.zeros(sample_shape + self.event_shape)


def _check_sites(latent: Mapping[str, Any], start: Mapping[str, Array]) -> None:
    if not latent:
        raise ConfigError("the model has no latent site; nothing is to be sampled.")
    unknown = sorted(set(start) - set(latent))
    if unknown:
        raise ConfigError(f"start has {unknown[0]!r}, but the latent sites are {sorted(latent)}.")
    for name, site in latent.items():
        if site["fn"].support.is_discrete:
            raise ConfigError(
                f"site {name!r} is discrete, and has no score; sum it out, as with numpyro's MixtureSameFamily."
            )
