"""Weights in galaxygrad's layout: a network of equinox layers, written by equinox, gives the same scores when read."""

import sys
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.errors import ConfigError, FileFormatError
from scoresample.models.galaxygrad import load_galaxygrad

SIDE, HIDDEN, MIXING, DURATION = 16, 64, 512, 10.0


class LayerBlock(eqx.Module):
    """One block of equinox layers, in the order that the files have."""

    along_patches: eqx.nn.MLP
    along_channels: eqx.nn.MLP
    first: eqx.nn.LayerNorm
    second: eqx.nn.LayerNorm

    def __init__(self, num_patches, key):
        keys = jax.random.split(key)
        self.along_patches = eqx.nn.MLP(num_patches, num_patches, MIXING, depth=1, key=keys[0])
        self.along_channels = eqx.nn.MLP(HIDDEN, HIDDEN, MIXING, depth=1, key=keys[1])
        self.first = eqx.nn.LayerNorm((HIDDEN, num_patches))
        self.second = eqx.nn.LayerNorm((num_patches, HIDDEN))

    def __call__(self, x):
        x = x + jax.vmap(self.along_patches)(self.first(x))
        return x + jax.vmap(self.along_channels)(self.second(x.T)).T


class LayerMixer(eqx.Module):
    """The whole network of equinox layers."""

    begin: eqx.nn.Conv2d
    end: eqx.nn.ConvTranspose2d
    blocks: list
    last: eqx.nn.LayerNorm
    duration: float

    def __init__(self, side, key, num_blocks=4):
        keys = jax.random.split(key, 2 + num_blocks)
        patches = (side // 4) ** 2
        self.begin = eqx.nn.Conv2d(2, HIDDEN, 4, stride=4, key=keys[0])
        self.end = eqx.nn.ConvTranspose2d(HIDDEN, 1, 4, stride=4, key=keys[1])
        self.blocks = [LayerBlock(patches, k) for k in keys[2:]]
        self.last = eqx.nn.LayerNorm((HIDDEN, patches))
        self.duration = DURATION

    def __call__(self, image, time):
        x = self.begin(jnp.stack([image, jnp.full(image.shape, time / self.duration, image.dtype)]))
        grid = x.shape[1:]
        x = x.reshape(HIDDEN, -1)
        for block in self.blocks:
            x = block(x)
        return self.end(self.last(x).reshape(HIDDEN, *grid))[0]


def randomized(network, key):
    """The network with norms that are not those of a fresh one."""
    leaves, structure = jax.tree.flatten(eqx.filter(network, eqx.is_inexact_array))
    keys = jax.random.split(key, len(leaves))
    moved = [v + 0.1 * jax.random.normal(k, v.shape, v.dtype) for v, k in zip(leaves, keys, strict=True)]
    return eqx.combine(jax.tree.unflatten(structure, moved), network)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A network and its file."""
    network = randomized(LayerMixer(SIDE, jax.random.key(1)), jax.random.key(2))
    path = tmp_path_factory.mktemp("weights") / "eqx_test_ScoreNet16.eqx"
    eqx.tree_serialise_leaves(path, network)
    return network, path


@pytest.mark.parametrize("time", [0.02, 0.3])
def test_scores_are_those_of_the_network_in_u(stored, key, time):
    network, path = stored
    prior = load_galaxygrad(path, time)
    assert prior.shape == (SIDE, SIDE)
    np.testing.assert_allclose(prior.noise_level, np.sqrt(np.expm1(time)), rtol=1e-6)
    u = 3 * jax.random.normal(key, (SIDE, SIDE))
    expected = np.exp(-time / 2) * network(np.exp(-time / 2) * u, time)
    np.testing.assert_allclose(prior.score(u), expected, atol=2e-5 * np.abs(expected).max())
    without = network(u, time)  # negative control: the shrinking of the diffusion left out
    assert np.abs(prior.score(u) - without).max() > 1e-3 * np.abs(expected).max()


def test_the_usual_time_is_the_noise_level_of_the_other_priors(stored):
    assert abs(load_galaxygrad(stored[1]).noise_level - 0.14) < 0.003


def test_it_says_that_it_has_only_a_score(stored):
    prior = load_galaxygrad(stored[1])
    assert not hasattr(prior, "log_prob")
    assert prior.name == "galaxygrad eqx_test_ScoreNet16"


def test_names_go_through_the_package(stored, monkeypatch):
    package, utils = types.ModuleType("galaxygrad"), types.ModuleType("galaxygrad.utils")

    def get_model(name):
        if name != "hsc16":
            raise ValueError(f"Model {name} is not available.")
        return str(stored[1]), SIDE

    utils.get_model = get_model
    monkeypatch.setitem(sys.modules, "galaxygrad", package)
    monkeypatch.setitem(sys.modules, "galaxygrad.utils", utils)
    assert load_galaxygrad("hsc16").shape == (SIDE, SIDE)
    with pytest.raises(ConfigError, match=r"no network 'other' at hand \(Model other"):
        load_galaxygrad("other")


def test_what_is_missing_is_said(stored, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "galaxygrad", None)
    monkeypatch.setitem(sys.modules, "galaxygrad.utils", None)
    with pytest.raises(ConfigError, match="names need the package galaxygrad"):
        load_galaxygrad("hsc32")
    with pytest.raises(ConfigError, match="time is 11"):
        load_galaxygrad(stored[1], time=11.0)
    cut = tmp_path / "cut.eqx"
    cut.write_bytes(stored[1].read_bytes()[:50_000])
    with pytest.raises(FileFormatError, match=r"cut\.eqx cannot be read .* truncated"):
        load_galaxygrad(cut)
    other = tmp_path / "other.eqx"
    eqx.tree_serialise_leaves(other, eqx.nn.MLP(3, 3, 8, depth=2, key=jax.random.key(0)))
    with pytest.raises(FileFormatError, match=r"other\.eqx is no galaxygrad network: needed a Mixer"):
        load_galaxygrad(other)
    for broken in ("begin.weight", "last.weight"):
        part, _, leaf = broken.partition(".")
        where = lambda n, p=part, f=leaf: getattr(getattr(n, p), f)
        wrong = eqx.tree_at(where, stored[0], jnp.zeros((3, 5)))
        eqx.tree_serialise_leaves(other, wrong)
        with pytest.raises(FileFormatError, match="no galaxygrad network"):
            load_galaxygrad(other)
