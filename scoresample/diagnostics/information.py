"""What data and prior say about all free images of a scene, as products with vectors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.density.base import Scale
from scoresample.density.parameters import Parameter
from scoresample.density.posterior import Position, Posterior
from scoresample.models.morphology import to_morphology
from scoresample.numerics.compiling import quick_jit
from scoresample.numerics.curvature import lanczos
from scoresample.numerics.linear import LowRankScale, ProductScale

FLATTEST = 1e-4
"""Least curvature that a prior is given along a direction, in units of its own scale's. A learned density may be flat
or bent the other way there: the data decide, and how much more than the prior is not a number."""


class Information(eqx.Module):
    r"""Gauss-Newton information on all free images, in coordinates z in which the prior's is the identity.

    .. math:: H = \Big\langle L^T J^T W^{1/2} (I - Q Q^T)\, W^{1/2} J L \Big\rangle, \qquad x = L z

    averaged over positions: J the derivative of the scene with respect to the sampled coordinates x at fixed
    amplitudes, PSF and all bands included, Q an orthonormal basis of what fluxes and background can take up.

    Attributes
    ----------
    posterior
        Its compiled form.
    positions
        Leaves with one leading axis.
    taken_up
        Q.
    amplitudes
        The factors of S.
    roots
        L of each image.
    names
        Of the images, in the order of the coordinates.
    """

    posterior: Posterior
    positions: Position
    taken_up: Float[Array, "draw band column pixel"]
    amplitudes: Float[Array, "draw band source"]
    roots: tuple[Scale, ...]
    names: tuple[str, ...] = eqx.field(static=True)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the sampled coordinates of the images."""
        return tuple(self.positions[name].shape[1:] for name in self.names)

    @property
    def image_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the images."""
        free = {parameter.name: parameter for parameter in self.posterior.parameters}
        return tuple(free[name].shape for name in self.names)

    def split(self, flat: Float[Array, " n"]) -> dict[str, Float[Array, "..."]]:
        """Return the sampled coordinates of each image by name."""
        return _split(flat, self.names, self.shapes)

    def images(self, flat: Float[Array, " pixel"]) -> dict[str, Float[Array, "y x"]]:
        """Return images by name."""
        return _split(flat, self.names, self.image_shapes)

    def sampled(self, z: Float[Array, " n"]) -> dict[str, Float[Array, "..."]]:
        """Return the change of the sampled coordinates, L z, by name."""
        pairs = zip(self.split(z).items(), self.roots, strict=True)
        return {name: root.apply(part.ravel()).reshape(part.shape) for (name, part), root in pairs}

    def whiten(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return z of a change of the sampled coordinates."""
        parts = self.split(x).values()
        return jnp.concatenate([r.inverse(part.ravel()) for part, r in zip(parts, self.roots, strict=True)])

    def spread(self, scales: tuple[Scale, ...], x: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return the covariance :math:`T T^T` of some scales T, of one or more images each in turn, times x."""
        ends = np.cumsum([scale.size for scale in scales])[:-1]
        twice = lambda scale, part: scale.apply(jax.linear_transpose(scale.apply, part)(part)[0])
        return jnp.concatenate([twice(s, part) for s, part in zip(scales, jnp.split(x, ends), strict=True)])

    def likelihood(self, z: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return H z."""

        def one(arguments):
            position, taken_up, amplitudes = arguments
            images = {name: position[name] for name in self.names}
            model = lambda changed: self._model(position | changed, amplitudes)
            seen = jax.jvp(model, (images,), (self.sampled(z),))[1]
            flux = jnp.einsum("bkp,bp->bk", taken_up, seen)
            seen = seen - jnp.einsum("bkp,bk->bp", taken_up, flux)
            pulled = jax.vjp(model, images)[1](seen)[0]
            return jax.linear_transpose(self.sampled, z)(pulled)[0]

        return jnp.mean(jax.lax.map(one, (self.positions, self.taken_up, self.amplitudes)), axis=0)

    def morphology(self, z: Float[Array, " n"]) -> Float[Array, " pixel"]:
        """Return the change of the morphologies S that are seen."""

        def one(position):
            seen = lambda images: self._seen(position | images)
            return jax.jvp(seen, ({n: position[n] for n in self.names},), (self.sampled(z),))[1]

        return jnp.mean(jax.lax.map(one, self.positions), axis=0)

    def mean_morphology(self) -> Float[Array, " pixel"]:
        """Return the morphologies S that are seen, averaged over positions."""
        return jnp.mean(jax.lax.map(self._seen, self.positions), axis=0)

    def _seen(self, position):
        values = self.posterior.values(position)
        return jnp.concatenate([to_morphology(values[name]).ravel() for name in self.names])

    def _model(self, position, amplitudes):
        """Return all sources in units of the noise, for fixed factors of S."""
        columns = self.posterior.likelihood.columns(self.posterior.values(position), unit_flux=False)
        image = jnp.einsum("bk,kbp->bp", amplitudes, columns[: amplitudes.shape[1]])
        return image * self.posterior.likelihood.root_weight


def _split(flat, names, shapes):
    """Return the parts of a flat vector, in their shapes, by name."""
    parts = jnp.split(flat, np.cumsum([np.prod(shape) for shape in shapes])[:-1])
    return {name: part.reshape(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}


def make_information(
    key: PRNGKeyArray, posterior: Posterior, positions: Position, names: tuple[str, ...], num_steps: int
) -> Information:
    """Return the information at positions, with leaves that have one leading axis.

    Parameters
    ----------
    key
        For the search of the curvature of priors that are not Gaussian.
    posterior, positions
        The scene, and where.
    names
        Of the free images.
    num_steps
        How many directions of such a prior are told apart from its own scale's.
    """
    free = {parameter.name: parameter for parameter in posterior.parameters}
    roots = tuple(
        prior_root(key_root, free[name], positions[name], num_steps)
        for name, key_root in zip(names, jax.random.split(key, len(names)), strict=True)
    )
    compiled = posterior.for_compilation()
    return Information(compiled, positions, *_amplitudes(compiled, positions), roots, names)


@quick_jit
def _amplitudes(posterior: Posterior, positions: Position):
    """Return what fluxes and background take up, orthonormal, and the most probable factors of S."""

    def one(position):
        columns = posterior.columns(posterior.values(position))
        fluxes = posterior.solve(columns)
        design = (
            jnp.moveaxis(columns, 0, 1) * posterior.likelihood.root_weight[:, None] * fluxes.unit[:, :, None]
        )
        solve = lambda lower, rows: jax.scipy.linalg.solve_triangular(lower, rows, lower=True)
        return jax.vmap(solve)(fluxes.cholesky, design), posterior.brightness(position)

    return jax.lax.map(one, positions)


def prior_root(
    key: PRNGKeyArray, parameter: Parameter, images: Float[Array, "draw ..."], num_steps: int
) -> Scale:
    r"""Return L with :math:`L^T F L = I`, F the negative Jacobian of a prior's score, averaged over draws.

    The prior's own scale where that is one, as for Gaussians. Otherwise the scale, stretched along the ``num_steps``
    directions that Lanczos finds: exact where they are all; for many more pixels good for a prior like that of a
    diffusion model, which is a Gaussian of the noise level but for few directions in which galaxies vary.
    """
    outer = jax.tree.map(lambda leaf: jnp.asarray(leaf, images.dtype), parameter.scale())
    start = jax.random.normal(key, (images[0].size,), images.dtype)
    off = _curvature(parameter, images, outer, start) - start
    if jnp.linalg.norm(off) < 1e-3 * jnp.linalg.norm(start):
        return outer
    return ProductScale(outer, _stretched(parameter, images, outer, start, min(num_steps, start.size)))


@quick_jit
def _curvature(parameter: Parameter, images, outer: LowRankScale, z: Float[Array, " n"]):
    """Return the prior's F in the coordinates of a scale, times a vector."""
    direction = outer.apply(z).reshape(images.shape[1:])
    one = lambda image: -jax.jvp(score_of(parameter), (image,), (direction,))[1]
    return outer.apply_transpose(jnp.mean(jax.lax.map(one, images), axis=0).ravel())


@quick_jit
def _stretched(parameter: Parameter, images, outer: LowRankScale, start, num_steps: int) -> LowRankScale:
    values, directions, _ = lanczos(lambda z: _curvature(parameter, images, outer, z), start, num_steps)
    return LowRankScale(jnp.ones_like(start), directions, 1 / jnp.sqrt(jnp.maximum(values, FLATTEST)))


def score_of(parameter: Parameter):
    """Return the score of a parameter's prior in the sampled coordinate, log-Jacobian included."""
    return jax.grad(parameter.log_prob) if parameter.prior.has_map else parameter.score
