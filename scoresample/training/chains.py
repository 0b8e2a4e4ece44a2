"""Chains that wander through the energy while it is learned: what it takes for galaxies, beside what they are."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from scoresample.models.galaxy_box import GalaxyBox, padded_side
from scoresample.training import batches
from scoresample.training.dataset import TrainingSet
from scoresample.training.denoising import Energy

NOISE_LEVELS = (0.1, 3.0)
"""Each chain has a level of its own between these, evenly in the logarithm."""

LIFE = 400
"""Times that a chain is moved before a galaxy takes its place."""

_NEAR_SIDES, _SHARES = (32, 64, 17), (0.6, 0.25, 0.15)
_NUM_STEPS, _STEP_SIZE, _KEPT = 4, 0.25, 0.9


class Chains(NamedTuple):
    """Chains in boxes of one side; images and momenta in units of the noise level, 0 around the box."""

    images: Float[Array, "chain side side"]
    momenta: Float[Array, "chain side side"]
    noise_levels: Float[Array, " chain"]
    ages: Int[Array, " chain"]


def chain_sides(training_set: TrainingSet) -> dict[int, float]:
    """Return the sides of boxes with chains, those nearest to 17, 32 and 64 pixels, and how often each is moved."""
    shares: dict[int, float] = {}
    for near, share in zip(_NEAR_SIDES, _SHARES, strict=True):
        side = min(training_set.images, key=lambda known: abs(known - near))
        shares[side] = shares.get(side, 0.0) + share
    return shares


def begin_chains(training_set: TrainingSet, seed: int, batch: int = batches.BATCH) -> dict[int, Chains]:
    """Return new chains by side, as many as a batch has galaxies, at galaxies with noise."""
    found = {}
    for side in chain_sides(training_set):
        rng = np.random.default_rng([seed, side, 2])
        size = batches.batch_size(padded_side(side), batch)
        found[side] = _fresh(training_set, side, size, rng)._replace(
            ages=jnp.asarray(rng.integers(LIFE, size=size), jnp.int32)
        )
    return found


def renew(chains: Chains, training_set: TrainingSet, side: int, rng: np.random.Generator) -> Chains:
    """Return chains that are a step older, those at the end of their life replaced by galaxies with noise."""
    chains = chains._replace(ages=chains.ages + 1)
    old = np.flatnonzero(np.asarray(chains.ages) >= LIFE)
    if not len(old):
        return chains
    new = _fresh(training_set, side, len(old), rng)
    return Chains(
        *(jnp.asarray(_with(np.array(known), old, part)) for known, part in zip(chains, new, strict=True))
    )


@eqx.filter_jit
def wander(network: Energy, box: GalaxyBox, chains: Chains, key: PRNGKeyArray) -> Chains:
    """Return chains after a few steps of underdamped Langevin dynamics, whose error at such steps is below 1 %."""
    score = jax.vmap(jax.grad(lambda z, level: -network.energy(level * z, box, level)))

    def step(index, carry):
        z, p = carry
        noise = jax.random.normal(jax.random.fold_in(key, index), p.shape, p.dtype) * box.mask
        p = _KEPT * p + np.sqrt(1 - _KEPT**2).astype(p.dtype) * noise
        p = p + 0.5 * _STEP_SIZE * score(z, chains.noise_levels)
        z = z + _STEP_SIZE * p
        return z, p + 0.5 * _STEP_SIZE * score(z, chains.noise_levels)

    z, p = jax.lax.fori_loop(0, _NUM_STEPS, step, (chains.images, chains.momenta))
    return chains._replace(images=z, momenta=p)


def noisy_galaxies(
    training_set: TrainingSet, side: int, chains: Chains, rng: np.random.Generator
) -> Float[np.ndarray, "chain side side"]:
    """Return galaxies u with the noise that chains have, to compare with them."""
    levels = np.asarray(chains.noise_levels)
    images, noise = _galaxies(training_set, side, len(levels), rng)
    return images + levels[:, None, None] * noise


def contrast(
    network: Energy, box: GalaxyBox, galaxies: Float[Array, "chain side side"], chains: Chains
) -> Float[Array, ""]:
    r"""Return :math:`\langle E(galaxies)\rangle - \langle E(chains)\rangle`.

    Chains draw from the density :math:`e^{-E}` as it is, and the gradient by the weights is that of the mean negative
    log likelihood of galaxies (persistent contrastive divergence: Tieleman 2008, ICML, 1064). It is the one loss that
    knows how *many* images an energy holds for likely: where it is a few nats too low for each of a wealth of images,
    regressions from galaxies with noise never see them, and chains go nowhere else.
    """
    energies = jax.vmap(lambda u, level: network.energy(u, box, level, as_product=False))
    images = chains.noise_levels[:, None, None] * chains.images
    return jnp.mean(energies(galaxies, chains.noise_levels) - energies(images, chains.noise_levels))


def _fresh(training_set, side, size, rng) -> Chains:
    levels = np.exp(rng.uniform(*np.log(NOISE_LEVELS), size)).astype(np.float32)
    images, noise = _galaxies(training_set, side, size, rng)
    momenta = np.zeros_like(noise)
    momenta[:, :side, :side] = rng.normal(size=(size, side, side))
    arrays = (images / levels[:, None, None] + noise, momenta, levels, np.zeros(size, np.int32))
    return Chains(*map(jnp.asarray, arrays))


def _galaxies(training_set, side, size, rng):
    """Return galaxies to train on in padded squares, turned, and unit noise in their boxes."""
    padded = padded_side(side)
    images, noise = np.zeros((2, size, padded, padded), np.float32)
    which = rng.integers(batches.num_training(training_set, side), size=size)
    for image, u in zip(images, training_set.coordinates(side, which), strict=True):
        image[:side, :side] = batches.turned(u, rng)
    noise[:, :side, :side] = rng.normal(size=(size, side, side))
    return images, noise


def _with(array, where, values):
    array[where] = values
    return array
