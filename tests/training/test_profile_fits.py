"""What is left of galaxies about smooth profiles: nothing of a profile, and all that is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.models.soft_profile import SoftProfile, below_one

pytest.importorskip("galsim", reason="galaxies are simulated with the extra 'sim' (galsim)")
from scoresample.training.gaussian import radial_nodes
from scoresample.training.profile_fits import subtract_profile

SOFTENING = 0.01
RADIUS = radial_nodes() * 40
THETA = 2 * np.pi * np.arange(64) / 64
Y, X = RADIUS[:, None] * np.sin(THETA), RADIUS[:, None] * np.cos(THETA)


def profile(radius=2.6, ellipticity=(0.25, -0.1), log_index=0.4, center=(0.2, -0.3), log_peak=0.1):
    """Return w of a profile on circles about the middle of a box of 40 pixels."""
    with jax.enable_x64(True):
        values = (np.log(radius), ellipticity, log_index, center, log_peak)
        log_radius, bent, log_index, center, log_peak = (jnp.asarray(v, float) for v in values)
        found = SoftProfile(log_radius, below_one(bent), log_index, center)
        return np.asarray(found.logarithm(jnp.asarray(Y), jnp.asarray(X), SOFTENING, log_peak=log_peak))


@pytest.mark.parametrize("shape", [{}, {"radius": 1.2, "log_index": 0.0}, {"radius": 5.0, "log_index": 1.0}])
def test_nothing_is_left_of_a_profile(shape):
    circles = profile(**shape)
    rest = subtract_profile(circles, RADIUS, 3.4, SOFTENING)
    assert np.ptp(circles) > 20
    assert np.abs(rest).max() < 0.1, np.abs(rest).max()  # 1 % of the light


def test_a_knot_is_left_where_it_is():
    knot = 8 * np.exp(-0.5 * ((Y - 6) ** 2 + (X - 2) ** 2))
    rest = subtract_profile(profile() + knot, RADIUS, 3.4, SOFTENING)
    at = np.unravel_index(np.argmax(rest), rest.shape)
    assert np.hypot(Y[at] - 6, X[at] - 2) < 1
    assert 6 < rest.max() < 9
    assert np.median(np.abs(rest)) < 0.3
