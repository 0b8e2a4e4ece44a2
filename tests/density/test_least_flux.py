"""Where flat fluxes end: the density, the draws, and what goes on without an end."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.special
from numpyro.diagnostics import effective_sample_size

import scoresample as ss
from scoresample.density.likelihood import fit_fluxes
from scoresample.density.posterior import OFFSETS, Posterior


@pytest.fixture
def faint(make_scene):
    """Two stars at known places, of which the data show less than nothing: six errors of one of them."""
    scene, observation = make_scene()
    fitted = fit_fluxes(Posterior(scene, observation).likelihood, scene.parameters)
    brightest = float((fitted.mean / fitted.unit)[:, :2].max())
    return scene, eqx.tree_at(lambda o: o.images, observation, observation.images * (-6 / brightest))


def exact_moments(posterior, number=400_000):
    """Return mean and standard deviation of the fluxes from weighted draws of the Gaussian without an end."""
    values = posterior.values({})
    columns = np.asarray(posterior.columns(values), float)
    solution = posterior.solve(jnp.asarray(columns, jnp.float32))
    mean, covariance = np.asarray(solution.mean, float), np.asarray(solution.covariance(), float)
    covariance = (covariance + covariance.transpose(0, 2, 1)) / 2
    errors = (
        np.sum(columns[:2] ** 2 * np.asarray(posterior.likelihood.root_weight, float) ** 2, axis=2).T ** -0.5
    )
    rng = np.random.default_rng(0)
    moments = []
    for band in range(len(mean)):
        draws = rng.multivariate_normal(mean[band], covariance[band], number)[:, :2]
        weight = np.prod(scipy.special.expit((draws / errors[band] + 2.0) / 1.5), axis=1)
        first = weight @ draws / weight.sum()
        moments.append((first, np.sqrt(weight @ (draws - first) ** 2 / weight.sum())))
    return (np.stack(part, axis=1) for part in zip(*moments, strict=True))


def test_draws_have_the_end(faint, key):
    """Moments of the draws are those of the Gaussian times what ends it; without the end they are far from that."""
    posterior = Posterior(*faint, center=None, least_flux=-2.0)
    draws = ss.sample(key, posterior, ss.HMC(), num_chains=4, num_warmup=300, num_draws=1500, progress=False)
    mean, sd = exact_moments(posterior)
    inside = np.asarray(posterior.columns(posterior.values({}))[:2].sum(axis=2), float)  # (star, band)
    fluxes = np.asarray(draws.derived["flux"], float) / inside
    error = sd / np.sqrt(1500)
    assert np.abs(fluxes.mean(axis=(0, 1)) - mean).max() < 5 * error.max()
    np.testing.assert_allclose(fluxes.std(axis=(0, 1)), sd, rtol=0.1)
    without = Posterior(*faint, center=None)
    assert np.abs(np.asarray(without.amplitudes({}))[:, :2].T - mean).max() > 10 * error.max()


def test_sampled_fluxes_have_the_same_end(faint):
    """The density of offsets and that of fluxes themselves differ by a constant, wherever fluxes are."""
    collapsed = Posterior(*faint, center=None, least_flux=-2.0)
    sampled = Posterior(*faint, center=None, collapse=False, least_flux=-2.0)
    columns = collapsed.columns(collapsed.values({}))
    sums = np.asarray(sampled.likelihood.renderer.totals(sampled.fixed))

    def difference(offsets):
        amplitudes = np.asarray(collapsed.amplitudes_of(columns, {OFFSETS: offsets}))
        fluxes = {f"{n}.flux": amplitudes[:, k] * sums[k] for k, n in enumerate(sampled.scene.names)}
        position = jax.tree.map(jnp.asarray, fluxes | {"background": amplitudes[:, 2]})
        return float(collapsed.log_prob({OFFSETS: offsets}) - sampled.log_prob(position))

    offsets = jax.random.normal(jax.random.key(1), (2, 3))
    found = [difference(scale * offsets) for scale in (0.0, 1.0, 3.0)]
    np.testing.assert_allclose(found, found[0], atol=0.02)
    # The negative control: offsets do meet the end.
    without = Posterior(*faint, center=None)
    above = [float(collapsed.log_prob({OFFSETS: s * offsets}) - without.log_prob({})) for s in (0.0, 3.0)]
    assert abs(above[1] - above[0] + 4.5 * float(jnp.sum(offsets**2))) > 0.2


def test_images_that_become_alike_gain_nothing(make_scene):
    """Integrated out without an end, fluxes of two galaxies at one place favour images that are more and more alike."""
    scene, observation = make_scene(galaxies=True)
    prior = ss.load_prior("gaussian")

    def volume(apart, least_flux):
        """Return the log-likelihood with fluxes integrated out, the end by the mean over offsets."""
        posterior = Posterior(together(scene), observation, image=prior, least_flux=least_flux)
        start = posterior.initial_position()
        wave = jnp.asarray(np.cos(np.indices((7, 7)).sum(axis=0)), start["galaxy_0.image"].dtype)
        images = {
            "galaxy_0.image": start["galaxy_0.image"],
            "galaxy_1.image": start["galaxy_0.image"] + apart * wave,
        }
        if least_flux is None:
            return float(posterior.log_likelihood(images))
        offsets = jax.random.normal(jax.random.key(0), (4000, 2, 3))
        each = jax.vmap(lambda q: posterior.log_likelihood(images | {OFFSETS: q}))(offsets)
        return float(jax.nn.logsumexp(each) - np.log(len(each)))

    gained = [volume(0.03, least) - volume(0.3, least) for least in (None, -2.0)]
    assert gained[0] > 2 * np.log(10) - 1  # ten times the error of the difference, in two bands
    assert gained[1] < 1


def together(scene):
    """Return a scene with the second source at the place of the first."""
    center = scene.sources[0].center
    return eqx.tree_at(
        lambda s: (s.sources[1].center, s.sources[1].origin), scene, (center, scene.sources[0].origin)
    )


def test_it_says_where_fluxes_end(faint):
    """In what it prints and what a position has; offsets of a start are none; not under a prior of fluxes."""
    posterior = Posterior(*faint, least_flux=-2.0)
    lines = repr(posterior).splitlines()
    assert "  flux: flat in signal-to-noise above -2 (log_prob)" in lines
    assert lines[-1] == "  flux_offsets: Normal(0, 1) (2 x 3, log_prob)"
    start = posterior.initial_position()
    np.testing.assert_array_equal(start[OFFSETS], 0)
    solution = posterior.solve(posterior.columns(posterior.values(start)))
    best = solution.mean * posterior.totals(posterior.values(start))
    np.testing.assert_allclose(posterior.amplitudes(start), best, rtol=1e-6)
    moved = posterior.amplitudes(start | {OFFSETS: start[OFFSETS] + 1})
    assert np.abs(np.asarray(moved - posterior.amplitudes(start))).min() > 0
    assert OFFSETS not in Posterior(*faint).initial_position()
    assert OFFSETS not in Posterior(*faint, flux=dist.Normal(0, 50), least_flux=-2.0).initial_position()
    for wrong in (0.5, np.nan):
        with pytest.raises(ss.ConfigError, match="it must be 0 or below"):
            Posterior(*faint, least_flux=wrong)


def test_images_and_fluxes_together_are_those_without_an_end_weighted(make_scene, key):
    """Draws without an end, each counted by what ends its fluxes, have the moments of draws with one."""
    scene, observation = make_scene(galaxies=True)
    observation = eqx.tree_at(lambda o: o.images, observation, -0.06 * observation.images)
    prior, moments = ss.load_prior("gaussian"), {}
    for least in (None, -2.0):
        posterior = Posterior(scene, observation, image=prior, least_flux=least)
        draws = ss.sample(
            jax.random.fold_in(key, int(least is None)), posterior, ss.HMC(), num_chains=4, num_warmup=300,
            num_draws=1500, progress=False,
        )  # fmt: skip
        assert draws.status == "done"
        middles = [np.asarray(draws.position[f"galaxy_{k}.image"])[..., 3, 3] for k in range(2)]
        flux = np.asarray(draws.derived["flux"])
        moments[least] = np.concatenate([flux.reshape(*flux.shape[:2], 4), np.stack(middles, -1)], -1).astype(
            float
        )
        if least is None:
            weight = np.exp(inside_of(posterior, draws))
    weight /= weight.mean()
    with_end, plain = (moments[least].mean(axis=(0, 1)) for least in (-2.0, None))
    weighted = (weight[..., None] * moments[None]).mean(axis=(0, 1))
    variance = {least: m.var(axis=(0, 1)) / effective_sample_size(m) for least, m in moments.items()}
    error = np.sqrt(variance[-2.0] + (weight**2).mean() * variance[None])
    assert np.all(np.abs(with_end - weighted) < 5 * error)
    # The negative control: without an end it is not the same.
    assert np.all(np.abs(with_end - plain)[:4] > 5 * error[:4])


def inside_of(posterior, draws):
    """Return the logarithm of what would end the fluxes of draws that have no end."""
    sums = jax.vmap(jax.vmap(lambda p: posterior.columns(posterior.values(p))))(
        jax.tree.map(jnp.asarray, draws.position)
    )[:, :, :2]
    weight = posterior.likelihood.root_weight
    alone = jnp.sqrt(jnp.einsum("cdkbp,bp->cdkb", sums**2, weight**2)) / jnp.sum(sums, axis=-1)
    return np.asarray(jax.nn.log_sigmoid((draws.derived["flux"] * alone + 2.0) / 1.5).sum(axis=(2, 3)), float)
