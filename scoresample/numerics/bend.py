"""What a map between coordinates that are bent and less bent has to offer."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float


@runtime_checkable
class Bend(Protocol):
    """A map to the coordinate of samplers from one near it, in which a posterior is less bent."""

    def bent(self, position: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return the coordinate of samplers."""
        ...

    def straight(self, position: Float[Array, " n"]) -> Float[Array, " n"]:
        """Undo `bent`."""
        ...

    def log_volume(self, position: Float[Array, " n"]) -> Float[Array, ""]:
        """Return the log-determinant of the derivative of `bent`."""
        ...
