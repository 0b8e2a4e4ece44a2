"""Diagonals of negative Hessians with respect to images: of the likelihood, and of their prior."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.density.posterior import Position, Posterior
from scoresample.diagnostics.probing import (
    AbstractOperator,
    Diagonals,
    exact_diagonals,
    probed_diagonals,
)
from scoresample.models.morphology import COORDINATE_SCALE, PixelMorphology, to_coordinate, to_morphology
from scoresample.models.priors import AbstractPrior
from scoresample.models.rendering import SourceGroup
from scoresample.numerics.compiling import quick_jit


@quick_jit
def likelihood_diagonals(
    posterior: Posterior, positions: Position
) -> dict[str, tuple[Float[Array, "draw y x"], Float[Array, "draw y x"]]]:
    r"""Return the Gauss-Newton diagonal of the likelihood over every pixel morphology, and u itself.

    .. math:: S'(u_p)^2 \sum_b a_b^2 \sum_x w_b(x) K_b(x - p)^2, \qquad a_b = A_{kb} / {\textstyle\sum} S

    at a fixed scale a, with A the most probable fluxes of the position: by one correlation per band, exact
    for the renderer's own kernels, frame edges and sub-pixel shifts.

    Parameters
    ----------
    posterior
        Its compiled form will do.
    positions
        Leaves with one leading axis.
    """

    def one(position):
        values = posterior.values(position)
        brightness = posterior.brightness(position)
        found = {}
        for group in posterior.likelihood.renderer.groups:
            if not issubclass(group.kind, PixelMorphology):
                continue
            responses = _responses(posterior, group, values)
            for index, name, response in zip(group.members, group.names, responses, strict=True):
                u = values[f"{name}.image"]
                slope = COORDINATE_SCALE * (to_morphology(u) + 1)
                found[name] = (slope**2 * jnp.einsum("b,byx->yx", brightness[:, index] ** 2, response), u)
        return found

    return jax.lax.map(one, positions)


def _responses(posterior: Posterior, group: SourceGroup, values) -> Float[Array, "source band y x"]:
    """Return the sum over the frame of weight times kernel squared, for a kernel on each pixel of each box."""
    # The stamp of a source with all its light in the first pixel of its box is the kernel of that pixel.
    first = jnp.zeros(group.box).at[0, 0].set(1.0)
    spikes = {f"{name}.image": to_coordinate(first) for name in group.names}
    kernels = group.stamps({**values, **spikes})
    shape = posterior.likelihood.renderer.shape
    weights = (posterior.likelihood.root_weight**2).reshape(-1, *shape)
    canvas = jnp.pad(weights, ((0, 0), *((n, n) for n in group.stamp)))

    def cut(corner):
        corner = jnp.maximum(corner + jnp.asarray(group.stamp), 0)
        return jax.lax.dynamic_slice(canvas, (0, corner[0], corner[1]), (len(weights), *group.stamp))

    seen = jnp.fft.rfft2(jax.vmap(cut)(group.corner)) * jnp.conj(jnp.fft.rfft2(kernels**2))
    sums = jnp.fft.irfft2(seen, s=group.stamp)[..., : group.box[0], : group.box[1]]
    return jnp.maximum(sums, 0)  # rounding, where a pixel is not seen at all


class _OfPrior(AbstractOperator):
    """The negative Jacobian of a prior's score; points are images."""

    prior: AbstractPrior

    def product(self, point: Float[Array, "y x"], image: Float[Array, "y x"]) -> Float[Array, "y x"]:
        return -jax.jvp(self.prior.score, (point,), (image,))[1]


class _OfLikelihood(AbstractOperator):
    """The Gauss-Newton Hessian of the likelihood over what is sampled of one image; points are positions."""

    posterior: Posterior
    index: int = eqx.field(static=True)
    name: str = eqx.field(static=True)

    def product(self, point: Position, image: Float[Array, "y x"]) -> Float[Array, "y x"]:
        likelihood = self.posterior.likelihood
        factor = self.posterior.brightness(point)[:, self.index, None] * likelihood.root_weight

        def seen(value):
            values = self.posterior.values({**point, self.name: value})
            return factor * likelihood.columns(values, unit_flux=False)[self.index]

        _, pull_back = jax.vjp(seen, point[self.name])
        return pull_back(jax.jvp(seen, (point[self.name],), (image,))[1])[0]


def prior_diagonal(
    key: PRNGKeyArray,
    prior: AbstractPrior,
    u: Float[Array, "draw y x"],
    relative_error: float,
    max_probes: int,
) -> Diagonals:
    """Return the diagonal of the negative Jacobian of a prior's score at each draw.

    Exact where the prior has ``precision_diagonal``, else by `probed_diagonals`.
    """
    constant = prior.precision_diagonal()
    if constant is not None:
        return exact_diagonals(np.broadcast_to(np.asarray(constant, np.float64), u.shape))
    return probed_diagonals(key, _OfPrior(prior), u, u.shape[1:], relative_error, max_probes)


def sampled_diagonal(
    key: PRNGKeyArray,
    posterior: Posterior,
    positions: Position,
    index: int,
    relative_error: float,
    max_probes: int,
) -> Diagonals:
    r"""Return the diagonal of :math:`J^T F_{like} J` of the image of one source, at each position.

    With :math:`J = dD/du` of a prior that hides its noise: scenes show :math:`D(u)`, each pixel of which has many of u.
    """
    name = f"{posterior.scene.sources[index].name}.image"
    operator = _OfLikelihood(posterior.for_compilation(), index, name)
    shape = positions[name].shape[1:]
    return probed_diagonals(key, operator, positions, shape, relative_error, max_probes)
