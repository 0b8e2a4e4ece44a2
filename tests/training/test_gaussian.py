"""The tables of the Gaussian prior: measured right, and wide enough for galaxies they have not seen."""

import jax
import numpy as np
import pytest

pytest.importorskip("galsim", reason="galaxy simulation needs the extra 'sim' (galsim)")

from scoresample.models.gaussian_prior import GaussianMorphologyPrior, load_gaussian_prior
from scoresample.models.radial_tables import read_tables
from scoresample.training import gaussian
from scoresample.training.galaxies import simulate_galaxies


def reduced_chi2(prior, box, size_box=None, num_galaxies=100):
    """Return chi^2 per pixel of held-out galaxies blurred by the prior's noise level."""
    u = np.log1p(simulate_galaxies(555, box, num_galaxies, size_box)) / 0.1
    u = u + prior.noise_level * np.random.default_rng(0).normal(size=u.shape)
    z = jax.vmap(prior.for_shape((box, box)).whiten)(u.astype(np.float32))
    return np.mean(np.asarray(z) ** 2, axis=(1, 2))


@pytest.fixture(scope="module")
def prior():
    """The shipped prior, with centers as free as simulated galaxies have them."""
    return GaussianMorphologyPrior(load_gaussian_prior().tables, center_sigma=None)


@pytest.mark.parametrize("box", [10, 28, 40])
def test_held_out_galaxies_have_chi2_near_one(prior, box):
    chi2 = reduced_chi2(prior, box)
    assert 0.8 < chi2.mean() < 1.2  # galaxies are not Gaussian: the mean scatters by 0.05
    assert 0.75 < np.median(chi2) < 1.05
    assert np.quantile(chi2, 0.95) < 2.5


def test_that_test_sees_galaxies_of_twice_the_size(prior):
    assert reduced_chi2(prior, 28, size_box=56).mean() > 1.3


def test_a_wave_on_circles_is_its_own_mode():
    radius = np.array([3.0, 8.0, 12.0])
    y, x = np.meshgrid(np.arange(31) - 15, np.arange(31) - 15, indexing="ij")
    circles = gaussian.to_polar(np.hypot(y, x) ** 2 * np.cos(2 * np.arctan2(y, x)), radius)
    modes = np.fft.rfft(circles, axis=-1) / gaussian.NUM_ANGLES
    np.testing.assert_allclose(modes[:, 2], radius**2 / 2, rtol=1e-3)
    modes[:, 2] = 0
    np.testing.assert_allclose(np.abs(modes), 0, atol=1e-2 * radius.max())


def test_sizes_that_boxes_misjudge_widen_the_tables_and_shift_them():
    exact, rings = (gaussian.measure_box(4, 24, 150, 0.01, ring_boxes=rings)[:2] for rings in (False, True))
    outside = slice(12, 30)  # 0.05 to 0.3 of the box: from the half-light radius on outwards
    assert np.all(rings[0][outside] < exact[0][outside])
    assert np.all(rings[1][outside] > 1.1 * exact[1][outside])


def test_companions_are_scatter_about_profiles():
    without, half = (
        gaussian.measure_box(4, 24, 40, 0.01, about_profiles=True, companions=share)[1]
        for share in (0.0, 0.5)
    )
    nodes = gaussian.radial_nodes()
    beside = (nodes > 0.06) & (nodes < 0.15)  # boxes about profiles are 20 half-light radii wide
    assert np.mean(half[beside]) > 1.5 * np.mean(without[beside])


def test_the_command_writes_tables_that_load(tmp_path):
    path = tmp_path / "tables.npz"
    gaussian.main(["--seed", "3", "--galaxies", "20", "--boxes", "9", "12", "--output", str(path)])
    first, again = read_tables(path), gaussian.measure_tables(3, 20, (9, 12))
    np.testing.assert_allclose(first.mean, again.mean, rtol=1e-6)
    assert np.load(path)["galaxies"] == 20 and "galsim" in str(np.load(path)["versions"])
    assert np.all(np.sum(first.factors**2, axis=(1, 3)) <= first.variance * (1 + 1e-4) + 1e-6)
    assert GaussianMorphologyPrior(first).for_shape((10, 10)).mean.shape == (10, 10)
