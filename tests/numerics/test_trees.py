"""Trees as vectors, and back."""

import jax
import jax.numpy as jnp
import numpy as np

from scoresample.numerics.trees import flatten

TREE = {"b": jnp.arange(6.0).reshape(2, 3), "a": (jnp.asarray(7.0), jnp.zeros((0,))), "c": [jnp.ones(2)]}


def test_flatten_and_back():
    vector, unflatten = flatten(TREE)
    np.testing.assert_array_equal(vector, [7, 0, 1, 2, 3, 4, 5, 1, 1])
    again = unflatten(vector)
    assert jax.tree.structure(again) == jax.tree.structure(TREE)
    jax.tree.map(np.testing.assert_array_equal, again, TREE)


def test_unflatten_compiles_and_maps_over_a_batch():
    vector, unflatten = flatten(TREE)
    batch = jax.jit(jax.vmap(unflatten))(jnp.stack([vector, 2 * vector]))
    assert batch["b"].shape == (2, 2, 3) and batch["a"][0].shape == (2,)
    np.testing.assert_array_equal(batch["b"][1], 2 * TREE["b"])


def test_an_empty_tree_is_an_empty_vector():
    vector, unflatten = flatten({})
    assert vector.shape == (0,) and unflatten(vector) == {}


def test_gradients_flow_through():
    vector, unflatten = flatten(TREE)
    gradient = jax.grad(lambda v: jnp.sum(unflatten(v)["b"] ** 2))(vector)
    np.testing.assert_array_equal(gradient, [0, 0, 2, 4, 6, 8, 10, 0, 0])
