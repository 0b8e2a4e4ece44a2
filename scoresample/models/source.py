"""A source: a morphology at a place, with a spectrum."""

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from scoresample.errors import ShapeError
from scoresample.models.morphology import AbstractMorphology, PixelMorphology
from scoresample.numerics.arrays import to_jax


class Source(eqx.Module):
    """One source of a scene.

    Parameters
    ----------
    name
        Unique in its scene; its parameters are called ``name.image``, ``name.center`` and so on.
    morphology
        How its light is spread.
    center
        (y, x) in pixels of the frame. A pixel morphology is centered there by its box.
    flux
        The spectrum: total flux per band, in the frame's unit.
    origin
        (y, x) of the first pixel of the box; may lie outside the frame.
    shape
        (height, width) of the box.
    object_id
        The name in the catalog of the object it belongs to.
    parent
        The object it is a component of. A bright galaxy whose colour changes from center to outskirts is
        two sources with one parent; fluxes are reported for parents. By default its own name.
    """

    name: str = eqx.field(static=True)
    morphology: AbstractMorphology
    center: Float[Array, "2"]
    flux: Float[Array, " band"]
    origin: np.ndarray
    shape: tuple[int, int] = eqx.field(static=True)
    object_id: str = eqx.field(static=True, default="")
    parent: str = eqx.field(static=True, default="")

    @property
    def object_name(self) -> str:
        """Name of the object whose light this is."""
        return self.parent or self.name

    @property
    def box_center(self) -> np.ndarray:
        """(y, x) of the middle of the box."""
        return np.asarray(self.origin) + (np.asarray(self.shape) - 1) / 2

    @property
    def parameters(self) -> dict[str, Array]:
        """Parameters by full name; the flux is not among them."""
        named = {f"{self.name}.{key}": value for key, value in self.morphology.parameters.items()}
        return named | {f"{self.name}.center": self.center}


def make_source(
    name: str,
    morphology: AbstractMorphology,
    center,
    flux,
    *,
    box: int | tuple[int, int] | None = None,
    object_id: str = "",
    parent: str = "",
) -> Source:
    """Return a source whose box is laid around the pixel nearest to its center.

    Parameters
    ----------
    name, morphology, center, flux, object_id, parent
        See `Source`.
    box
        Height and width of the box, one number for a square. A pixel morphology brings its own; for
        others it only sets how far the model is drawn before light is wrapped or cut.

    Raises
    ------
    ShapeError
        If a pixel morphology and ``box`` disagree, or no box is given for a profile.
    """
    if isinstance(morphology, PixelMorphology):
        shape = tuple(morphology.image.shape)
        if box is not None and shape != ((box, box) if isinstance(box, int) else tuple(box)):
            raise ShapeError(
                f"source {name!r} has an image of shape {shape} but box={box}; leave box away, "
                "a pixel morphology brings its own."
            )
    elif box is None:
        raise ShapeError(
            f"source {name!r} ({type(morphology).__name__}) was given no box; a profile needs one, e.g. box=31."
        )
    else:
        shape = (box, box) if isinstance(box, int) else tuple(box)
    center = np.asarray(center, float)
    # Not round(), which sends halves to even numbers: boxes must move with their sources by any whole number.
    origin = np.floor(center - np.array(shape) / 2 + 1).astype(np.int32)
    return Source(name, morphology, to_jax(center), to_jax(flux), origin, shape, object_id, parent)
