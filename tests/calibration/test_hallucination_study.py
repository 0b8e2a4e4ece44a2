"""What is stored of half-masked scenes: the share of data tells pixels without data, under the default prior."""

import json

import pytest

from benchmarks.hallucination import STORED
from scoresample.models.load import prior_hash
from scoresample.products.pipeline_settings import RunSettings


@pytest.fixture(params=["shipped", "hsc_cosmos_35"])
def found(request):
    """Stored by ``python benchmarks/hallucination.py FIGURE --prior profile --store``, with ``--scene`` for HSC."""
    prior = RunSettings().prior
    stored = json.loads(STORED.read_text(encoding="utf-8"))[request.param][prior]
    assert stored["prior_hash"] == prior_hash(prior)
    return stored


def test_the_share_of_data_tells_pixels_without_data(found):
    masked = found["half_masked"]["half masked"]
    assert masked["auc_of_data_share"] > 0.95
    assert 0.4 < masked["auc_of_data_share_shuffled"] < 0.6  # a mask elsewhere is not told


def test_less_is_known_behind_a_mask(found):
    full, masked = (found["half_masked"][what] for what in ("full", "half masked"))
    for name in ("light_from_data", "modes_decided"):
        assert masked[name] < full[name]


def test_more_is_known_of_bright_galaxies_and_less_beside_a_neighbour(found):
    if "trends" not in found:
        pytest.skip("trends are of made-up galaxies, stored with the shipped scene")
    alone = [row for row in found["trends"] if row["distance"] is None]
    beside = [row for row in found["trends"] if row["distance"] is not None]  # ever closer
    for rows, name in ((alone, "light_from_data"), (alone, "modes_decided"), (beside[::-1], "modes_decided")):
        values = [row[name] for row in rows]
        assert values == sorted(values) and values[0] < values[-1]
