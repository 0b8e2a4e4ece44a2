"""What a user may give where numbers are asked for."""

from collections.abc import Sequence

from jax.typing import ArrayLike

# Arrays of numpy, jax and astropy (Quantity, Column), numbers, and nested lists of them.
Numbers = ArrayLike | Sequence
