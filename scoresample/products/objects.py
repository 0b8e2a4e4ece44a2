"""What a catalog says of each object besides its fluxes: names, places, edges."""

import numpy as np
from jaxtyping import Bool, Float

from scoresample.data.frame import Frame
from scoresample.models.scene import Scene
from scoresample.models.source import Source


def first_sources(scene: Scene) -> dict[str, Source]:
    """Return the first component of each object by the name of the object, in the order of ``scene.objects``."""
    sources = {}
    for source in scene.sources:
        sources.setdefault(source.object_name, source)
    return sources


def object_ids(scene: Scene) -> np.ndarray:
    """Return the name of each object in the input catalog, or in the scene where there was none."""
    return np.array([source.object_id or name for name, source in first_sources(scene).items()])


def position_columns(centers: Float[np.ndarray, "object 2"], frame: Frame) -> dict[str, np.ndarray]:
    """Return pixel positions, and sky positions where the frame has a WCS, as columns of the catalog."""
    columns = {"y": centers[:, 0], "x": centers[:, 1]}
    if frame.wcs_header is not None:
        sky = frame.to_sky(centers).icrs
        columns |= {"ra": sky.ra.deg, "dec": sky.dec.deg}
    return columns


def over_the_edge(scene: Scene) -> Bool[np.ndarray, " object"]:
    """Return which objects have a box that reaches over the frame."""
    over = np.zeros(len(scene.objects), bool)
    for k, source in zip(scene.membership, scene.sources, strict=True):
        origin = np.asarray(source.origin)
        over[k] |= bool((origin < 0).any() or (origin + source.shape > np.asarray(scene.frame.shape)).any())
    return over
