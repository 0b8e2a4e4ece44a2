"""Priors of a user's own training, from the file of their weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.errors import ConfigError, FileFormatError
from scoresample.models.brightness import off_brightness
from scoresample.models.energy_network import EnergyNetwork
from scoresample.models.galaxy_box import galaxy_box
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.load import load_prior, prior_card, prior_hash
from scoresample.models.weights_file import write_network


@pytest.fixture
def write(tmp_path):
    def write(kind="residual", seed=1):
        path = tmp_path / f"{kind}_{seed}.npz"
        write_network(
            path, EnergyNetwork(jax.random.key(seed), kind, (4, 6, 8)), load_gaussian_prior().tables, {}
        )
        return path

    return write


def test_a_prior_from_a_file_is_the_network_in_it(write):
    path = write()
    prior = load_prior(str(path))
    assert prior.name == "residual_1"
    y, x = jnp.indices((16, 16)) - 7.5
    galaxy = 6 * jnp.exp(-(x**2 + y**2) / 8)  # within what galaxies are; see LearnedPrior
    u = galaxy + 0.3 * prior.noise_level * jax.random.normal(jax.random.key(2), (16, 16))
    network = EnergyNetwork(jax.random.key(1), "residual", (4, 6, 8))
    box = galaxy_box(load_gaussian_prior().tables, (16, 16))
    level = jnp.asarray(prior.noise_level, u.dtype)
    expected = -network.energy(u, box, level) - off_brightness(u, level)
    np.testing.assert_allclose(prior.log_prob(u), expected, rtol=1e-5)
    assert prior_hash(path) != prior_hash(write(seed=2))


def test_a_file_may_have_the_name_of_a_shipped_one(write):
    path = write()
    path = path.rename(path.with_name("gaussian.npz"))
    assert load_prior(path).name == "gaussian"
    assert prior_card(path)["kind"] == "residual"
    of_tables = [prior_card(name)["training_set"] for name in ("gaussian", "log-gaussian")]
    assert [card["population"] for card in of_tables] == ["general", "ring-boxes"]
    assert all(card["seed"] == 1 and card["galaxies"] >= 3000 for card in of_tables)


def test_files_that_hold_no_prior(write, tmp_path):
    with pytest.raises(ConfigError, match="has no density"):
        load_prior(write("score"))
    with pytest.raises(FileFormatError, match=r"none\.npz cannot be read as weights"):
        load_prior(tmp_path / "none.npz")
    with pytest.raises(ConfigError, match=r"no prior 'stars'.*ends in \.npz"):
        load_prior("stars")


def test_the_noise_level_can_be_chosen(write):
    assert [load_prior(name).noise_level for name in (write(), "gaussian")] == [0.3, 0.14]
    assert load_prior(write(), noise_level=0.5).noise_level == 0.5
    assert load_prior("gaussian", noise_level=0.5).noise_level == 0.5
    with pytest.raises(ConfigError, match=r"noise_level is 0\.001; the network was trained for 0\.05 to 10"):
        load_prior(write(), noise_level=0.001)
