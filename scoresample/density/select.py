"""Which parameters of a scene are free, and under which priors."""

from collections.abc import Mapping

import jax.numpy as jnp

from scoresample.density.parameters import Parameter
from scoresample.errors import ConfigError
from scoresample.models.load import load_prior
from scoresample.models.morphology import PixelMorphology
from scoresample.models.priors import AbstractPrior
from scoresample.models.priors_numpyro import as_prior, default_shape_priors
from scoresample.models.scene import Scene


def select_parameters(scene: Scene, by_kind: Mapping, by_name: Mapping) -> tuple[Parameter, ...]:
    """Return the free parameters of a scene with their priors.

    Parameters
    ----------
    scene
        Its parameters are the candidates.
    by_kind, by_name
        Priors by kind (``image``) and by full name (``galaxy_3.image``); a name wins over its kind, and
        None holds a parameter fixed.

    Raises
    ------
    ConfigError
        If a key names no parameter of the scene.
    """
    names = list(scene.parameters)
    kinds = sorted({name.rpartition(".")[2] for name in names})
    unknown = sorted(set(by_name) - set(names)) + sorted(set(by_kind) - {*kinds, "image", "center"})
    if unknown:
        raise ConfigError(
            f"a prior was given for {unknown[0]!r}, which the scene lacks; its kinds are {', '.join(kinds)}, "
            f"and names are such as {names[0]!r}."
        )
    defaults = default_shape_priors(kinds)
    if "image" in kinds and "image" not in by_kind:
        defaults["image"] = load_prior("log-gaussian")
    image = by_kind.get("image", defaults.get("image"))
    cores = {source.name for source in scene.sources if source.object_name != source.name}
    of_cores = image.for_core() if cores and isinstance(image, AbstractPrior) else image
    free, ready = [], {}
    for source in scene.sources:
        for name, value in source.parameters.items():
            kind = name.rpartition(".")[2]
            default = defaults.get(kind)
            if kind == "center" and isinstance(source.morphology, PixelMorphology):
                default = None
            usual = of_cores if kind == "image" and source.name in cores else by_kind.get(kind, default)
            prior = by_name.get(name, usual)
            if prior is None:
                continue
            shape = tuple(jnp.shape(value))
            around = source.center if kind == "center" else None
            at = (id(prior), shape)
            made = ready.get(at) if around is None else None
            if made is None:
                made = prior if isinstance(prior, AbstractPrior) else as_prior(prior, around)
            if around is None and at not in ready:
                made = ready[at] = made.for_shape(shape)
            free.append(Parameter(name, made, shape))
    return tuple(free)
