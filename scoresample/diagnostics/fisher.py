"""Diagonals of negative Hessians with respect to images: of the likelihood, and of their prior."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.density.posterior import Position, Posterior
from scoresample.models.morphology import COORDINATE_SCALE, PixelMorphology, to_coordinate, to_morphology
from scoresample.models.priors import AbstractPrior
from scoresample.models.rendering import SourceGroup
from scoresample.numerics.compiling import quick_jit

BATCH = 16
"""Probes of one draw in one compiled piece, between two looks at the error."""


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


def prior_diagonal(
    key: PRNGKeyArray,
    prior: AbstractPrior,
    u: Float[Array, "draw y x"],
    relative_error: float,
    max_probes: int,
) -> tuple[Float[np.ndarray, "draw y x"], Float[np.ndarray, "y x"], int, bool]:
    r"""Return the diagonal of the negative Jacobian of a prior's score at each draw.

    Exact where the prior has ``precision_diagonal``. Otherwise :math:`E[z \odot (-J z)]` over Rademacher
    probes z, until the error of the mean over draws is ``relative_error`` (root mean squares over pixels) or
    the probes are used up; by unit vectors, and exact, once that is the cheaper way.

    Returns
    -------
    The diagonals, the standard error of their mean over draws that the probes leave, the number of probes over
    all draws, and whether the error is as small as was asked for.
    """
    num_draws, size = len(u), u[0].size
    constant = prior.precision_diagonal()
    if constant is not None:
        return np.broadcast_to(np.asarray(constant, np.float64), u.shape), np.zeros(u.shape[1:]), 0, True
    products, count = [], 0
    while True:
        key, key_batch = jax.random.split(key)
        products.append(np.asarray(_probe(prior, u, key_batch), np.float64))
        count += BATCH * num_draws
        diagonals, error = _estimate(np.concatenate(products, axis=1))
        remaining = _rms(error) / (relative_error * _rms(diagonals.mean(axis=0)))
        if remaining <= 1 or count >= max_probes:
            break
        if size * num_draws <= min(max_probes, count * (remaining**2 - 1)):
            exact = np.asarray(_all_pixels(prior, u), np.float64).reshape(u.shape)
            return exact, np.zeros(u.shape[1:]), 0, True
    return diagonals.reshape(u.shape), error.reshape(u.shape[1:]), count, bool(remaining <= 1)


def _estimate(products: Float[np.ndarray, "draw probe n"]):
    """Return the mean over probes, and the standard error of the mean over probes and draws."""
    variance = products.var(axis=1, ddof=1) / products.shape[1]
    return products.mean(axis=1), np.sqrt(variance.sum(axis=0)) / len(products)


def _rms(values: Float[np.ndarray, " n"]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _product(prior: AbstractPrior, u: Float[Array, "y x"], probe: Float[Array, " n"]) -> Float[Array, " n"]:
    return -jax.jvp(prior.score, (u,), (probe.reshape(u.shape),))[1].ravel()


@quick_jit
def _probe(
    prior: AbstractPrior, u: Float[Array, "draw y x"], key: PRNGKeyArray
) -> Float[Array, "draw probe n"]:
    def one(arguments):
        image, key = arguments
        probes = jax.random.rademacher(key, (BATCH, image.size), image.dtype)
        return jax.lax.map(lambda z: z * _product(prior, image, z), probes)

    return jax.lax.map(one, (u, jax.random.split(key, len(u))))


@quick_jit
def _all_pixels(prior: AbstractPrior, u: Float[Array, "draw y x"]) -> Float[Array, "draw n"]:
    def entry(image, index):
        unit = jnp.zeros(image.size, image.dtype).at[index].set(1)
        return _product(prior, image, unit)[index]

    return jax.lax.map(lambda image: jax.lax.map(lambda i: entry(image, i), jnp.arange(image.size)), u)
