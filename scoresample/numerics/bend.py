"""What a map between coordinates that are bent and less bent has to offer."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float


@runtime_checkable
class Bend(Protocol):
    """A map of entries of a position, from coordinates near those of samplers in which a posterior is less bent."""

    def bent(self, position: dict[str, Array]) -> tuple[dict[str, Array], Float[Array, ""]]:
        """Return the position in the coordinates of samplers, and the log-determinant of the derivative."""
        ...

    def straight(self, position: dict[str, Array]) -> dict[str, Array]:
        """Undo `bent`."""
        ...
