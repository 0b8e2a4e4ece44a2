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
    bent = {p.name: p.prior for p in posterior.parameters if p.name.endswith(".image") and p.prior.has_bend}
    if not bent:
        return ()
    seen, (values, slopes, brightness) = make_seen(posterior), at_position(posterior, position)
    information = {
        name: information_of(posterior, seen, [index], values, slopes, brightness).apply
        for index, source in enumerate(posterior.scene.sources)
        if (name := f"{source.name}.image") in bent
    }
    joined = defaultdict(dict)
    for name, prior in bent.items():
        joined[prior.joins][name] = prior
    return tuple(
        next(iter(priors.values())).bend(priors, {name: position[name] for name in priors}, information)
        for priors in joined.values()
    )
