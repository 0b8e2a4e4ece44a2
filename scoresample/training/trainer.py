"""Train a network on galaxies, with checkpoints, so that an interruption costs a minute."""

import contextlib
import dataclasses
import importlib.metadata
import json
import zipfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from tqdm import tqdm

from scoresample.errors import ConfigError, FileFormatError, one_line
from scoresample.models.energy_network import EnergyNetwork
from scoresample.models.galaxy_box import galaxy_box
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.layers import WEIGHTS
from scoresample.models.radial_tables import RadialTables
from scoresample.numerics.tree_files import load_note, load_tree, save_checkpoint
from scoresample.training.batches import BATCH, Batch, draw_batch
from scoresample.training.chains import (
    Chains,
    begin_chains,
    chain_sides,
    contrast,
    noisy_galaxies,
    renew,
    wander,
)
from scoresample.training.dataset import TrainingSet
from scoresample.training.denoising import Denoiser, denoising_loss, energy_loss

LOOK = 50  # steps between looks at the loss
_AHEAD = 8  # batches that are drawn before they are needed


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """How a network is trained.

    Parameters
    ----------
    kind, widths
        Of the network; see `EnergyNetwork`.
    num_steps
        Batches.
    learning_rate
        Peak of the schedule: a hundred steps up, then half a cosine down to nothing.
    level_weight
        Of the loss of the derivative by noise level, in training of energies; see `energy_loss`.
    levels_from
        Share of the steps that only denoise: energies are so far off at first that they would drown all else.
    contrast_weight
        Of the difference between galaxies and chains, see `chains.contrast`. It costs four times the rest, and comes
        last, when energies are right but for a few nats: see `refinement`.
    averaging
        The weights kept are exponential averages; this is the share that stays at each step.
    seed
        Of first weights, batches and noise.
    checkpoint_every
        Steps between checkpoints.
    batch
        Galaxies of 32 pixels a side in each; of other sides as many as have those pixels. Accelerators need more to be
        busy.
    """

    kind: str = "residual"
    widths: tuple[int, ...] = (16, 32, 48)
    num_steps: int = 20_000
    learning_rate: float = 1.5e-3
    level_weight: float = 0.1
    levels_from: float = 1 / 6
    contrast_weight: float = 0.0
    averaging: float = 0.999
    seed: int = 1
    checkpoint_every: int = 500
    batch: int = BATCH

    def __post_init__(self):
        if min(self.num_steps, self.batch, self.checkpoint_every) < 1:
            raise ConfigError(
                f"num_steps is {self.num_steps}, batch {self.batch} and checkpoint_every {self.checkpoint_every}; all "
                "must be at least 1."
            )
        if not 0 <= self.seed < 2**32 or not self.widths or min(self.widths) < 1:
            raise ConfigError(
                f"seed is {self.seed} and widths {self.widths}; the seed must be in 0 to 2**32 - 1, and there is at "
                "least one width, none below 1."
            )
        if not 0 <= self.levels_from <= 1 or not self.contrast_weight >= 0:
            raise ConfigError(
                f"levels_from is {self.levels_from:g} and contrast_weight {self.contrast_weight:g}; the first must be "
                "in 0 to 1, the second not negative."
            )
        if self.contrast_weight and self.kind == "score":
            raise ConfigError("contrast_weight is for energies, and kind is 'score'; give 0.")
        if not self.learning_rate > 0 or not self.level_weight >= 0 or not 0 <= self.averaging < 1:
            raise ConfigError(
                f"learning_rate is {self.learning_rate:g}, level_weight {self.level_weight:g} and averaging "
                f"{self.averaging:g}; the first must be positive, the second not negative, the third in 0 to 1."
            )


def refinement(
    network: EnergyNetwork, num_steps: int = 4000, seed: int = 1, batch: int = BATCH
) -> TrainSettings:
    """Return settings of the second part of training, in which chains find what is wrongly likely."""
    return TrainSettings(
        kind=network.kind,
        widths=network.widths,
        num_steps=num_steps,
        batch=batch,
        learning_rate=7e-4,
        level_weight=0.5,
        levels_from=0.0,
        contrast_weight=0.02,
        averaging=0.998,
        seed=seed,
    )


class Trained(NamedTuple):
    """A trained network: the average of its weights, what it corrects, the loss of every step, and its card."""

    network: Any
    tables: RadialTables
    losses: np.ndarray
    card: dict[str, Any]


class _State(NamedTuple):
    network: Any
    average: Any
    memory: optax.OptState
    step: jax.Array
    chains: dict[int, Chains]


def train(
    training_set: TrainingSet,
    settings: TrainSettings,
    checkpoint: str | Path,
    *,
    tables: RadialTables | None = None,
    network: Denoiser | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Trained:
    """Train a network; the same settings and galaxies give the same one, in one go or after interruptions.

    Parameters
    ----------
    training_set
        Galaxies.
    settings
        How.
    checkpoint
        File that is rewritten as training goes on.
    tables
        Mean and covariance of galaxies, which the network corrects; by default those of the shipped Gaussian prior.
    network
        First weights; by default those of an `EnergyNetwork` of the settings' kind and widths.
    resume
        Whether to go on from that file, if it is there.
    progress
        Whether to show a bar.

    Raises
    ------
    FileFormatError
        If the file belongs to other settings, galaxies or networks, or cannot be read.
    ConfigError
        If the loss is no longer finite.
    """
    tables = tables or load_gaussian_prior().tables
    optimizer = _optimizer(settings)
    first = network
    if first is None:
        first = EnergyNetwork(jax.random.key(settings.seed), settings.kind, settings.widths)
    memory = optimizer.init(eqx.filter(first, eqx.is_array))
    chains = begin_chains(training_set, settings.seed, settings.batch) if settings.contrast_weight else {}
    state = _State(first, first, memory, jnp.zeros((), jnp.int32), chains)
    settings_card = {"training_set": training_set.card, "settings": dataclasses.asdict(settings)}
    losses = np.zeros(0, np.float32)
    if resume and Path(checkpoint).exists():
        state, losses = _read_checkpoint(checkpoint, state, settings_card)
    begun = len(losses)
    found = []
    with (
        contextlib.closing(_batches(training_set, tables, settings, begun)) as batches,
        tqdm(total=settings.num_steps, initial=begun, desc="training", disable=not progress) as bar,
    ):
        for step, batch in batches:
            late = step >= int(settings.levels_from * settings.num_steps)
            loss, gradient = _gradient(
                state.network, batch, jnp.asarray(settings.level_weight * late, WEIGHTS)
            )
            if state.chains:
                state, other = _contrast(settings, state, training_set, tables, step)
                gradient = jax.tree.map(
                    lambda one, two: one + settings.contrast_weight * two, gradient, other
                )
            state = _update(settings, state, gradient)
            found.append(loss)
            if (step + 1) % LOOK == 0 or step + 1 == settings.num_steps:
                losses = np.concatenate([losses, np.asarray(jnp.stack(found))])
                if not np.isfinite(losses[begun:]).all():
                    raise ConfigError(
                        f"training diverged: the loss is not finite at step {int(np.argmin(np.isfinite(losses)))}; "
                        f"give a lower learning rate than {settings.learning_rate:g}. The last checkpoint is kept."
                    )
                found = []
                bar.update(len(losses) - bar.n)
                bar.set_postfix(loss=f"{np.mean(losses[-1000:]):.4f}")
                if len(losses) % settings.checkpoint_every < LOOK or len(losses) == settings.num_steps:
                    save_checkpoint(Path(checkpoint), (state, losses), settings_card)
    versions = {name: importlib.metadata.version(name) for name in ("jax", "equinox", "optax")}
    card = settings_card | {"versions": versions, "loss": float(np.mean(losses[-1000:]))}
    return Trained(state.average, tables, losses, card)


def _batches(training_set: TrainingSet, tables: RadialTables, settings: TrainSettings, begun: int):
    """Yield the steps to go and their batches, drawn by threads while the network learns from those before."""
    draw = lambda step: draw_batch(training_set, tables, settings.seed, step, settings.batch)
    with ThreadPoolExecutor(_AHEAD) as pool:
        ahead = deque(
            pool.submit(draw, step) for step in range(begun, min(begun + _AHEAD, settings.num_steps))
        )
        for step in range(begun, settings.num_steps):
            batch = ahead.popleft().result()
            if step + _AHEAD < settings.num_steps:
                ahead.append(pool.submit(draw, step + _AHEAD))
            yield step, batch


def _optimizer(settings: TrainSettings) -> optax.GradientTransformation:
    warmup = min(100, settings.num_steps // 2)
    schedule = optax.warmup_cosine_decay_schedule(0.0, settings.learning_rate, warmup, settings.num_steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))


@eqx.filter_jit
def _gradient(network, batch: Batch, level_weight: Float[Array, ""]):
    """Return the loss of a batch and its gradient."""
    if not _has_density(network):
        return eqx.filter_value_and_grad(denoising_loss)(network, batch)
    return eqx.filter_value_and_grad(energy_loss)(network, batch, level_weight)


def _contrast(
    settings: TrainSettings, state: _State, training_set: TrainingSet, tables: RadialTables, step: int
):
    """Move the chains of one side; return the state with them, and the gradient of what sets galaxies apart."""
    rng = np.random.default_rng([settings.seed, step, 1])
    sides, shares = zip(*chain_sides(training_set).items(), strict=True)
    side = int(rng.choice(sides, p=shares))
    chains = renew(state.chains[side], training_set, side, rng)
    box = galaxy_box(tables, (side, side))
    chains = wander(state.network, box, chains, jax.random.fold_in(jax.random.key(settings.seed), step))
    gradient = _contrast_gradient(state.network, box, noisy_galaxies(training_set, side, chains, rng), chains)
    return state._replace(chains=state.chains | {side: chains}), gradient


_contrast_gradient = eqx.filter_jit(eqx.filter_grad(contrast))


@eqx.filter_jit
def _update(settings: TrainSettings, state: _State, gradient) -> _State:
    updates, memory = _optimizer(settings).update(gradient, state.memory)
    network = eqx.apply_updates(state.network, updates)
    # The first weights are forgotten faster than the average of many is.
    keep = jnp.minimum(settings.averaging, (1.0 + state.step) / (10.0 + state.step)).astype(WEIGHTS)
    average = jax.tree.map(lambda old, new: keep * old + (1 - keep) * new, state.average, network)
    return _State(network, average, memory, state.step + 1, state.chains)


def _has_density(network: Denoiser) -> bool:
    return isinstance(network, EnergyNetwork) and network.kind != "score"


def _shapes(state: _State) -> list[tuple[int, ...]]:
    return [np.shape(leaf) for leaf in jax.tree.leaves(state)]


def _read_checkpoint(path: str | Path, like: _State, card: dict[str, Any]) -> tuple[_State, np.ndarray]:
    # Compared as the text has them: tuples are lists there, and whole numbers as keys are text.
    wanted = json.loads(json.dumps(card))
    try:
        stored = load_note(Path(path))
        state, losses = load_tree(Path(path), (like, 0)) if stored == wanted else (None, None)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FileFormatError(
            f"{Path(path).name} cannot be read as a checkpoint of training ({one_line(error)[:80]}); remove it to "
            "begin anew."
        ) from None
    if state is not None and _shapes(state) != _shapes(like):
        raise FileFormatError(f"{Path(path).name} was made with another network; remove it to begin anew.")
    if state is None:
        raise FileFormatError(
            f"{Path(path).name} was made with other settings or galaxies; give those, another file, or leave "
            "out --resume to begin anew."
        )
    return jax.tree.map(jnp.asarray, state), losses
