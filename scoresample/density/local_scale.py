"""How wide a posterior is around a position, closely enough to let samplers take long steps."""

from collections import defaultdict
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float

from scoresample.density.base import Scale
from scoresample.density.information import Information, information_of, make_seen, visibility
from scoresample.models.morphology import PixelMorphology
from scoresample.models.priors import Around
from scoresample.numerics.compiling import jit_to_run_once
from scoresample.numerics.linear import (
    LowRankScale,
    block_diagonal,
    dense_precision,
    scale_from_precision,
    scale_of_posterior,
)
from scoresample.numerics.threads import in_one_thread, side_by_side

if TYPE_CHECKING:
    from scoresample.density.posterior import Posterior

MAX_DENSE = 2000
NUM_DIRECTIONS = 400
"""For objects with more free pixels than the first, only so many directions are told from the prior's."""

Block = tuple[tuple[str, ...], Scale]


@in_one_thread
def local_scale(posterior: "Posterior", position: dict[str, Float[Array, "..."]]) -> list[Block]:
    r"""Return square roots of the posterior covariance, for groups of parameters, around a position.

    The free images of one object together have the precision

    .. math:: \Sigma^{-1} + \sum_b \big(V_b R_b V_b - C_b F_b^{-1} C_b^T\big), \qquad
              V_b = \mathrm{diag}\, A_b \frac{dS}{du} \sqrt{\tilde w_b}, \quad
              C_b = V_b R_b \sqrt{\tilde w_b} M, \quad F_b = M^T \sqrt{\tilde w_b} R_b \sqrt{\tilde w_b} M

    of prior and Gauss-Newton likelihood, with R the autocorrelation of the difference kernel, A the amplitudes
    that multiply S, M all sources on the model grid, and :math:`\tilde w` the inverse variance smoothed by the
    kernel squared: exact for constant weights. The second term projects out what fluxes can take up, the
    object's own and those of its neighbours: an object can take on some of a neighbour's image for a change
    of the neighbour's flux, almost for free. The images of the neighbours count as fixed, which
    `samplers.whitening` mends. Where a coordinate is not of pixels, what it does to them is
    counted (`AbstractPrior.pixels_by_coordinate`). Of images that scenes show in part (`AbstractPrior.around`), that
    part counts. All else has its prior's scale.

    Returns
    -------
    Names of parameters, in order, with the scale of their raveled and joined values.
    """
    free = {parameter.name: parameter for parameter in posterior.parameters}
    seen, (values, slopes, brightness) = make_seen(posterior), at_position(posterior, position)

    def block_of(members: list[int]) -> Block:
        names = tuple(f"{posterior.scene.sources[index].name}.image" for index in members)
        size = sum(int(np.prod(free[name].coordinate_shape)) for name in names)
        information = information_of(posterior, seen, members, values, slopes, brightness)
        dtype = np.asarray(position[names[0]]).dtype
        arounds = [free[name].prior.around(position[name]) for name in names]
        priors = [free[name].scale() for name in names]
        if all(around is not None for around in arounds):
            scale = _scale_where_seen(arounds, information, dtype)
        else:
            moves = [free[name].prior.pixels_by_coordinate(position[name]) for name in names]
            scale = _scale_of(priors, information, moves, dtype, dense=size <= MAX_DENSE)
        return names, scale

    blocks = side_by_side(block_of, _images_by_object(posterior, free))
    used = {name for names, _ in blocks for name in names}
    return blocks + [((name,), p.scale()) for name, p in free.items() if name not in used]


def _images_by_object(posterior: "Posterior", free: dict) -> list[list[int]]:
    """Return which sources have free images, by object."""
    sources = posterior.scene.sources
    members = defaultdict(list)
    for index, source in enumerate(sources):
        if isinstance(source.morphology, PixelMorphology) and f"{source.name}.image" in free:
            members[source.object_name].append(index)
    return list(members.values())


def scatter_cost(
    posterior: "Posterior", position: dict[str, Float[Array, "..."]]
) -> Float[np.ndarray, "band column"]:
    r"""Return what images that scatter cost the fit of each amplitude, per unit of its square.

    Around a position each pixel of a free image scatters by about the variance v, one over the diagonal of the
    posterior's precision. The expected misfit is larger for it by :math:`A_{bk}^2 R_{bk}`,

    .. math:: R_{bk} = \sum_q D_{bkq} v_{kq}, \qquad D_{bkq} = \tilde w_{bq} R_b(0) \Big(\frac{dS}{du}\Big)_{kq}^2,
              \qquad v_{kq} = \Big(\sigma_{kq}^{-2} + \sum_b A_{bk}^2 D_{bkq}\Big)^{-1},

    with :math:`\sigma` the diagonal of the prior's scale and the rest as in `local_scale`.
    """
    free = {parameter.name: parameter for parameter in posterior.parameters}
    values, slopes, brightness = at_position(posterior, position)
    cost, seen = np.zeros(posterior.flux_prior.mean.shape), None
    for index, source in enumerate(posterior.scene.sources):
        name = f"{source.name}.image"
        if name not in free or not isinstance(source.morphology, PixelMorphology):
            continue
        seen = make_seen(posterior) if seen is None else seen
        _, visible = visibility(seen, source, values)
        density = seen.correlation[:, :1, 0] * (visible * np.ravel(slopes.get(name, 1.0))) ** 2
        known = np.asarray(free[name].scale_of_pixels().diagonal, float) ** -2
        variance = 1 / (known + brightness[:, index] ** 2 @ density)
        cost[:, index] = density @ variance
    return cost


def at_position(posterior: "Posterior", position: dict[str, Float[Array, "..."]]):
    """Return what local scales need to know of a position.

    Returns
    -------
    The values of all parameters of the scene; the derivatives of the images u by the coordinates of samplers, by name
    where they are not the same, and the factors that multiply S, (band, column), in double precision.
    """
    values, *numbers = _at_position(posterior.for_compilation(), jax.tree.map(jnp.asarray, position))
    return values, *jax.tree.map(lambda leaf: np.asarray(leaf, float), numbers)


@jit_to_run_once
def _at_position(posterior: "Posterior", position: dict[str, Array]):
    maps = [p for p in posterior.parameters if p.prior.has_map and p.name.endswith(".image")]
    slopes = {p.name: p.slope(position[p.name]) for p in maps}
    return posterior.values(position), slopes, posterior.brightness(position)


def _scale_of(priors: list[LowRankScale], information: Information, moves, dtype, *, dense: bool) -> Scale:
    """Return the scale of images with these priors and what the data know of their pixels.

    ``moves`` has, of each image, what its coordinate does to its pixels; None where it has one number for each.
    """
    dense_information, product = information.dense, information.apply
    if any(m is not None for m in moves):
        together = scipy.linalg.block_diag(*(
            np.eye(scale.size) if m is None else np.asarray(m, float)
            for scale, m in zip(priors, moves, strict=True)
        ))  # fmt: skip
        dense_information = lambda: together.T @ information.apply(together)
        single = together.astype(np.float32)
        product = lambda v: single.T @ information.apply(single @ v)
    if dense:
        precision = dense_information() + scipy.linalg.block_diag(*map(dense_precision, priors))
        return scale_from_precision(precision, dtype)
    return scale_of_posterior(block_diagonal(priors), product, NUM_DIRECTIONS, dtype)


def _scale_where_seen(arounds: list[Around], information: Information, dtype) -> LowRankScale:
    r"""Return the scale of images of which a scene shows some directions Q only, by factors j: of precision

    .. math:: \lambda (I - Q Q^T) + Q\,(\mathrm{diag}\,p + \mathrm{diag}\,j\; Q^T A\, Q\; \mathrm{diag}\,j)\,Q^T

    with p and :math:`\lambda` the precisions of the prior along and across them, and A what the data know of what they
    see.
    """
    directions = scipy.linalg.block_diag(*(np.asarray(around.directions, float) for around in arounds))
    seen, precision = (
        np.concatenate([np.asarray(getattr(around, name), float) for around in arounds])
        for name in ("seen", "precision")
    )
    sizes = [len(around.directions) for around in arounds]
    width = np.repeat([around.precision_across**-0.5 for around in arounds], sizes)
    columns = np.repeat(
        [around.precision_across**-0.5 for around in arounds], [around.seen.size for around in arounds]
    )
    inside = np.diag(precision) + seen[:, None] * (directions.T @ information.apply(directions)) * seen
    values, rotation = np.linalg.eigh(columns[:, None] * inside * columns)
    as_dtype = lambda array: jnp.asarray(array, dtype)
    stretch = 1 / np.sqrt(np.maximum(values, 1e-3))
    return LowRankScale(as_dtype(width), as_dtype(directions @ rotation), as_dtype(stretch))
