"""The posterior of a scene as a density of a position."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from scoresample.density.posterior import Posterior
from scoresample.errors import ConfigError, PositionError, ScoreOnlyError, ShapeError
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.priors import AbstractPrior

CHOICES = {
    "stars, fluxes integrated out": ({}, {}),
    "stars, fluxes sampled": ({}, {"collapse": False}),
    "stars, positive fluxes": ({}, {"flux": dist.LogNormal(4.0, 1.0)}),
    "galaxies": ({"galaxies": True}, {}),
    "galaxies, Normal fluxes, no background": (
        {"galaxies": True, "background": False},
        {"flux": dist.Normal(50, 30)},
    ),
}


class ScoreOnly(AbstractPrior):
    """A prior of which only the score is told."""

    width: float = 2.0
    name: str = eqx.field(static=True, default="hidden")
    noise_level: float = eqx.field(static=True, default=0.14)

    def score(self, value):
        return -value / self.width**2


@pytest.fixture
def galaxies(make_scene):
    return make_scene(galaxies=True)


@pytest.mark.parametrize("name", CHOICES)
def test_score_is_the_slope_of_log_prob(make_scene, seed_shift, name):
    scene_options, options = CHOICES[name]
    posterior = Posterior(*make_scene(**scene_options), **options, image=load_gaussian_prior())
    rng = np.random.default_rng(seed_shift)
    start = posterior.initial_position()
    start = {n: v + 0.05 * rng.normal(size=v.shape).astype(v.dtype) for n, v in start.items()}
    direction = {n: jnp.asarray(rng.normal(size=v.shape), v.dtype) for n, v in start.items()}
    step = 0.02
    ends = {n: jnp.stack([start[n] - step * direction[n], start[n] + step * direction[n]]) for n in start}
    low, high = jax.jit(jax.vmap(lambda x: posterior.log_prob(x)))(ends)
    score = jax.jit(lambda x: posterior.score(x))(start)
    slope = sum(float(jnp.sum(score[n] * direction[n])) for n in start)
    scale = np.sqrt(sum(float(jnp.sum(score[n] ** 2 * direction[n] ** 2)) for n in start))
    assert abs(float(high - low) / (2 * step) - slope) < 0.01 * scale + 0.02


def test_log_prob_is_the_sum_of_its_terms(galaxies):
    posterior = Posterior(*galaxies, image=load_gaussian_prior())
    position = posterior.initial_position()
    prior = load_gaussian_prior().for_shape((7, 7))
    expected = posterior.log_likelihood(position) + sum(prior.log_prob(u) for u in position.values())
    np.testing.assert_allclose(posterior.log_prob(position), expected, rtol=1e-5)


def test_it_prints_one_line_per_term(galaxies, make_scene):
    assert repr(Posterior(*galaxies, image=load_gaussian_prior())).splitlines() == [
        "Posterior",
        "  likelihood: Gaussian (336 pixels in gr, fluxes integrated out, log_prob)",
        "  flux: flat in signal-to-noise (log_prob)",
        "  background: flat (log_prob)",
        "  galaxy_0.image: gaussian (7 x 7, noise_level 0.14, log_prob)",
        "  galaxy_1.image: gaussian (7 x 7, noise_level 0.14, log_prob)",
    ]
    sampled = Posterior(
        *make_scene(background=False),
        flux=dist.LogNormal(4.0, 1.0),
        center=dist.Normal(0, 0.2),
        image=load_gaussian_prior(),
    )
    assert repr(sampled).splitlines() == [
        "Posterior",
        "  likelihood: Gaussian (336 pixels in gr, fluxes sampled, log_prob)",
        "  star_0.center: Normal(0, 0.2) around the detection (2, log_prob)",
        "  star_1.center: Normal(0, 0.2) around the detection (2, log_prob)",
        "  star_0.flux: LogNormal(4, 1) (2, log_prob)",
        "  star_1.flux: LogNormal(4, 1) (2, log_prob)",
    ]


def test_priors_by_name_win_over_kind_and_none_fixes(galaxies):
    posterior = Posterior(*galaxies, image=None, priors={"galaxy_1.image": load_gaussian_prior()})
    assert [p.name for p in posterior.parameters] == ["galaxy_1.image"]
    assert "galaxy_0.image" in posterior.fixed
    with pytest.raises(ConfigError, match=r"'galaxy_2\.image', which the scene lacks"):
        Posterior(*galaxies, priors={"galaxy_2.image": None}, image=load_gaussian_prior())
    with pytest.raises(ConfigError, match="'sersic_index', which the scene lacks"):
        Posterior(*galaxies, sersic_index=None, image=load_gaussian_prior())


def test_positions_that_do_not_fit_are_told_apart(galaxies):
    posterior = Posterior(*galaxies, image=load_gaussian_prior())
    position = posterior.initial_position()
    posterior.check_position(position)
    short = {n: v for n, v in position.items() if n != "galaxy_1.image"}
    wrong = position | {"galaxy_1.image": jnp.zeros((5, 7))}
    for bad, message in [
        (
            short,
            r"the position has \['galaxy_0.image'\], but the posterior needs \['galaxy_0.image', 'galaxy_1.image'\]",
        ),
        (wrong, r"galaxy_1.image has shape \(5, 7\), but needs \(7, 7\)"),
        ({}, r"the position has \[\], but"),
    ]:
        with pytest.raises(PositionError, match=message) as caught:
            posterior.check_position(bad)
        assert "\n" not in str(caught.value)


def test_scene_and_observation_share_a_frame(make_scene):
    scene, _ = make_scene()
    _, other = make_scene(shape=(13, 14))
    with pytest.raises(ShapeError, match=r"\(13, 13\) pixels .* \(13, 14\)"):
        Posterior(scene, other, image=load_gaussian_prior())


def test_a_score_only_prior_gives_no_number(galaxies):
    posterior = Posterior(*galaxies, priors={"galaxy_1.image": ScoreOnly()}, image=load_gaussian_prior())
    position = posterior.initial_position()
    assert not posterior.has_log_prob
    with pytest.raises(ScoreOnlyError, match=r"term 'galaxy_1\.image' gives only a score"):
        posterior.log_prob(position)
    with pytest.raises(ScoreOnlyError, match=r"galaxy_1\.image"):
        posterior.for_map(position).log_prob(position)
    assert "galaxy_1.image: hidden (7 x 7, noise_level 0.14, score only)" in repr(posterior)


def test_scores_with_and_without_values_add_up(galaxies):
    """A Normal prior told only by its score has the score of the same prior with a value."""
    kinds = {"galaxy_0.image": load_gaussian_prior()}
    hidden = Posterior(*galaxies, priors=kinds | {"galaxy_1.image": ScoreOnly()}, image=load_gaussian_prior())
    told = Posterior(
        *galaxies, priors=kinds | {"galaxy_1.image": dist.Normal(0, 2)}, image=load_gaussian_prior()
    )
    position = hidden.initial_position()
    scores = [eqx.filter_jit(p.score)(position) for p in (hidden, told)]
    for name in position:
        scale = float(jnp.abs(scores[1][name]).max())
        np.testing.assert_allclose(scores[0][name], scores[1][name], atol=1e-5 * scale)


def test_derived_fluxes_are_conditional_draws(galaxies, seed_shift):
    posterior = Posterior(*galaxies, image=load_gaussian_prior())
    position = posterior.initial_position()
    derive = eqx.filter_jit(lambda p, k: jax.vmap(lambda k: p.derive(k, position))(k))
    derived = derive(posterior.for_compilation(), jax.random.split(jax.random.key(seed_shift), 4000))
    columns = posterior.likelihood.columns(posterior.values(position))
    inside = np.asarray(columns[:2].sum(axis=2), float)
    covariance = np.asarray(posterior.solve(columns).covariance(), float)
    mean = np.asarray(posterior.amplitudes(position), float)
    for b in range(2):
        draws = np.asarray(derived["flux"], float)[:, :, b] / inside[:, b]
        error = np.sqrt(np.diag(covariance[b])[:2] / len(draws))
        assert np.all(np.abs(draws.mean(axis=0) - mean[b, :2]) < 5 * error)
        np.testing.assert_allclose(
            np.cov(draws.T), covariance[b, :2, :2], atol=0.12 * covariance[b, :2, :2].max()
        )
    assert derived["background"].shape == (4000, 2)
    assert derived["log_likelihood"].shape == (4000,)


def test_the_model_is_linear_in_flux(make_scene, seed_shift):
    posterior = Posterior(*make_scene(galaxies=True), collapse=False, image=load_gaussian_prior())
    start = posterior.initial_position()
    linear = [name for name in start if name.endswith("flux") or name == "background"]
    rng = np.random.default_rng(seed_shift)
    one, other = ({n: jnp.asarray(100 * rng.normal(size=2), jnp.float32) for n in linear} for _ in range(2))

    def model(fluxes):
        return np.asarray(posterior.source_images(start | fluxes).sum(axis=0), float)

    both = model({name: 3 * one[name] - 0.5 * other[name] for name in linear})
    expected = 3 * model(one) - 0.5 * model(other)
    np.testing.assert_allclose(both, expected, atol=1e-4 * np.abs(expected).max())
    shape = next(name for name in start if name.endswith("image"))  # negative control
    bent = posterior.source_images(start | one | {shape: 2 * start[shape]}).sum(axis=0)
    assert np.abs(bent - 2 * model(one)).max() > 0.01 * np.abs(bent).max()


def test_scene_at_a_position_has_its_values_and_best_fluxes(galaxies):
    posterior = Posterior(*galaxies, image=load_gaussian_prior())
    position = {n: v + 0.5 for n, v in posterior.initial_position().items()}
    scene = posterior.scene_at(position)
    np.testing.assert_array_equal(scene.parameters["galaxy_1.image"], position["galaxy_1.image"])
    amplitudes = posterior.amplitudes(position)
    np.testing.assert_allclose(scene.flux, amplitudes[:, :2].T, rtol=1e-6)
    np.testing.assert_allclose(scene.background, amplitudes[:, 2], rtol=1e-6)
    images = posterior.source_images(position)
    assert images.shape == (3, 2, 13, 13)
    again = Posterior(scene, posterior.observation, image=load_gaussian_prior()).initial_position()
    for name in position:
        np.testing.assert_array_equal(again[name], position[name])


def test_the_map_density_has_its_maximum_with_the_joint_one(galaxies):
    """With the fluxes at their best it equals the density that holds them, there and nowhere higher."""
    options = {"flux": dist.Normal(50, 30), "background": dist.Normal(0, 1)}
    collapsed, joint = (
        Posterior(*galaxies, **options, collapse=c, image=load_gaussian_prior()) for c in (True, False)
    )
    position = collapsed.initial_position()
    best = collapsed.amplitudes(position)
    full = position | {"galaxy_0.flux": best[:, 0], "galaxy_1.flux": best[:, 1], "background": best[:, 2]}
    other = full | {"galaxy_0.flux": best[:, 0] + 5}
    at_best, elsewhere = float(joint.log_prob(full)), float(joint.log_prob(other))
    normal = dist.Normal(0, 1).log_prob(0.0) * 6 - 4 * np.log(30)
    np.testing.assert_allclose(
        float(collapsed.for_map(position).log_prob(position)) + float(normal), at_best, rtol=1e-4
    )
    assert elsewhere < at_best


@eqx.filter_jit
def value_and_score(density, position):
    return density.log_prob(position), density.score(position)


def test_a_second_scene_of_the_same_shapes_compiles_nothing(make_scene, compilations):
    scene, observation = make_scene(galaxies=True)
    other = eqx.tree_at(lambda o: o.images, observation, 1.1 * observation.images)
    first, second = (
        Posterior(scene, observation, image=load_gaussian_prior()),
        Posterior(scene, other, image=load_gaussian_prior()),
    )
    position = first.initial_position()
    moved = jax.tree.map(lambda v: v + 0.1, position)
    before = compilations()
    values = [value_and_score(first.for_compilation(), position)[0]]
    assert compilations() > before  # the counter counts
    before = compilations()
    values += [value_and_score(p.for_compilation(), x)[0] for p, x in [(first, moved), (second, position)]]
    assert compilations() == before
    assert len({float(value) for value in values}) == 3


@pytest.mark.parametrize("flux", [None, dist.Normal(50, 30)], ids=["flat", "Normal"])
def test_integrating_out_is_the_gaussian_integral_of_the_joint_density(galaxies, flux):
    """The joint density at its best fluxes, times the volume of the Gaussian around them, up to a constant."""
    collapsed, joint = (
        Posterior(*galaxies, flux=flux, collapse=c, image=load_gaussian_prior()) for c in (True, False)
    )
    columns_of = jax.jit(lambda x: joint.columns(joint.values(x)))
    weight = np.asarray(joint.likelihood.root_weight, float) ** 2
    precision = np.array([0.0, 0.0, 0.0]) if flux is None else np.array([30.0**-2, 30.0**-2, 0.0])

    def both(position):
        best = collapsed.amplitudes(position)
        full = position | {"galaxy_0.flux": best[:, 0], "galaxy_1.flux": best[:, 1], "background": best[:, 2]}
        columns = np.asarray(columns_of(full), float)
        volume = 0.0
        for b in range(2):
            gram = (columns[:, b] * weight[b]) @ columns[:, b].T + np.diag(precision)
            volume -= 0.5 * np.linalg.slogdet(gram)[1]
        return float(collapsed.log_prob(position)), float(joint.log_prob(full)), volume

    start = collapsed.initial_position()
    narrow = {n: jnp.minimum(v, 6.0) - 0.5 for n, v in start.items()}
    here, there = both(start), both(narrow)
    change = [b - a for a, b in zip(here, there, strict=True)]
    assert abs(change[2]) > 0.5  # leaving out the volume would be seen
    np.testing.assert_allclose(change[0], change[1] + change[2], atol=0.02, rtol=1e-4)
