"""The audit reads a known curl, the work of known loops, and what refining a rule changes; verdicts carry it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scoresample as ss
from scoresample.samplers.energies import Quadrature

SIZE = 64


def rotate(x):
    """An antisymmetric matrix of the size of the identity, times x."""
    pairs = x.reshape(-1, 2)
    return jnp.stack([-pairs[:, 1], pairs[:, 0]], axis=1).reshape(x.shape)


def with_curl(c):
    return ss.Density(score=lambda x: -x + c * rotate(x))


def points(seed=0, n=64, shape=(SIZE,)):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


@pytest.mark.parametrize("c", [0.01, 0.05, 0.2])
def test_a_known_curl_is_read_within_its_error(c):
    found = ss.audit(with_curl(c), points(), num_probes=64)
    truth = 2 * c / np.sqrt(1 + c**2)
    assert found.curl == pytest.approx(truth, rel=0.03)  # coordinates have the scatter of 64 points
    assert abs(found.curl - truth) > 0.5 * found.curl_error
    assert found.is_gradient == (c < 0.051)
    assert found.of == ("score",)


@pytest.mark.parametrize("c", [0.01, 0.2])
def test_the_work_around_a_loop_is_that_of_stokes(c):
    x = points(1, n=5)
    away = x - x.mean(axis=0)
    # c times the integral of R z . dz around the ellipse of a and b is 2 pi c (R a) . b.
    truth = [2 * np.pi * c * np.dot(rotate(a), b) for a, b in zip(away, np.roll(away, -1, 0), strict=True)]
    found = ss.audit(with_curl(c), x)
    assert found.loop_work == pytest.approx(np.sqrt(np.mean(np.square(truth))), rel=1e-3)


def test_a_gradient_reads_nothing():
    skewed = ss.Density(score=jax.grad(lambda x: jnp.sum(2 * x - jnp.exp(x))))
    found = ss.audit(skewed, 0.5 * points(2))
    assert found.curl < 1e-6
    assert found.loop_work < 1e-3
    assert found.refinement < 0.05
    whole = ss.audit(ss.Density(log_prob=lambda x: jnp.sum(2 * x - jnp.exp(x))), 0.5 * points(2))
    assert whole.of == ("all",) and whole.curl < 1e-6


def test_the_error_of_the_curl_covers_what_other_points_and_probes_find():
    score = lambda x: -x + 0.3 * jnp.tanh(rotate(x)) * (1 + x**2)
    found = [ss.audit(ss.Density(score=score), points(n=16), key=jax.random.key(i)) for i in range(12)]
    values = np.array([one.curl for one in found])
    assert values.std() < 2 * np.mean([one.curl_error for one in found])
    assert 0.1 < values.mean() < 1


def test_refinement_sees_a_rule_that_is_too_coarse(monkeypatch):
    bumpy = ss.Density(score=lambda x: -x + jnp.cos(8 * x))
    fine = ss.audit(bumpy, points(), num_points=64)
    monkeypatch.setitem(ss_rules(), "simpson", Quadrature(0.5, (), ()))
    eqx.clear_caches()
    coarse = ss.audit(bumpy, points(), num_points=64)
    assert coarse.refinement > 3 * fine.refinement > 0.01


def ss_rules():
    from scoresample.diagnostics import audit as module

    return module.QUADRATURES


def test_a_prior_of_images_is_audited_on_images_or_on_galaxies_of_the_gaussian_prior():
    c = 0.1
    prior = ss.ScorePrior(lambda u: -u + c * rotate(u), (8, 8), name="twisted")
    truth = 2 * c / np.sqrt(1 + c**2)
    for at in (None, points(3, shape=(8, 8))):
        found = ss.audit(prior, at)
        assert found.curl == pytest.approx(truth, rel=1e-3)
        assert found.of == ("twisted",)
    assert ss.audit(ss.load_gaussian_prior(), points(4, shape=(8, 8))).curl < 1e-6


def test_a_posterior_needs_no_points(seed_shift):
    y, x = np.indices((13, 13))
    spot = np.exp(-0.5 * ((y - 6) ** 2 + (x - 6) ** 2) / 1.7**2)
    image = spot + 0.05 * np.random.default_rng(seed_shift).normal(size=spot.shape)
    psf = np.exp(-0.5 * ((np.indices((7, 7)) - 3) ** 2).sum(axis=0) / 1.2**2)
    observation = ss.make_observation([image], np.full((1, 13, 13), 400.0), [psf / psf.sum()], ["g"])
    scene = ss.initialize_scene(observation, ss.make_catalog([[6.0, 6.0]]))
    side = scene.parameters["galaxy_0.image"].shape[0]
    twisted = ss.ScorePrior(lambda u: -u / 4 + 0.05 * rotate_image(u), (side, side))
    found = ss.audit(ss.Posterior(scene, observation, image=twisted))
    assert found.of == ("galaxy_0.image",)
    assert 0.2 < found.curl < 0.6  # 0.39 in pixels; coordinates are stretched along what data know


def rotate_image(u):
    flat = u.ravel()
    even = flat.size // 2 * 2
    return jnp.concatenate([rotate(flat[:even]), jnp.zeros(flat.size - even)]).reshape(u.shape)


def sampled(key, density, **options):
    sizes = {"num_chains": 4, "num_warmup": 200, "num_draws": 500, "start": jnp.zeros(SIZE)}
    return ss.sample(key, density, ss.NUTS(), progress=False, **(sizes | options))


def test_the_verdict_carries_the_audit_and_does_not_pass_a_curl(key):
    good, bad = (sampled(key, with_curl(c)) for c in (0.01, 0.2))
    passed, failed = ss.diagnose(good), ss.diagnose(bad)
    assert not any("gradient" in reason for reason in passed.reasons)
    assert passed.audit.curl == pytest.approx(0.02, rel=0.1)
    assert "note: score of score: curl |J - J^T| / |J| 0.0" in passed.verdict
    assert passed.to_dict()["audit"]["curl"] == passed.audit.curl
    assert any("is no gradient: |J - J^T| / |J| is 0.3" in reason for reason in failed.reasons)
    assert not failed.more_draws_may_help
    assert ss.diagnose(bad, audited=False).audit is None
    assert ss.diagnose(bad, max_curl=0.5).converged == ss.diagnose(bad, audited=False).converged
    stored = bad._replace(settings=bad.settings | {"audit": passed.audit._asdict()})
    assert ss.diagnose(stored).audit == passed.audit


def test_densities_with_values_and_runs_without_draws_have_no_audit(key):
    valued = sampled(key, ss.Density(log_prob=lambda x: -0.5 * jnp.sum(x**2)), num_draws=20)
    assert ss.diagnose(valued).audit is None
    empty = sampled(key, with_curl(0.2), max_seconds=0.0)
    assert ss.diagnose(empty).audit is None
    with pytest.raises(ss.ConfigError, match="at least 3 points, but got 2"):
        ss.audit(with_curl(0.2), points(n=2))
