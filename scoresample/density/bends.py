"""Coordinates of images in which a posterior is less bent."""

from collections import defaultdict
from typing import TYPE_CHECKING

from jaxtyping import Array, Float

from scoresample.density.information import information_of, make_seen
from scoresample.density.local_scale import at_position
from scoresample.numerics.bend import Bend
from scoresample.numerics.threads import in_one_thread

if TYPE_CHECKING:
    from scoresample.density.posterior import Posterior


@in_one_thread
def bends_of(posterior: "Posterior", position: dict[str, Float[Array, "..."]]) -> tuple[Bend, ...]:
    """Return the bends (`AbstractPrior.bend`) of all free images whose prior has one.

    What data know of an image is that of `local_scale`: Gauss-Newton, fluxes projected out.
    """
    priors = defaultdict(dict)
    for parameter in posterior.parameters:
        if parameter.name.endswith(".image") and parameter.prior.has_bend:
            priors[parameter.prior.joins][parameter.name] = parameter.prior
    if not priors:
        return ()
    seen, (values, slopes, brightness) = make_seen(posterior), at_position(posterior, position)
    information = {
        f"{source.name}.image": information_of(posterior, seen, [index], values, slopes, brightness).apply
        for index, source in enumerate(posterior.scene.sources)
        if any(f"{source.name}.image" in joined for joined in priors.values())
    }
    return tuple(
        next(iter(joined.values())).bend(joined, position, information) for joined in priors.values()
    )
