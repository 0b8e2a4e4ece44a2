"""Weights in files: what was written comes back, and anything else is refused in one line."""

import json

import jax
import numpy as np
import pytest

from scoresample.errors import FileFormatError
from scoresample.models.energy_network import EnergyNetwork
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.weights_file import read_network, write_network


@pytest.fixture
def network():
    return EnergyNetwork(jax.random.key(1), "residual", (4, 6, 8))


@pytest.fixture
def path(network, tmp_path):
    write_network(tmp_path / "weights.npz", network, load_gaussian_prior().tables, {"seed": 1})
    return tmp_path / "weights.npz"


def changed(path, **arrays):
    """Write the file again with some arrays changed."""
    with np.load(path) as archive:
        stored = {name: archive[name] for name in archive.files}
    np.savez(path, **stored | arrays)


def test_a_network_comes_back(network, path):
    found, tables, card = read_network(path)
    assert jax.tree.structure(found) == jax.tree.structure(network)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(network), strict=True):
        np.testing.assert_array_equal(one, other)
    assert card["seed"] == 1
    for name, table in vars(load_gaussian_prior().tables).items():
        np.testing.assert_allclose(getattr(tables, name), table, rtol=1e-6)
    assert card["widths"] == [4, 6, 8]
    assert [file.name for file in path.parent.iterdir()] == ["weights.npz"]


def test_a_truncated_file(path):
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileFormatError, match=r"weights.npz cannot be read as weights"):
        read_network(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileFormatError, match=r"none\.npz cannot be read as weights"):
        read_network(tmp_path / "none.npz")


def test_another_architecture(path):
    with np.load(path) as archive:
        card = json.loads(archive["card"].tobytes())
    card["widths"] = [4, 6, 9]
    changed(path, card=np.frombuffer(json.dumps(card).encode(), np.uint8))
    with pytest.raises(FileFormatError, match="another architecture"):
        read_network(path)


def test_another_format(path):
    changed(path, card=np.frombuffer(b'{"format": "else"}', np.uint8))
    with pytest.raises(FileFormatError, match="holds 'else'"):
        read_network(path)


def test_a_file_without_what_it_corrects(path):
    with np.load(path) as archive:
        kept = {name: archive[name] for name in archive.files if name != "tables.mean"}
    np.savez(path, **kept)
    with pytest.raises(FileFormatError, match=r"weights.npz lacks tables.mean; make it with"):
        read_network(path)


def test_numbers_that_are_not_finite(path):
    with np.load(path) as archive:
        bias = np.full_like(archive["embed.bias"], np.nan)
    changed(path, **{"embed.bias": bias})
    with pytest.raises(FileFormatError, match=r"embed.bias has numbers that are not finite"):
        read_network(path)
