"""Compiled functions with fewer of XLA's passes: the same numbers, compiled once."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.numerics import compiling
from scoresample.numerics.compiling import jit_to_run_once, quick_jit


@pytest.mark.parametrize("jit", [quick_jit, jit_to_run_once])
def test_the_numbers_are_those_of_plain_jit(jit):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(40, 40)), jnp.float32)

    def function(x, name):
        assert name == "static"
        return jnp.tanh(x @ x) @ jnp.exp(-(x**2))

    found = jit(function)(x, "static")
    np.testing.assert_allclose(found, eqx.filter_jit(function)(x, "static"), rtol=1e-4, atol=1e-4)
    assert jit(function).__name__ == "function"


@pytest.mark.parametrize("jit", [quick_jit, jit_to_run_once, eqx.filter_jit])
def test_sums_of_products_are_right_in_large_arrays(jit):
    """In jax 0.10.2 they are not, from the row 48 on, where a number is added to what is summed."""
    rng = np.random.default_rng(0)
    first, factor, rows = (
        rng.normal(size=size).astype(np.float32) for size in (672, (672, 7), (100, 672, 7))
    )
    found = jit(lambda first, factor, rows: first + jnp.sum(factor * rows, axis=-1))(first, factor, rows)
    np.testing.assert_allclose(found, first + np.sum(factor * rows, axis=-1), rtol=1e-4, atol=1e-4)


def test_it_compiles_once_and_serves_as_a_method():
    traced = []

    class Thing(eqx.Module):
        factor: float

        @quick_jit
        def times(self, x):
            traced.append(None)
            return self.factor * x

    thing = Thing(3.0)
    assert [float(thing.times(jnp.asarray(x))) for x in (1.0, 2.0)] == [3.0, 6.0]
    assert len(traced) == 1


def test_it_can_be_part_of_another_compiled_function():
    double = quick_jit(lambda x: 2 * x)
    assert float(jax.jit(lambda x: double(x) + 1)(jnp.asarray(3.0))) == 7
    assert jax.eval_shape(double, jnp.zeros((2, 3))).shape == (2, 3)


def test_options_that_xla_does_not_have_are_left_out():
    wanted = {"xla_backend_optimization_level": 1, "xla_has_no_such_option": True}
    assert compiling._known(wanted) == {"xla_backend_optimization_level": 1}


def test_the_options_are_known_here():
    """Or chains compile slower than they could, and benchmarks/compiling.py wants another look."""
    assert compiling._known(compiling.OPTIONS) == compiling.OPTIONS
    assert jax.jit(lambda: 1.0, compiler_options=compiling.OPTIONS)() == 1
