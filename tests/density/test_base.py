"""Densities from plain functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.density.base import Density
from scoresample.errors import ConfigError, ScoreOnlyError

X = {"a": jnp.array([1.0, 2.0]), "b": (jnp.array(3.0),)}


def quadratic(x):
    return -0.5 * (jnp.sum(x["a"] ** 2) + x["b"][0] ** 2)


def test_log_prob_alone():
    density = Density(log_prob=quadratic)
    assert density.has_log_prob
    assert float(density.log_prob(X)) == -7.0
    jax.tree.map(lambda s, x: np.testing.assert_allclose(s, -x), density.score(X), X)


def test_score_alone_never_gives_a_number():
    density = Density(score=lambda x: jax.tree.map(jnp.negative, x))
    assert density.score_only_terms == ("score",)
    with pytest.raises(ScoreOnlyError, match="term 'score' gives only a score"):
        density.log_prob(X)
    jax.tree.map(lambda s, x: np.testing.assert_allclose(s, -x), density.score(X), X)


def test_scores_of_both_parts_add_up():
    density = Density(log_prob=quadratic, score=lambda x: jax.tree.map(lambda v: -2 * v, x))
    assert not density.has_log_prob
    jax.tree.map(lambda s, x: np.testing.assert_allclose(s, -3 * x), density.score(X), X)


def test_neither_is_refused():
    with pytest.raises(ConfigError, match="got neither"):
        Density()
