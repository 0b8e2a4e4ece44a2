"""Priors whose noise a scene does not show: what is rendered, how wide it is, and where the climb begins and ends."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.density.held_fluxes import HeldFluxes
from scoresample.density.local_scale import local_scale
from scoresample.density.maximized_fluxes import MaximizedFluxes
from scoresample.density.posterior import Posterior
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.priors import AbstractLogPrior, Around
from scoresample.numerics.trees import flatten
from scoresample.samplers.optimize import find_map
from scoresample.samplers.whitening import local_whitening


class Noisy(AbstractLogPrior):
    """Images of a few Gaussian patterns, with white noise that scenes do not show: all of it in closed form."""

    mean: Float[Array, "y x"]
    patterns: Float[Array, "n k"]
    variances: Float[Array, " k"]
    name: str = eqx.field(static=True, default="noisy")
    noise_level: float = eqx.field(static=True, default=0.3)

    @property
    def hides_noise(self) -> bool:
        return True

    def log_prob(self, value: Float[Array, "y x"]) -> Float[Array, ""]:
        rest = (value - self.mean).ravel()
        along = self.patterns.T @ rest
        noise = self.noise_level**2
        across = jnp.sum(rest**2) - jnp.sum(along**2)
        return -0.5 * (jnp.sum(along**2 / (self.variances + noise)) + across / noise)

    def to_seen(self, value: Float[Array, "y x"]) -> Float[Array, "y x"]:
        return value + self.noise_level**2 * self.score(value)

    def around(self, value: Float[Array, "y x"]) -> Around:
        noise = self.noise_level**2
        seen = self.variances / (self.variances + noise)
        return Around(self.patterns, seen, 1 / (self.variances + noise), 1 / noise)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n: int) -> Float[Array, "n y x"]:
        raise NotImplementedError


@pytest.fixture
def noisy():
    rng = np.random.default_rng(8)
    y, x = np.indices((7, 7)) - 3
    patterns = np.linalg.qr(rng.normal(size=(49, 6)) * np.exp(-(y**2 + x**2) / 8).reshape(-1, 1))[0]
    mean = 10 * np.log1p(np.exp(-(y**2 + x**2) / (2 * 1.4**2)))
    return Noisy(
        *(jnp.asarray(a, jnp.result_type(float)) for a in (mean, patterns, np.linspace(0.2, 2.0, 6)))
    )


@pytest.fixture
def posterior(make_scene, noisy):
    return Posterior(*make_scene(galaxies=True, background=True), image=noisy)


def somewhere(posterior):
    """A position with noise in it."""
    keys = jax.random.split(jax.random.key(3), len(posterior.parameters))
    return {
        p.name: p.prior.mean + 0.3 * jax.random.normal(key, p.shape)
        for p, key in zip(posterior.parameters, keys, strict=True)
    }


def test_a_scene_shows_the_image_without_noise(posterior, noisy):
    position = somewhere(posterior)
    values = posterior.values(position)
    for name, value in position.items():
        np.testing.assert_allclose(values[name], noisy.to_seen(value), rtol=1e-5, atol=1e-5)
    # Noise that no pattern has changes the prior, and nothing that data see.
    across = jax.random.normal(jax.random.key(1), (49,))
    across = (across - noisy.patterns @ (noisy.patterns.T @ across)).reshape(7, 7)
    moved = position | {"galaxy_0.image": position["galaxy_0.image"] + across}
    assert float(posterior.log_likelihood(moved)) == pytest.approx(
        float(posterior.log_likelihood(position)), abs=0.02
    )
    assert float(posterior.log_prob(moved)) < float(posterior.log_prob(position)) - 10


def test_the_local_scale_knows_what_is_seen(posterior):
    """The Hessian in its coordinates is nearly the identity, but where neighbours share light."""
    position = somewhere(posterior)
    whitening = local_whitening(posterior, position)
    assert [names for names, _ in local_scale(posterior, position)] == [
        ("galaxy_0.image",),
        ("galaxy_1.image",),
    ]
    size = flatten(position)[0].size
    density = HeldFluxes(posterior, posterior.amplitudes(position))
    flat, unflatten = flatten(position)

    def eigenvalues(whiten):
        hessian = jax.jit(jax.hessian(lambda z: -density.log_prob(whiten(z))))(jnp.zeros(size))
        return np.linalg.eigvalsh(np.asarray(hessian, float))

    bare, white = eigenvalues(lambda z: unflatten(flat + z)), eigenvalues(whitening.position)
    assert bare.max() / bare.min() > 20
    assert np.mean(np.abs(white - 1) < 0.2) > 0.9
    assert white.max() < 4


def test_the_climb_holds_fluxes(posterior, make_scene):
    position = somewhere(posterior)
    density = posterior.for_map(position)
    assert isinstance(density, HeldFluxes)
    expected = posterior.explicit_prior(position) + posterior.likelihood.log_prob(
        posterior.columns(posterior.values(position)),
        posterior.solve(posterior.columns(posterior.values(position))).mean,
    )
    assert float(density.log_prob(position)) == pytest.approx(float(expected), rel=1e-4)
    gaussian = Posterior(*make_scene(galaxies=True, background=True), image=load_gaussian_prior())
    assert isinstance(gaussian.for_map(gaussian.initial_position()), MaximizedFluxes)


def test_the_climb_begins_at_the_maximum_under_the_gaussian_prior(posterior):
    easier = posterior.easier()
    assert {p.prior.name for p in easier.parameters} == {"gaussian"}
    assert easier.easier() is None
    given = find_map(posterior, find_map(easier, progress=False).position, progress=False)
    best = find_map(posterior, progress=False)
    assert best.status == given.status == "converged"
    for name, value in given.position.items():
        np.testing.assert_allclose(best.position[name], value, atol=0.02)
    assert find_map(posterior, progress=False, max_seconds=0.0).status == "out of time"
