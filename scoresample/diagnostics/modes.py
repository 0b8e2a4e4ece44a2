"""Which patterns of an image the data know, and which are left to the prior."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.sparse.linalg
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.density.base import Scale
from scoresample.density.posterior import Position, Posterior
from scoresample.diagnostics.hallucination import positions_of
from scoresample.diagnostics.information import Information, make_information
from scoresample.errors import ConfigError
from scoresample.numerics.compiling import quick_jit
from scoresample.numerics.curvature import lanczos
from scoresample.samplers.base import Draws
from scoresample.samplers.optimize import MAPResult

TOLERANCE = 3e-4
"""Of the linear systems that leave the images of neighbours free."""

NUM_PROBES = 4
NUM_OPEN_STEPS = 30
MAX_ITERATIONS = 300


class Modes(NamedTuple):
    r"""What the data know of one image, as patterns.

    Attributes
    ----------
    strength
        :math:`\lambda`, descending: information of the data over that of the prior. Along its pattern the posterior is
        :math:`\sqrt{1 + \lambda}` times as narrow as the prior.
    patterns
        Changes of S of one standard deviation of the prior.
    num_decided
        :math:`\sum \lambda / (1 + \lambda)` over all modes: how many of the image's degrees of freedom the data decide.
    num_decided_error
        Its standard error, from random probes.
    open_patterns
        What is left the most uncertain: leading principal components of the posterior of S, one standard deviation
        of each, without the direction of S itself, which is no pattern: the flux takes it up.
    open_share
        The share of the prior's variance of each that the data took away: near 0 where the pattern is the prior's.
    residual
        Of the worst of ``patterns``, relative: small where Lanczos has converged.
    """

    strength: Float[np.ndarray, " mode"]
    patterns: Float[np.ndarray, "mode y x"]
    num_decided: float
    num_decided_error: float
    open_patterns: Float[np.ndarray, "mode y x"]
    open_share: Float[np.ndarray, " mode"]
    residual: float


def data_modes(
    key: PRNGKeyArray,
    posterior: Posterior,
    draws: Draws | MAPResult | Position,
    *,
    names: Sequence[str] | None = None,
    num_modes: int = 5,
    num_steps: int = 60,
    num_draws: int = 2,
) -> dict[str, Modes]:
    r"""Tell the patterns of each free image that the data know from those that are the prior's.

    .. math:: F_{like}\, v = \lambda\, F_{prior}\, v, \qquad v^T F_{prior}\, v = 1

    by Lanczos with Jacobian products, for each image in turn, in the sampled coordinate. :math:`F_{prior}` is the
    negative Jacobian of the prior's score. :math:`F_{like}` is what the Gauss-Newton likelihood, with PSF and all
    bands, tells of this image *when all else is free*: fluxes and background, projected out exactly, and the images
    of the other sources, under their priors. Two sources that can trade light do so here, as they do in the draws:
    blends lower :math:`\lambda`. Centers and sources that are profiles count as known. Both are averaged over draws.

    The patterns of the largest :math:`\lambda` are the data's. Those of the smallest are countless and faint: the
    prior's noise. What may be made up in an image is what is uncertain *and* large, so the leading principal
    components of the posterior of S, its scale aside, are given beside them, with the share of their prior variance
    that the data took away.

    Parameters
    ----------
    key
        Decides where Lanczos starts.
    posterior
        What was sampled.
    draws
        Draws, of which ``num_draws`` spread over all are used; a `MAPResult`; or one position.
    names
        Of the sources to look at; by default all with a free image.
    num_modes
        How many patterns of each kind.
    num_steps
        Of Lanczos.
    num_draws
        Draws to average over.

    Returns
    -------
    Modes by the name of the source, in the order of ``names``.

    Raises
    ------
    ConfigError
        If a setting is out of range, or a name is of no free image.
    DataError
        If there are no draws.
    PositionError
        If they are not draws of ``posterior``.

    References
    ----------
    Spantini et al. (2015), SIAM J. Sci. Comput. 37, A2451: the pencil of likelihood and prior, and why its leading
    directions are those in which data matter.
    """
    if min(num_modes, num_draws) < 1 or num_steps < num_modes:
        raise ConfigError(
            f"num_modes is {num_modes}, num_steps {num_steps} and num_draws {num_draws}; they must be at least 1, and "
            "there must be as many steps as modes."
        )
    positions = positions_of(draws, num_draws)
    first = jax.tree.map(lambda leaf: leaf[0], positions)
    posterior.check_position(first)
    free = {parameter.name for parameter in posterior.parameters}
    blocks = [block for block in posterior.local_scale(first) if block[0][0].endswith(".image")]
    images = tuple(name for group, _ in blocks for name in group)
    wanted = [f"{n}.image" for n in names] if names is not None else [
        f"{s.name}.image" for s in posterior.scene.sources if f"{s.name}.image" in free
    ]  # fmt: skip
    if strange := [name for name in wanted if name not in images]:
        raise ConfigError(f"{strange[0]!r} is no free image; there are {', '.join(images) or 'none'}.")
    if not images:
        return {}
    key_prior, key_modes = jax.random.split(key)
    information = make_information(key_prior, posterior, positions, images, num_steps)
    near, found = tuple(scale for _, scale in blocks), {}
    for name, key_mode in zip(wanted, jax.random.split(key_modes, max(len(wanted), 1)), strict=False):
        # One compiled function serves all images: which one it is about is an argument.
        own, own_pixels = (
            jnp.asarray(_marks(images, shapes, name), first[name].dtype)
            for shapes in (information.shapes, information.image_shapes)
        )
        numbers = _modes(key_mode, information, near, own, own_pixels, num_steps, num_modes)
        found[name.removesuffix(".image")] = _as_modes(numbers, information, name)
    return found


def _marks(names: Sequence[str], shapes, name: str) -> Float[np.ndarray, " n"]:
    """Return 1 for what belongs to one image, and 0 for the others."""
    return np.concatenate([np.full(np.prod(s), float(n == name)) for n, s in zip(names, shapes, strict=True)])


def _as_modes(numbers: dict[str, Array], information: Information, name: str) -> Modes:
    """Return plain arrays of one image; patterns with more light first than last."""

    def cut(patterns):
        images = np.asarray(jax.vmap(information.images)(patterns)[name], np.float64)
        sign = np.where(images.sum(axis=(1, 2)) < 0, -1, 1)
        return images * sign[:, None, None]

    strength = np.asarray(numbers["strength"], np.float64)
    probed = np.asarray(numbers["probed"], np.float64)
    return Modes(
        strength=strength,
        patterns=cut(numbers["patterns"]),
        num_decided=float(numbers["converged"] + probed.mean()),
        num_decided_error=float(probed.std(ddof=1) / np.sqrt(len(probed))),
        open_patterns=cut(numbers["open_patterns"]),
        open_share=np.asarray(numbers["open_share"], np.float64),
        residual=float(np.max(np.asarray(numbers["residual"]) / np.maximum(1, strength))),
    )


@quick_jit
def _modes(
    key: PRNGKeyArray,
    information: Information,
    near: tuple[Scale, ...],
    own: Float[Array, " n"],
    own_pixels: Float[Array, " pixel"],
    num_steps: int,
    num_modes: int,
) -> dict[str, Array]:
    """Return the modes of one image, whose coordinates and pixels are 1 in ``own`` and ``own_pixels``, as flat vectors
    of all images."""
    key_start, key_probes, key_open = jax.random.split(key, 3)
    normal = lambda key, own: own * jax.random.normal(key, own.shape, own.dtype)
    marginal = lambda z: own * _marginal(information, near, own, own * z)
    values, vectors, residual = lanczos(marginal, normal(key_start, own), num_steps)
    values = jnp.maximum(values, 0)  # rounding
    share = lambda values: values / (1 + values)
    sure = residual < 0.01 * (1 + values)
    known = vectors * sure

    def probe(key):
        start = own * jax.random.rademacher(key, own.shape, own.dtype)
        outside = lambda z: z - known @ (z @ known)
        start = outside(start)
        found, directions, _ = lanczos(lambda z: outside(marginal(outside(z))), start, max(num_steps // 2, 1))
        return jnp.sum((start @ directions) ** 2 * share(jnp.maximum(found, 0)))

    seen = lambda z: own_pixels * information.morphology(z)
    itself = own_pixels * information.mean_morphology()
    shape = lambda s: s - itself * jnp.dot(itself, s) / jnp.dot(itself, itself)
    back = lambda s: jax.linear_transpose(seen, own)(shape(s))[0]
    covariance = lambda s: shape(seen(_solve(information, near, jnp.ones_like(own), back(s))))
    variance, components, _ = lanczos(covariance, shape(normal(key_open, own_pixels)), NUM_OPEN_STEPS)
    last = slice(-1, -num_modes - 1, -1)
    variance, components = variance[last], components[:, last].T
    prior = jnp.sum(jax.vmap(back)(components) ** 2, axis=1)
    return {
        "strength": values[last],
        "patterns": jax.vmap(seen)(vectors[:, last].T),
        "residual": residual[last],
        "converged": jnp.sum(share(values) * sure),
        "probed": jax.lax.map(probe, jax.random.split(key_probes, NUM_PROBES)),
        "open_patterns": jnp.sqrt(jnp.maximum(variance, 0))[:, None] * components,
        "open_share": 1 - variance / prior,
    }


def _marginal(information: Information, near, own, z: Float[Array, " n"]) -> Float[Array, " n"]:
    """Return the information of the data on one image with all others free, times a vector of that image."""
    seen, others = information.likelihood(z), 1 - own
    if len(information.names) == 1:
        return seen
    return seen - information.likelihood(_solve(information, near, others, others * seen))


def _solve(information: Information, near, among, b: Float[Array, " n"]) -> Float[Array, " n"]:
    """Solve (I + H) z = b among some of the coordinates; the local scales of the posterior are near the answer."""

    def precondition(z):
        change = jax.linear_transpose(information.whiten, z)(among * z)[0]
        return among * information.whiten(information.spread(near, change))

    product = lambda z: among * (z + information.likelihood(among * z))
    return jax.scipy.sparse.linalg.cg(
        product, among * b, M=precondition, tol=TOLERANCE, maxiter=MAX_ITERATIONS
    )[0]
