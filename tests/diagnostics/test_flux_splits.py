"""The note on chains that disagree on who owns the flux: there when they do, and only then."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import scoresample as ss
from scoresample.diagnostics.flux_splits import FluxSplit
from scoresample.models.initialization import gaussian_morphology
from scoresample.models.morphology import PointSource
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source
from scoresample.samplers.base import Draws

SHAPE = (4, 500)
NOTE = "chains disagree on how flux is split between galaxy_0 and galaxy_2 (bands g, r): their sums agree"
SHIFTS = np.array([3.0, -3.0, 1.0, -1.0])[:, None]


def make_draws(seed, *, shape=SHAPE, distant=False):
    """Independent draws of the fluxes of two galaxies, the second with a core, and a star in a corner.

    The star, ``star_1``, is apart from both, and so is ``galaxy_2`` from ``galaxy_0`` where it is distant.
    """
    rng = np.random.default_rng(seed)
    psf = np.exp(-0.5 * np.sum((np.indices((7, 7)) - 3) ** 2, axis=0) / 1.5**2)
    weights = np.ones((2, 40, 40))
    observation = ss.make_observation(0 * weights, weights, [psf / psf.sum()] * 2, ["g", "r"])
    at = (30, 30) if distant else (10, 12)
    scene = Scene(
        observation.frame,
        (
            make_source("galaxy_0", gaussian_morphology(11, 1.5), (9, 9), [1.0, 1.0]),
            make_source("star_1", PointSource(), (34, 5), [1.0, 1.0], box=9),
            make_source("galaxy_2", gaussian_morphology(11, 1.5), at, [1.0, 1.0]),
            make_source("galaxy_2_core", gaussian_morphology(5, 1.0), at, [1.0, 1.0], parent="galaxy_2"),
        ),
        jnp.zeros(2),
        GaussianPSF(0.7),
    )
    derived = {"flux": rng.normal(9, 1, size=(*shape, 3, 2)), "background": rng.normal(size=(*shape, 2))}
    stats = {"log_prob": rng.normal(size=shape)}
    return Draws({}, derived, stats, "done", {}, ss.Posterior(scene, observation, image=None))


def trade(draws, first, second, band, shifts=SHIFTS, share=1.0):
    """Give some of the flux of one object to another, in each chain another amount; the rest is lost."""
    draws.derived["flux"][:, :, first, band] += shifts
    draws.derived["flux"][:, :, second, band] -= share * shifts


@pytest.fixture
def draws(seed_shift):
    return make_draws(21 + seed_shift)


def test_chains_that_split_flux_differently_are_named_with_their_bands(draws):
    trade(draws, 0, 2, 0)
    trade(draws, 0, 2, 1)
    diagnosis = ss.diagnose(draws)
    assert diagnosis.splits == (FluxSplit(("galaxy_0", "galaxy_2"), ("g", "r")),)
    assert not diagnosis.converged and diagnosis.notes == (NOTE,)
    assert f"note: {NOTE}" in diagnosis.verdict
    stored = json.loads(json.dumps(diagnosis.to_dict()))
    assert stored["splits"] == [{"objects": ["galaxy_0", "galaxy_2"], "bands": ["g", "r"]}]
    assert NOTE in stored["notes"]


def test_one_band_is_one_band(draws):
    trade(draws, 0, 2, 1)
    (split,) = ss.diagnose(draws).splits
    assert str(split).endswith("galaxy_0 and galaxy_2 (band r)")


def test_a_chain_in_a_mode_of_its_own_is_enough(draws):
    trade(draws, 0, 2, 0, np.array([0.0, 0.0, 4.0, 0.0])[:, None])
    assert [split.bands for split in ss.diagnose(draws).splits] == [("g",)]


@pytest.mark.parametrize("share", [-1.0, 0.0, 0.4])
def test_flux_that_is_not_traded_gives_no_note(draws, share):
    """Negative control: the neighbour gains as well, has no part in it, or takes less than half."""
    trade(draws, 0, 2, 0, share=share)
    diagnosis = ss.diagnose(draws)
    assert not diagnosis.converged and diagnosis.splits == () and diagnosis.notes == ()


def test_chains_that_differ_independently_give_no_note(seed_shift):
    """Negative control: each flux has its own chain means."""
    found = 0
    for seed in range(10):
        draws = make_draws(100 + seed + seed_shift, shape=(4, 100))
        rng = np.random.default_rng(200 + seed + seed_shift)
        for index in np.ndindex(3, 2):
            draws.derived["flux"][:, :, *index] += rng.normal(scale=5, size=(4, 1))
        found += len(ss.diagnose(draws).splits)
    assert found == 0


def test_converged_chains_and_single_ones_give_no_note(draws, seed_shift):
    assert ss.diagnose(draws).splits == ()
    one = make_draws(3 + seed_shift, shape=(1, 500))
    assert ss.diagnose(one).splits == ()


def test_objects_that_do_not_overlap_have_no_flux_to_share(seed_shift):
    draws = make_draws(21 + seed_shift, distant=True)
    trade(draws, 0, 2, 0)
    trade(draws, 0, 1, 1)
    assert ss.diagnose(draws).splits == ()
