"""Chains that go on until their draws are enough."""

import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.density.base import Density
from scoresample.samplers.hmc import HMC
from scoresample.samplers.run import sample

NORMAL = Density(log_prob=lambda x: -0.5 * jnp.sum(x**2))


def draw(key, **changes):
    options = {"num_chains": 2, "num_warmup": 30, "num_draws": 20, "progress": False} | changes
    return sample(key, NORMAL, HMC(), start=jnp.zeros(2), **options)


def test_half_as_many_draws_again_until_they_do(key):
    seen = []

    def enough(draws):
        seen.append((draws.settings["num_kept"], np.shape(draws.position)))
        return draws.settings["num_kept"] >= 40

    draws = draw(key, max_draws=1000, enough=enough)
    assert seen == [(20, (2, 20, 2)), (31, (2, 31, 2)), (47, (2, 47, 2))]
    assert np.shape(draws.position) == (2, 47, 2) and draws.status == "done"
    np.testing.assert_array_equal(draws.position, draw(key, num_draws=47).position)


@pytest.mark.parametrize(("options", "number"), [
    ({"max_draws": 35, "enough": lambda draws: False}, 35),
    ({"max_draws": 0, "enough": lambda draws: False}, 20),
    ({"max_draws": 100}, 20),
    ({"enough": lambda draws: False}, 20),
])  # fmt: skip
def test_no_more_than_were_allowed(key, options, number):
    assert draw(key, **options).settings["num_kept"] == number


def test_a_run_that_goes_on_from_a_checkpoint_ends_with_the_same_draws(key, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    enough = lambda draws: draws.settings["num_kept"] >= 40
    stopping = {"when": 31}

    def stop(draws):
        if draws.settings["num_kept"] >= stopping["when"]:
            raise KeyboardInterrupt
        return enough(draws)

    stopped = draw(key, max_draws=1000, enough=stop, checkpoint=path)
    assert stopped.status == "interrupted" and stopped.settings["num_kept"] == 31 and path.exists()
    resumed = draw(key, max_draws=1000, enough=enough, checkpoint=path)
    np.testing.assert_array_equal(resumed.position, draw(key, max_draws=1000, enough=enough).position)
