"""Weights that go into the package carry the card of their own report."""

import hashlib
import json

import jax
import numpy as np
import pytest

from scoresample.errors import DataError
from scoresample.models.energy_network import EnergyNetwork
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.weights_file import read_network, write_network
from scoresample.training import ship


def test_weights_are_shipped_with_their_card_and_no_others_report(tmp_path, monkeypatch):
    monkeypatch.setattr(ship, "WEIGHTS", tmp_path / "shipped")
    (tmp_path / "shipped").mkdir()
    weights, report = tmp_path / "weights.npz", tmp_path / "report.json"
    network = EnergyNetwork(jax.random.key(0), "residual", (4, 6, 8))
    tables = load_gaussian_prior().tables
    write_network(weights, network, tables, {"settings": {"seed": 1}})
    figures = {
        "prior": {"sha256": hashlib.sha256(weights.read_bytes()).hexdigest()},
        "noise_left": {"32": {"0.14": 0.05}},
        "galaxies": {"seed": 9},
    }
    report.write_text(json.dumps(figures))
    again, _, card = read_network(ship.ship(weights, report, "mine", "c" * 40))
    assert card["settings"] == {"seed": 1}
    assert (card["commit"], card["measured_on"]) == ("c" * 40, {"seed": 9})
    assert card["figures"] == {"noise_left": {"32": {"0.14": 0.05}}}
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(network), strict=True):
        np.testing.assert_array_equal(one, other)
    write_network(weights, EnergyNetwork(jax.random.key(1), "residual", (4, 6, 8)), tables, {})
    with pytest.raises(DataError, match=r"report\.json is of other weights than weights\.npz"):
        ship.ship(weights, report, "mine", "c" * 40)
