"""numpyro models of a user's own as densities: sites, constraints, scores without a value, scenes."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.stats
from numpyro.diagnostics import effective_sample_size

import scoresample as ss

SHAPE = (2, 2)
DATA = np.array([1.2, -0.3, 0.8], np.float32)
SIZES = {"num_chains": 4, "num_warmup": 300, "num_draws": 2000, "progress": False}


def regression(data):
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    width = numpyro.sample("width", dist.HalfNormal(1.0))
    numpyro.deterministic("ratio", mean / width)
    numpyro.sample("data", dist.Normal(mean, width), obs=data)


def test_the_density_is_that_of_the_sites_with_the_jacobian_of_their_constraints():
    density = ss.NumpyroDensity(regression, DATA)
    position = {"mean": jnp.asarray(0.4), "width": jnp.asarray(-0.7)}
    width = np.exp(-0.7)
    expected = (
        scipy.stats.norm(0, 2).logpdf(0.4)
        + scipy.stats.halfnorm.logpdf(width)
        - 0.7
        + scipy.stats.norm(0.4, width).logpdf(DATA).sum()
    )
    assert float(density.log_prob(position)) == pytest.approx(expected, rel=1e-5)
    derived = density.derive(jax.random.key(0), position)
    assert float(derived["width"]) == pytest.approx(width, rel=1e-5)
    assert float(derived["ratio"]) == pytest.approx(0.4 / width, rel=1e-5)
    assert density.has_log_prob
    density.check_position(density.initial_position())


def test_draws_have_the_moments_of_the_model(key, compilations):
    density = ss.NumpyroDensity(regression, DATA)
    draws = ss.sample(key, density, ss.NUTS(), **SIZES)
    grid_mean, grid_width = np.meshgrid(np.linspace(-6, 7, 801), np.geomspace(0.02, 6, 800), indexing="ij")
    log_prob = scipy.stats.norm(0, 2).logpdf(grid_mean) + scipy.stats.halfnorm.logpdf(grid_width)
    log_prob = log_prob + sum(scipy.stats.norm(grid_mean, grid_width).logpdf(y) for y in DATA)
    weight = np.exp(log_prob - log_prob.max()) * grid_width  # of the logarithmic grid
    for name, grid in (("mean", grid_mean), ("width", grid_width)):
        values = np.asarray(draws.derived[name], float)
        truth = np.sum(weight * grid) / weight.sum()
        spread = np.sqrt(np.sum(weight * (grid - truth) ** 2) / weight.sum())
        assert abs(values.mean() - truth) < 0.1 * spread
        assert values.std() == pytest.approx(spread, rel=0.1)
    before = compilations()
    other = ss.NumpyroDensity(regression, 2 * DATA)  # data are arguments of what is compiled
    assert ss.sample(key, other, ss.NUTS(), start=density.initial_position(), **SIZES).status == "done"
    assert compilations() - before < 10


def skewed(u):
    return jnp.sum(2 * u - jnp.exp(u))


def with_a_score(prior):
    level = numpyro.sample("level", dist.Normal(0.0, 1.0))
    u = numpyro.sample("galaxy", ss.ScoreDistribution(prior, SHAPE))
    numpyro.factor("scene", -0.5 * jnp.sum((u - level - 1.0) ** 2))


def with_the_density():
    level = numpyro.sample("level", dist.Normal(0.0, 1.0))
    u = numpyro.sample("galaxy", dist.ImproperUniform(dist.constraints.real_matrix, (), SHAPE))
    numpyro.factor("prior", skewed(u))
    numpyro.factor("scene", -0.5 * jnp.sum((u - level - 1.0) ** 2))


def test_a_site_known_by_its_score_is_sampled_like_its_density(key):
    start = {"galaxy": np.zeros(SHAPE)}
    by_score = ss.NumpyroDensity(with_a_score, ss.ScorePrior(jax.grad(skewed), SHAPE), start=start)
    exact = ss.NumpyroDensity(with_the_density, start=start)
    assert by_score.score_only_terms == ("galaxy",)
    position = {"level": jnp.asarray(0.3), "galaxy": jnp.asarray([[0.1, -0.4], [0.9, 0.2]])}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        by_score.score(position),
        exact.score(position),
    )
    found = []
    for density in (by_score, exact):
        draws = ss.sample(key, density, ss.NUTS(), **SIZES)
        galaxy = np.asarray(draws.position["galaxy"], float).reshape(4, -1, 4)
        level = np.asarray(draws.position["level"], float)[..., None]
        values = np.concatenate([level, galaxy, level**2, galaxy**2], axis=2)
        error = values.std(axis=(0, 1)) / np.sqrt(effective_sample_size(values))
        found.append((values.mean(axis=(0, 1)), error))
    (one, error), (other, other_error) = found
    assert np.abs((one - other) / np.hypot(error, other_error)).max() < 5
    assert draws.settings["sampler"]["energy"] == "log_prob"
    # Without the prior, as where it claimed a log density of 0, galaxies would be around 1.
    assert other[1:5].max() + 20 * error[1:5].max() < 1


def test_a_scene_in_a_model_is_the_scene_of_its_posterior(make_scene, key):
    scene, observation = make_scene(galaxies=True)
    prior = ss.load_gaussian_prior()
    posterior = ss.Posterior(scene, observation, image=prior)
    names = [parameter.name for parameter in posterior.parameters]

    def model(posterior):
        images = {
            name: numpyro.sample(name, ss.PriorDistribution(prior, scene.parameters[name].shape))
            for name in names
        }
        numpyro.factor("scene", posterior.log_likelihood(images))
        numpyro.deterministic("flux", posterior.derive(numpyro.prng_key(), images)["flux"])

    position = posterior.initial_position()
    density = ss.NumpyroDensity(model, posterior, start=position)
    np.testing.assert_allclose(density.log_prob(position), posterior.log_prob(position), rtol=1e-5)
    draws = ss.sample(key, density, ss.HMC(), num_chains=2, num_warmup=50, num_draws=30, progress=False)
    assert draws.status == "done"
    assert draws.derived["flux"].shape == (2, 30, 2, 2)
    assert np.std(draws.derived["flux"], axis=1).min() > 0


def test_bad_models(key):
    prior = ss.ScorePrior(jax.grad(skewed), SHAPE)

    def tossed():
        numpyro.sample("coin", dist.Bernoulli(0.5))

    with pytest.raises(ss.ConfigError, match="site 'coin' is discrete"):
        ss.NumpyroDensity(tossed)
    with pytest.raises(ss.ConfigError, match="no latent site"):
        ss.NumpyroDensity(lambda: None)
    with pytest.raises(ss.ConfigError, match=r"start has 'mu', but the latent sites are \['mean', 'width'\]"):
        ss.NumpyroDensity(regression, DATA, start={"mu": 1.0})
    density = ss.NumpyroDensity(with_a_score, prior)
    with pytest.raises(
        ss.ConfigError, match="site 'galaxy' gives only a score, and cannot be drawn from; pass"
    ):
        ss.sample(key, density, ss.NUTS())
    with pytest.raises(ss.ScoreOnlyError, match="term 'galaxy' gives only a score"):
        ss.sample(key, density, ss.NUTS(energy="log_prob"))
    with pytest.raises(ss.PositionError, match="but the model needs"):
        ss.sample(key, density, ss.NUTS(), start={"level": 0.0})
    kernel = numpyro.infer.NUTS(with_a_score, init_strategy=numpyro.infer.init_to_value(
        values={"galaxy": jnp.zeros(SHAPE)}))  # fmt: skip
    with pytest.raises(ss.ScoreOnlyError, match="log_prob was asked for"):
        numpyro.infer.MCMC(kernel, num_warmup=1, num_samples=1, progress_bar=False).run(key, prior)
