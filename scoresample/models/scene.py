"""A scene: sources on a frame, over a constant background."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from scoresample.data.frame import Frame
from scoresample.errors import DataError
from scoresample.models.psf import GaussianPSF
from scoresample.models.source import Source


class Scene(eqx.Module):
    """Sources on a frame.

    Parameters
    ----------
    frame
        The pixel grid and the bands.
    sources
        Their names differ.
    background
        A constant per band in flux per pixel, or None for none.
    model_psf
        The resolution of the pixel morphologies.
    """

    frame: Frame
    sources: tuple[Source, ...]
    background: Float[Array, " band"] | None
    model_psf: GaussianPSF

    def __check_init__(self):
        names = [source.name for source in self.sources]
        if not names:
            raise DataError("the scene has no sources; give at least one.")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"source name {twice[0]!r} appears twice; names of sources must differ.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(source.name for source in self.sources)

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the objects, in the order of their first components; most have just one."""
        return tuple(dict.fromkeys(source.object_name for source in self.sources))

    @property
    def membership(self) -> tuple[int, ...]:
        """Index of the object that each source belongs to."""
        objects = self.objects
        return tuple(objects.index(source.object_name) for source in self.sources)

    @property
    def parameters(self) -> dict[str, Array]:
        """Every parameter of every source by full name, such as ``galaxy_3.image``."""
        return {key: value for source in self.sources for key, value in source.parameters.items()}

    @property
    def flux(self) -> Float[Array, "source band"]:
        """Total flux of each source in each band."""
        return jnp.stack([source.flux for source in self.sources])

    def replace(self, values: Mapping[str, Array], flux=None, background=None) -> "Scene":
        """Return the scene with other parameter values (by full name), fluxes or background."""
        sources = []
        for index, source in enumerate(self.sources):
            mine = {
                key.removeprefix(source.name + "."): value
                for key, value in values.items()
                if key.startswith(source.name + ".")
            }
            center = jnp.asarray(mine.pop("center", source.center))
            shape = source.morphology
            for key, value in mine.items():
                shape = eqx.tree_at(lambda m, key=key: getattr(m, key), shape, jnp.asarray(value))
            new_flux = source.flux if flux is None else flux[index]
            sources.append(
                eqx.tree_at(
                    lambda s: (s.morphology, s.center, s.flux),
                    source,
                    (shape, center, new_flux),
                    is_leaf=lambda leaf, source=source: leaf is source.morphology,
                )
            )
        new_background = self.background if background is None else background
        return Scene(self.frame, tuple(sources), new_background, self.model_psf)

    def __repr__(self) -> str:
        kinds = [type(source.morphology).__name__ for source in self.sources]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
        height, width = self.frame.shape
        return f"Scene of {height} x {width} pixels in {''.join(self.frame.bands)}: {counts}"


def stack(trees: list):
    """Return one tree whose leaves are those of equal trees, stacked along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
