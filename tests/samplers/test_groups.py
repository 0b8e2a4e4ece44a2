"""Groups of chains in threads: the same draws on any number of cores, and one step size for all."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scoresample as ss
from scoresample.numerics import threads
from scoresample.numerics.threads import side_by_side
from scoresample.samplers import groups
from scoresample.samplers.adaptation import WindowAdaptation
from scoresample.samplers.groups import groups_of_chains, mean_of


def test_draws_are_the_same_on_any_number_of_cores_but_for_rounding(make_scene, key, monkeypatch):
    posterior, found = ss.Posterior(*make_scene()), []
    for cores in (1, 2, 4):
        for module in (threads, groups):
            monkeypatch.setattr(module, "num_cores", lambda cores=cores: cores)
        draws = ss.sample(key, posterior, ss.HMC(), num_chains=4, num_warmup=30, num_draws=20, progress=False)
        found.append(draws)
    for other in found[1:]:
        for name, value in found[0].position.items():
            np.testing.assert_allclose(value, other.position[name], atol=1e-3)
        assert found[0].settings["step_size"] == pytest.approx(other.settings["step_size"], rel=1e-3)


def test_chains_differ(make_scene, key):
    posterior = ss.Posterior(*make_scene())
    start = [posterior.initial_position()] * 3
    draws = ss.sample(
        key, posterior, ss.HMC(), start=start, num_chains=3, num_warmup=10, num_draws=5, progress=False
    )
    flux = np.asarray(draws.derived["flux"]).reshape(3, -1)
    assert len(np.unique(flux[:, -1])) == 3


def test_as_many_at_a_time_as_there_are_cores(monkeypatch):
    for module in (threads, groups):
        monkeypatch.setattr(module, "num_cores", lambda: 3)
    barrier, names = threading.Barrier(3, timeout=60), []

    def advance(chains):
        barrier.wait()  # passes only where three wait at once
        names.append(threading.current_thread().name)
        return chains

    apart = groups_of_chains(6, together=False)
    if len(apart) == 1:
        pytest.skip("chains go together on this device")
    np.testing.assert_array_equal(np.concatenate(side_by_side(advance, apart)), np.arange(6))
    assert len(set(names)) == 3


@pytest.mark.parametrize(("cores", "sizes"), [(1, [4]), (2, [2, 2]), (3, [2, 2]), (8, [1, 1, 1, 1])])
def test_groups_are_equally_large(monkeypatch, cores, sizes):
    monkeypatch.setattr(groups, "num_cores", lambda: cores)
    if jax.default_backend() == "cpu":
        assert [len(chains) for chains in groups_of_chains(4, together=False)] == sizes
    assert [len(chains) for chains in groups_of_chains(4, together=True)] == [4]


def test_the_mean_of_what_chains_learn_apart_is_what_they_learn_together():
    adaptation, flag, positions = WindowAdaptation(0.8, False), jnp.asarray(False), jnp.zeros((4, 3))
    update = jax.jit(adaptation.update)
    together = apart = adaptation.init(3, 0.5, jnp.result_type(float))
    rng = np.random.default_rng(0)
    for _ in range(20):
        acceptance = jnp.asarray(rng.uniform(size=4), jnp.result_type(float))
        together = update(together, positions, acceptance, flag, flag)
        parts = [update(apart, positions[:1], acceptance[k : k + 1], flag, flag) for k in range(4)]
        apart = mean_of(parts)
    sizes = [
        [float(f(state).step_size) for f in (adaptation.current, adaptation.final)]
        for state in (apart, together)
    ]
    np.testing.assert_allclose(*sizes, rtol=1e-5)
    # One of them alone learns another.
    assert abs(np.log(float(adaptation.current(parts[0]).step_size) / sizes[1][0])) > 1e-3
