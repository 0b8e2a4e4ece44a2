"""Which pixels of an image the data know, and which the prior made up."""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from scoresample.density.posterior import Position, Posterior
from scoresample.diagnostics.fisher import likelihood_diagonals, prior_diagonal, sampled_diagonal
from scoresample.diagnostics.probing import exact_diagonals
from scoresample.errors import ConfigError, DataError, ScoresampleWarning
from scoresample.models.morphology import to_morphology
from scoresample.numerics.spread import spread_indices
from scoresample.samplers.base import Draws
from scoresample.samplers.optimize import MAPResult

Images = dict[str, Float[np.ndarray, "y x"]]


class Hallucination(NamedTuple):
    """Curvature of prior and likelihood for every free image, by the name of its source.

    Attributes
    ----------
    difference
        :math:`\\Delta F = F_{prior} - F_{like}` per pixel: positive where the prior decides.
    prior, likelihood
        The two diagonals, in units of inverse u squared, or of inverse w squared under a prior that is over w.
    standard_error
        Of ``difference``: from the scatter between draws, which contains that of the probes; at a single
        position from the probes alone, and zero where there were none.
    confidence
        gamma, by the name of the object; NaN for one without a free image.
    confidence_error
        Its standard error, likewise.
    num_probes
        Random probes of each image, over all draws; zero where both diagonals are exact.
    light_from_data
        The mean of ``data_share`` over the light of an object, between 0 and 1, by its name; NaN for one without a
        free image.
    """

    difference: Images
    prior: Images
    likelihood: Images
    standard_error: Images
    confidence: dict[str, float]
    confidence_error: dict[str, float]
    num_probes: dict[str, int]
    light_from_data: dict[str, float]

    @property
    def data_share(self) -> Images:
        r"""The part :math:`F_{like} / (F_{like} + F_{prior})` of what is known of each pixel that is the data's.

        Where data are faint, ``difference`` follows the prior's own diagonal, which varies severalfold over a box; the
        share is near 0 where there are no data, whatever the prior. A prior that bends the other way counts as none.
        """
        return {name: _share_of_data(like, self.prior[name]) for name, like in self.likelihood.items()}


def hallucination_score(
    key: PRNGKeyArray,
    posterior: Posterior,
    draws: Draws | MAPResult | Position,
    *,
    relative_error: float = 0.05,
    max_probes: int = 4096,
    num_draws: int = 4,
) -> Hallucination:
    r"""Compare what prior and data know of each pixel, and grade each object.

    .. math:: \Delta F = \mathrm{diag}\,F_{prior} - \mathrm{diag}\,F_{like}, \qquad
              \gamma = -\sum_p \Delta F_p\, S_p

    with F the negative Hessian in the coordinate u, averaged over draws. Priors are densities over u, so that no
    log-Jacobian is missing: one over S = T(u) would need it. Under `LogGaussianMorphologyPrior` both diagonals are in
    w, where it is a Gaussian and samplers move; under
    `ProfileMorphologyPrior` they are of the scatter about the profile, given the profile; under a prior that hides
    its noise, of the image with noise, of which scenes show the galaxy. An object of several
    components has the sum of their gammas. Stars and profiles have no pixels that could be made up, and fixed images
    nothing to learn: their gamma is NaN.

    *Likelihood*, in closed form: pixel p of source k changes band b by :math:`a_b S'(u_p) K_b(x - p)`, so

    .. math:: F_{like,p} = S'(u_p)^2 \sum_b a_b^2 \sum_x w_b(x) K_b(x - p)^2, \qquad
              a_b = A_{kb} / {\textstyle\sum} S, \quad S' = 0.1\,(S + 1)

    with K the difference kernel, sub-pixel shift included, and A the most probable fluxes. This is the
    diagonal of the Gauss-Newton Hessian of the rendered scene for a fixed scale a, as in the source: the gauge
    in which a brighter pixel is more light, rather than light taken from all others. It leaves out what the
    full Hessian adds, residuals times the curvature S'' of the coordinate, whose expectation is zero. Where the
    prior hides its noise every pixel of the galaxy has many of the image, and the diagonal is found by probes.

    *Prior*: exact where the prior has ``precision_diagonal``. Otherwise Hutchinson's estimate, from Jacobian
    products of the score with Rademacher probes, or unit vectors for all pixels where that costs no more.

    Both are diagonals: how well a pixel is known given all others, other sources included. A smooth prior knows a
    pixel well from its neighbours, so gammas are often negative. Gamma grows with S/N, as the flux squared, for a
    given shape; between objects the prior's part, which shapes and boxes decide, may count for more. What compares them
    is ``light_from_data``. Neighbours hardly lower either: they are among all that is given, and count only where they
    change the fit of flux and shape. `data_modes` leaves them free and tells of blends.

    Parameters
    ----------
    key
        Decides the probes.
    posterior
        What was sampled.
    draws
        Draws, of which ``num_draws`` spread over all are used; a `MAPResult`; or one position.
    relative_error
        Probes are added until the root mean square over pixels of the error of a diagonal is this fraction of that of
        the diagonal.
    max_probes
        Products of one image at most, over all draws; a warning says where they did not suffice.
    num_draws
        Draws to average over.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    DataError
        If there are no draws.
    PositionError
        If they are not draws of ``posterior``.

    References
    ----------
    Sampson et al. (2024), Astronomy and Computing 49, 100875, eq. 17 and 18: the score and its gamma.
    Bekas, Kokiopoulou & Saad (2007), Applied Numerical Mathematics 57, 1214: the diagonal from probes.
    """
    if not relative_error > 0 or min(max_probes, num_draws) < 1:
        raise ConfigError(
            f"relative_error is {relative_error}, max_probes {max_probes} and num_draws {num_draws}; the first "
            "must be positive, the others at least 1."
        )
    positions = positions_of(draws, num_draws)
    posterior.check_position(jax.tree.map(lambda leaf: leaf[0], positions))
    free = {p.name: p for p in posterior.parameters}
    images = [(k, s) for k, s in enumerate(posterior.scene.sources) if f"{s.name}.image" in free]
    known = likelihood_diagonals(posterior.for_compilation(), positions) if images else {}
    hall = Hallucination({}, {}, {}, {}, {}, {}, {}, {})
    gammas = {name: [] for name in posterior.scene.objects}
    lights = {name: [] for name in posterior.scene.objects}
    keys = jax.random.split(key, max(len(images), 1))
    for (index, source), key_probes in zip(images, keys, strict=False):
        name, (like, u) = source.name, known[source.name]
        parameter, over = free[f"{name}.image"], positions[f"{name}.image"]
        image_prior = parameter.prior.of_coordinate()
        if image_prior is not parameter.prior:
            like = like * jax.vmap(parameter.slope)(over) ** 2
            over = jax.vmap(parameter.prior.of_pixels)(over)
        elif image_prior.has_map:
            over = u
        asked = relative_error, max_probes
        prior = prior_diagonal(key_probes, image_prior, over, *asked)
        data = exact_diagonals(like)
        if parameter.prior.hides_noise:
            key_data = jax.random.fold_in(key_probes, 1)
            data = sampled_diagonal(key_data, posterior, positions, index, *asked)
        hall.num_probes[name] = prior.num_probes + data.num_probes
        if not (prior.enough and data.enough):
            warnings.warn(
                f"{hall.num_probes[name]} probes leave the curvature of {name!r} an error above "
                f"{relative_error:.0%}; raise max_probes or relative_error.",
                ScoresampleWarning,
                stacklevel=2,
            )
        morphology = np.asarray(to_morphology(u), np.float64)
        change, probe_error = prior.values - data.values, np.hypot(prior.error, data.error)
        hall.difference[name] = change.mean(axis=0)
        hall.prior[name] = prior.values.mean(axis=0)
        hall.likelihood[name] = data.values.mean(axis=0)
        hall.standard_error[name] = _error_of_mean(change) if len(change) > 1 else probe_error
        light = np.maximum(morphology, 0)
        told = light * _share_of_data(data.values, prior.values)
        lights[source.object_name].append((told.sum(axis=(1, 2)), light.sum(axis=(1, 2))))
        gamma = -np.sum(change * morphology, axis=(1, 2))
        gammas[source.object_name].append((gamma, np.sqrt(np.sum((probe_error * morphology[0]) ** 2))))
    for name, components in gammas.items():
        hall.confidence[name], hall.confidence_error[name] = _grade(components)
        hall.light_from_data[name] = _mean_share(lights[name])
    return hall


def _share_of_data(like, prior):
    """Return the part of what is known that is the data's, 0 where nothing is."""
    known = like + np.maximum(prior, 0)
    return np.divide(like, known, where=known > 0, out=np.zeros_like(like))


def _mean_share(components: list) -> float:
    """Return the part of an object's light that data tell, from that of its components and their light, per draw."""
    if not components:
        return np.nan
    told, light = np.sum(components, axis=0)
    return float(np.mean(told / light))


def _error_of_mean(values):
    """Return the standard error of the mean over the first axis."""
    return values.std(axis=0, ddof=1) / np.sqrt(len(values))


def _grade(components: list) -> tuple[float, float]:
    """Return gamma of an object and its standard error, from gamma per draw and the probes' error."""
    if not components:
        return np.nan, np.nan
    gammas, probe_errors = zip(*components, strict=True)
    gamma = np.sum(gammas, axis=0)
    error = _error_of_mean(gamma) if len(gamma) > 1 else np.linalg.norm(probe_errors)
    return float(gamma.mean()), float(error)


def positions_of(draws: Draws | MAPResult | Position, num_draws: int) -> Position:
    """Return positions with one leading axis: some of the draws, spread over all, or the only one."""
    if not isinstance(draws, Draws):
        position = draws.position if isinstance(draws, MAPResult) else draws
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], position)
    shape = jax.tree.leaves((draws.position, draws.derived))[0].shape[:2]
    total = int(np.prod(shape))
    if total == 0:
        raise DataError("there are no draws to score; pass the result of find_map, or draw some first.")
    chosen = spread_indices(total, num_draws)
    chain, step = np.unravel_index(chosen, shape)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[chain, step]), draws.position)
