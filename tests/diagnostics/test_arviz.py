"""Draws as an arviz tree: names, labels and values."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from scoresample.data.observation import make_observation
from scoresample.density.base import Density
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.arviz import to_arviz
from scoresample.diagnostics.predictive import predictive_check
from scoresample.models.initialization import gaussian_morphology
from scoresample.models.morphology import PointSource
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source
from scoresample.numerics.trees import named_leaves
from scoresample.samplers.base import Draws

SHAPE = (2, 5)


@pytest.fixture
def rng(seed_shift):
    return np.random.default_rng(seed_shift)


@pytest.fixture
def scene_draws(rng):
    psf = np.zeros((5, 3))
    psf[2, 1] = 1
    images = rng.normal(size=(2, 16, 18))
    observation = make_observation(images, np.ones((2, 16, 18)), [psf] * 2, ["g", "r"], flux_unit="nJy")
    galaxy = make_source("galaxy_0", gaussian_morphology(7, 1.5), (2, 4), [1.0, 1.0])
    core = make_source("galaxy_0_core", gaussian_morphology(5, 1.0), (2, 4), [1.0, 1.0], parent="galaxy_0")
    star = make_source("star_1", PointSource(), (8, 14), [1.0, 1.0], box=7)
    scene = Scene(observation.frame, (galaxy, core, star), jnp.zeros(2), GaussianPSF(0.7))
    posterior = Posterior(scene, observation, image=dist.Normal(0, 1))
    position = {
        "galaxy_0.image": rng.normal(size=(*SHAPE, 7, 7)),
        "galaxy_0_core.image": rng.normal(size=(*SHAPE, 5, 5)),
        "star_1.center": rng.normal(size=(*SHAPE, 2)),
    }
    derived = {"flux": rng.normal(size=(*SHAPE, 2, 2)), "background": rng.normal(size=(*SHAPE, 2))}
    stats = {"log_prob": rng.normal(size=SHAPE), "diverging": np.zeros(SHAPE, bool)}
    return Draws(position, derived, stats, "done", {}, posterior)


def test_groups_and_labels_of_a_scene(scene_draws):
    tree = to_arviz(scene_draws)
    assert set(tree.children) == {"posterior", "sample_stats", "observed_data", "constant_data"}
    flux = tree["posterior"]["flux"]
    assert flux.dims == ("chain", "draw", "object", "band")
    star_r = flux.sel(object="star_1", band="r")
    np.testing.assert_array_equal(star_r, scene_draws.derived["flux"][:, :, 1, 1])
    assert tree["posterior"]["background"].dims == ("chain", "draw", "band")
    assert tree["posterior"]["star_1.center"].dims == ("chain", "draw", "axis")
    assert tree.attrs["flux_unit"] == "nJy" and tree.attrs["status"] == "done"
    assert tree["sample_stats"]["diverging"].dtype == bool
    np.testing.assert_array_equal(tree["observed_data"]["images"], scene_draws.density.observation.images)
    assert tree["constant_data"]["psfs"].dims == ("band", "psf_y", "psf_x")


def test_replicated_data_lie_beside_the_draws_that_they_are_of(scene_draws, key):
    check = predictive_check(key, scene_draws, num_draws=3)
    tree = to_arviz(scene_draws, check)
    replicated = tree["posterior_predictive"]["images"]
    assert replicated.dims == ("chain", "draw", "band", "y", "x")
    np.testing.assert_array_equal(replicated[0], check.replicated)
    assert list(replicated.coords["band"].values) == ["g", "r"]
    assert tree["posterior"].sizes["draw"] == SHAPE[1]
    assert replicated.sizes["draw"] == 3


def test_pixels_of_images_are_those_of_the_frame(scene_draws):
    """Boxes of 7 and 5 around (2, 4) begin at (-1, 1) and (0, 2)."""
    posterior = to_arviz(scene_draws)["posterior"]
    image, core = posterior["galaxy_0.image"], posterior["galaxy_0_core.image"]
    assert image.dims == ("chain", "draw", "galaxy_0_y", "galaxy_0_x")
    assert image["galaxy_0_y"].values.tolist() == list(range(-1, 6))
    assert core["galaxy_0_core_x"].values.tolist() == list(range(2, 7))
    inside = image.sel(galaxy_0_y=0, galaxy_0_x=1)
    np.testing.assert_allclose(inside, scene_draws.position["galaxy_0.image"][:, :, 1, 0], rtol=1e-6)


def test_leaves_are_named_by_their_path():
    tree = {"a": np.zeros(3), "b": (np.ones(1), {"c": np.ones(2)})}
    assert {name: leaf.shape for name, leaf in named_leaves(tree).items()} == {
        "a": (3,),
        "b.0": (1,),
        "b.1.c": (2,),
    }
    assert list(named_leaves(np.zeros(2))) == ["x"]


def test_plain_density_of_any_tree(rng):
    density = Density(log_prob=lambda x: jnp.zeros(()))
    position = [rng.normal(size=(*SHAPE, 3)), rng.normal(size=SHAPE)]
    tree = to_arviz(Draws(position, {}, {"energy": rng.normal(size=SHAPE)}, "done", {}, density))
    assert set(tree.children) == {"posterior", "sample_stats"}
    np.testing.assert_array_equal(tree["posterior"]["0"], position[0])
    np.testing.assert_array_equal(tree["posterior"]["1"], position[1])


def test_no_draws_are_an_empty_tree(scene_draws):
    def none(arrays):
        return {name: value[:, :0] for name, value in arrays.items()}

    empty = scene_draws._replace(
        position=none(scene_draws.position), derived=none(scene_draws.derived), stats=none(scene_draws.stats)
    )
    assert to_arviz(empty)["posterior"].sizes["draw"] == 0
