"""Layers of convolutional networks on masked images, channels last."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

WEIGHTS = jnp.float32
"""Weights are made and trained in single precision, also where jax_enable_x64 is on."""


class Dense(eqx.Module):
    """An affine map of the last axis."""

    weight: Float[Array, "n m"]
    bias: Float[Array, " m"]

    def __init__(self, num_in: int, num_out: int, key: PRNGKeyArray, gain: float = 1.0):
        self.weight = _normal(key, (num_in, num_out), gain / np.sqrt(num_in))
        self.bias = jnp.zeros(num_out, WEIGHTS)

    def __call__(self, x: Float[Array, "*s n"]) -> Float[Array, "*s m"]:
        return x @ self.weight + self.bias


class Convolution(eqx.Module):
    """A convolution by 3 x 3 pixels that keeps the size.

    Written in two ways with one result. On CPU the library's own convolution is several times faster in the backward
    pass of training, but 5 to 12 times slower inside compiled loops, where samplers live; there the patches are laid
    out and multiplied.
    """

    weight: Float[Array, "3 3 n m"]
    bias: Float[Array, " m"]

    def __init__(self, num_in: int, num_out: int, key: PRNGKeyArray, gain: float = 1.0):
        self.weight = _normal(key, (3, 3, num_in, num_out), gain / np.sqrt(9 * num_in))
        self.bias = jnp.zeros(num_out, WEIGHTS)

    def __call__(self, x: Float[Array, "y x n"], as_product: bool) -> Float[Array, "y x m"]:
        height, width, num_in = x.shape
        weight = self.weight.astype(x.dtype)
        if as_product:
            # Columns, then rows: two times three pieces compile in half the time of nine, and run as fast.
            padded = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
            columns = jnp.concatenate([padded[:, j : j + width] for j in range(3)], axis=-1)
            patches = jnp.concatenate([columns[i : i + height] for i in range(3)], axis=-1)
            product = patches.reshape(height * width, 9 * num_in) @ weight.reshape(9 * num_in, -1)
            return product.reshape(height, width, -1) + self.bias
        layout = ("NHWC", "HWIO", "NHWC")
        found = jax.lax.conv_general_dilated(x[None], weight, (1, 1), "SAME", dimension_numbers=layout)
        return found[0] + self.bias


class Block(eqx.Module):
    """Two convolutions beside a shortcut; the noise level scales and shifts the features between them.

    Smooth throughout: samplers use derivatives of the score.
    """

    first: Convolution
    second: Convolution
    modulation: Dense

    def __init__(self, num_features: int, num_noise: int, key: PRNGKeyArray):
        keys = jax.random.split(key, 3)
        self.first = Convolution(num_features, num_features, keys[0])
        self.second = Convolution(num_features, num_features, keys[1], gain=0.3)
        self.modulation = Dense(num_noise, 2 * num_features, keys[2], gain=0.3)

    def __call__(
        self,
        x: Float[Array, "y x n"],
        noise: Float[Array, " m"],
        mask: Float[Array, "y x 1"],
        as_product: bool,
    ) -> Float[Array, "y x n"]:
        scale, shift = jnp.split(self.modulation(noise), 2)
        hidden = silu(self.first(x, as_product) * (1 + scale) + shift) * mask
        return (x + self.second(hidden, as_product)) * mask


def silu(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    r"""Return :math:`x / (1 + e^{-x})`, written with a hyperbolic tangent: on CPU that is several times faster."""
    return 0.5 * x * (1 + jnp.tanh(0.5 * x))


def to_depth(x: Float[Array, "y x n"]) -> Float[Array, "y2 x2 m"]:
    """Return squares of 2 x 2 pixels as one pixel of four times the features; even sizes."""
    height, width, num = x.shape
    squares = x.reshape(height // 2, 2, width // 2, 2, num).transpose(0, 2, 1, 3, 4)
    return squares.reshape(height // 2, width // 2, 4 * num)


def to_space(x: Float[Array, "y x m"]) -> Float[Array, "y2 x2 n"]:
    """Undo `to_depth`."""
    height, width, num = x.shape
    squares = x.reshape(height, width, 2, 2, num // 4).transpose(0, 2, 1, 3, 4)
    return squares.reshape(2 * height, 2 * width, num // 4)


def _normal(key: PRNGKeyArray, shape: tuple[int, ...], width: float) -> Float[Array, "..."]:
    return jnp.asarray(width, WEIGHTS) * jax.random.normal(key, shape, WEIGHTS)
