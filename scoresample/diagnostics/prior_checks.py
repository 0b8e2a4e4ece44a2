"""What a prior on galaxy images does, measured on images: what it removes, does it hold still."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.models.learned_prior import LearnedPrior
from scoresample.models.morphology import to_coordinate, to_morphology
from scoresample.models.priors import AbstractLogPrior, AbstractPrior
from scoresample.samplers.base import Tuning
from scoresample.samplers.energies import ValueTarget
from scoresample.samplers.hmc import HMC
from scoresample.samplers.integrators import leapfrog

AT_ONCE = 32
"""Images that go through a prior together."""

Images = Float[np.ndarray, "n y x"]


def at_noise_level(prior: AbstractPrior, noise_level: float) -> AbstractPrior:
    """Return a prior that knows all noise levels at another one."""
    return dataclasses.replace(prior, noise_level=noise_level)


def _usual(images: Images) -> Float[Array, "n y x"]:
    """Return images in the precision that is in use."""
    return jnp.asarray(images, jnp.result_type(float))


def scores(prior: AbstractPrior, images: Images) -> Images:
    """Return the score of each image u."""
    return np.asarray(_scores(prior, _usual(images)))


@eqx.filter_jit
def _scores(prior: AbstractPrior, images: Float[Array, "n y x"]) -> Float[Array, "n y x"]:
    return jax.lax.map(prior.score, images, batch_size=AT_ONCE)


def scores_at(prior: LearnedPrior, images: Images, noise_level: float) -> Images:
    """Return the score of each image u at another noise level."""
    return np.asarray(_scores_at(prior, _usual(images), jnp.asarray(noise_level)))


@eqx.filter_jit
def _scores_at(prior: LearnedPrior, images: Float[Array, "n y x"], noise_level: Float[Array, ""]):
    return jax.lax.map(lambda u: prior.score_at(u, noise_level), images, batch_size=AT_ONCE)


def denoise(prior: AbstractPrior, images: Images) -> Images:
    r"""Return what a prior expects behind noisy images u, :math:`u + \sigma^2 s(u)`, at its noise level."""
    return images + prior.noise_level**2 * scores(prior, images)


def noise_left(score: Callable[[Images], Images], noise_level: float, images: Images, noise: Images) -> float:
    r"""Return the share of noise that stays, :math:`\langle (v + \sigma^2 s(v) - u)^2\rangle / \sigma^2`.

    Parameters
    ----------
    score
        Maps images u to their scores.
    noise_level
        Of that score, sigma.
    images
        Galaxies u, without noise.
    noise
        Of unit variance; the prior sees :math:`v = u + \sigma\epsilon`.
    """
    noisy = images + noise_level * noise
    return float(np.mean((noisy + noise_level**2 * score(noisy) - images) ** 2) / noise_level**2)


class RingTest(NamedTuple):
    r"""What a prior does to a faint ring that was added to galaxies.

    Attributes
    ----------
    removed
        Share of the ring that one denoising takes away: the projection of :math:`-\sigma^2 (s(u_{ring}) - s(u))` on it.
    pushed_down, pushed_down_without
        Share of the ring's pixels whose score is negative, with the ring and without it.
    score_of_galaxy
        Root mean square of :math:`\sigma s(u)` of the galaxies without ring.
    """

    removed: float
    pushed_down: float
    pushed_down_without: float
    score_of_galaxy: float


RING_HEIGHT, RING_RADIUS, RING_WIDTH = 0.1, 9.0, 1.0
"""Of the peak of a galaxy, and in pixels."""


def with_ring(images: Images) -> Images:
    """Return images u with a ring around their centers."""
    height, width = images.shape[1:]
    y, x = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    radius = np.hypot(y[:, None], x)
    shape = np.exp(-0.5 * ((radius - RING_RADIUS) / RING_WIDTH) ** 2)
    light = np.asarray(to_morphology(jnp.asarray(images)))
    peak = light.max(axis=(1, 2), keepdims=True)
    return np.asarray(to_coordinate(jnp.asarray(light + RING_HEIGHT * peak * shape)))


def ring_test(score: Callable[[Images], Images], noise_level: float, images: Images) -> RingTest:
    """Add a ring to galaxies u without noise, and see whether the score takes it away.

    An accurate prior does where the ring's height is below about two of its noise levels. A higher ring it has never
    seen, and passes as structure.

    Parameters
    ----------
    score
        Maps images u to their scores.
    noise_level
        Of that score.
    images
        Galaxies u without noise.

    References
    ----------
    Sampson et al. (2024), Astronomy and Computing 49, 100875, fig. 4.
    """
    ringed = with_ring(images)
    ring = ringed - images
    there = ring > 0.5 * ring.max(axis=(1, 2), keepdims=True)
    before, after = score(images), score(ringed)
    return RingTest(
        removed=float(-np.sum(noise_level**2 * (after - before) * ring) / np.sum(ring**2)),
        pushed_down=float(np.mean(after[there] < 0)),
        pushed_down_without=float(np.mean(before[there] < 0)),
        score_of_galaxy=float(np.sqrt(np.mean((noise_level * before) ** 2))),
    )


def box_difference(prior: AbstractPrior, images: Images, smaller: int, edge: int = 4) -> float:
    r"""Return how much scores of the same galaxies differ between two boxes: rms of :math:`\sigma (s_1 - s_2)`.

    Parameters
    ----------
    prior
        For any box.
    images
        Images u with noise, in the larger box, whose light is inside the smaller.
    smaller
        Side of the smaller box, in the middle of the larger.
    edge
        Pixels of the smaller box, along its edge, that do not count: there it lacks what the larger sees.
    """
    begin = (images.shape[1] - smaller) // 2
    inside = slice(begin, begin + smaller)
    kept = slice(edge, smaller - edge)
    large = scores(prior, images)[:, inside, inside]
    small = scores(prior, np.ascontiguousarray(images[:, inside, inside]))
    return float(prior.noise_level * np.sqrt(np.mean((large - small)[:, kept, kept] ** 2)))


class Walk(NamedTuple):
    """Where Markov chains on a prior alone ended, and how many of their moves were accepted."""

    images: Images
    acceptance: float


def walk(
    key: PRNGKeyArray,
    prior: AbstractLogPrior,
    starts: Images,
    num_moves: int = 60,
    step_size: float = 0.3,
) -> Walk:
    """Move images by Hamiltonian Monte Carlo on the prior alone: draws from it must stay draws from it.

    Parameters
    ----------
    key
        Decides all.
    prior
        With a density.
    starts
        Images u with noise of the prior's level, one for each chain.
    num_moves
        Trajectories of each chain, of 1/3 to 5/3 times three noise levels.
    step_size
        In noise levels.
    """
    keys = jax.random.split(key, 2)
    points = _usual(starts) / prior.noise_level
    z, accepted = _walk(prior, keys[0], keys[1], points, num_moves, step_size)
    return Walk(np.asarray(z) * prior.noise_level, float(accepted))


@eqx.filter_jit
def _walk(
    prior: AbstractLogPrior,
    key: PRNGKeyArray,
    key_chains: PRNGKeyArray,
    z: Float[Array, "n y x"],
    num_moves: int,
    step_size,
):
    kernel, shape, size = HMC(trajectory_length=3.0, integrator="leapfrog"), z.shape[1:], z[0].size
    target = ValueTarget(lambda flat: prior.log_prob(prior.noise_level * flat.reshape(shape)))
    unlimited = jnp.asarray(kernel.max_steps * kernel.num_stages)
    tuning = Tuning(
        jnp.asarray(step_size, z.dtype), jnp.ones(size, z.dtype), unlimited, jnp.ones((), z.dtype)
    )

    def chain(pair):
        start, own = pair
        state = kernel.init(target, start.ravel())

        def move(index, carry):
            state, accepted = carry
            # Lengths are shared, so that chains that go together take equally many steps.
            shared = jax.random.fold_in(key, index)
            one = jax.random.fold_in(own, index)
            state, stats = kernel.step(one, shared, state, target, leapfrog, tuning)
            return state, accepted + stats["acceptance_rate"] / num_moves

        state, accepted = jax.lax.fori_loop(0, num_moves, move, (state, jnp.zeros((), z.dtype)))
        return state.position.reshape(shape), accepted

    ends, accepted = jax.lax.map(chain, (z, jax.random.split(key_chains, len(z))), batch_size=AT_ONCE)
    return ends, jnp.mean(accepted)
