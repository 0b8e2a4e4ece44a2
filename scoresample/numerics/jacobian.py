"""A function of few numbers with its derivative, evaluated and compiled once for both."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float


def value_and_jacobian(
    function: Callable[[Array], Array], x: Float[Array, " n"]
) -> tuple[Float[Array, "*s"], Float[Array, "*s n"]]:
    """Return ``function(x)`` and its derivative by each number of x."""

    def twice(x):
        value = function(x)
        return value, value

    jacobian, value = jax.jacfwd(twice, has_aux=True)(x)
    return value, jacobian
