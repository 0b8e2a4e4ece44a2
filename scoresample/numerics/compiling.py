"""Compiled functions that are ready soon: a short run spends most of its time in the compiler."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
from jax.core import Tracer

_Function = TypeVar("_Function", bound=Callable[..., Any])

OPTIONS = {"xla_backend_optimization_level": 2, "xla_cpu_use_fusion_emitters": False}
"""What XLA is told for loops over networks and scenes: half the time in the compiler and no more after it.

``python benchmarks/compiling.py`` measures it.
"""

_ONCE = {"xla_backend_optimization_level": 0}


def quick_jit(function: _Function) -> _Function:
    """As ``equinox.filter_jit``, without optimization that does not pay."""
    return _jit(function, OPTIONS)


def jit_to_run_once(function: _Function) -> _Function:
    """As ``equinox.filter_jit``, for what is run once: hardly optimized, and several times slower for it."""
    return _jit(function, OPTIONS | _ONCE)


def _jit(function, options):
    # XLA is asked for the options it has at the first call, when it has to start anyway.
    @functools.cache
    def compiled():
        named: dict[str, Any] = {"compiler_options": _known(options)}
        return eqx.filter_jit(function, **named)

    @functools.wraps(function)
    def call(*arguments, **named):
        # Inside of another compiled function the options are that function's.
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((arguments, named)))
        return (function if traced else compiled())(*arguments, **named)

    return call


def _known(options: dict[str, Any]) -> dict[str, Any]:
    """Return those of some options that this version of XLA has."""
    return {name: value for name, value in options.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda: 0.0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
