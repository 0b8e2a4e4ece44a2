"""The published score networks of galaxygrad: read from their weight files, or through the package."""

import importlib
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from scoresample.errors import ConfigError, FileFormatError, one_line
from scoresample.models.score_prior import ScorePrior

PATCH = 4
DURATION = 10.0  # the largest diffusion time of training, which the network divides times by
DEFAULT_TIME = 0.02
LARGEST_NOISE_LEVEL = 10.0
"""In u, a time of 4.6: galaxies, whose u is between 0 and 9, are hardly to be told from each other."""

_EPSILON = 1e-5  # of the layer norms


class _Norm(eqx.Module):
    """Normalization over all entries, then a scale and a shift of each."""

    weight: Float[Array, "a b"]
    bias: Float[Array, "a b"]

    def __call__(self, x: Float[Array, "a b"]) -> Float[Array, "a b"]:
        return (x - x.mean()) * jax.lax.rsqrt(x.var() + _EPSILON) * self.weight + self.bias


class _Perceptron(eqx.Module):
    """One hidden layer of rectified units, along the last axis."""

    weight_in: Float[Array, "hidden n"]
    bias_in: Float[Array, " hidden"]
    weight_out: Float[Array, "n hidden"]
    bias_out: Float[Array, " n"]

    def __call__(self, x: Float[Array, "m n"]) -> Float[Array, "m n"]:
        return jax.nn.relu(x @ self.weight_in.T + self.bias_in) @ self.weight_out.T + self.bias_out


class _Block(eqx.Module):
    """Mixes patches within each channel, then channels within each patch."""

    patches: _Perceptron
    channels: _Perceptron
    norm_patches: _Norm
    norm_channels: _Norm

    def __call__(self, x: Float[Array, "channel patch"]) -> Float[Array, "channel patch"]:
        x = x + self.patches(self.norm_patches(x))
        return x + self.channels(self.norm_channels(x.T)).T


class Mixer(eqx.Module):
    """The MLP-Mixer (Tolstikhin et al. 2021, arXiv:2105.01601) of the paper, section 2.2, with time as a channel.

    Patches of four pixels a side become vectors of 64 channels; four blocks mix them; a last layer makes patches
    again. All layers are matrix products.
    """

    weight_in: Float[Array, "channel 2 4 4"]
    bias_in: Float[Array, "channel 1 1"]
    weight_out: Float[Array, "1 channel 4 4"]
    bias_out: Float[Array, "1 1 1"]
    blocks: tuple[_Block, ...]
    norm: _Norm
    duration: float = eqx.field(static=True)

    def __call__(self, image: Float[Array, "y x"], time: float | Float[Array, ""]) -> Float[Array, "y x"]:
        """Return the score at a diffusion time."""
        height, width = image.shape
        num_y, num_x = height // PATCH, width // PATCH
        inputs = jnp.stack([image, jnp.full_like(image, time / self.duration)])
        patches = inputs.reshape(2, num_y, PATCH, num_x, PATCH)
        x = jnp.einsum("cpyqx,kcyx->kpq", patches, self.weight_in) + self.bias_in
        x = x.reshape(len(x), num_y * num_x)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x).reshape(len(x), num_y, num_x)
        # A transposed convolution sees its kernel turned by half a turn.
        out = jnp.einsum("kpq,kyx->pyqx", x, self.weight_out[0, :, ::-1, ::-1])
        return out.reshape(height, width) + self.bias_out[0, 0, 0]


class _DenoisedScore(eqx.Module):
    r"""The score of a density of u from a network of the variance-preserving diffusion.

    At time t the diffusion has :math:`y = e^{-t/2} u_0 + \sqrt{1 - e^{-t}}\,n`, so that :math:`e^{t/2} y` is u
    blurred by :math:`\sigma = \sqrt{e^t - 1}`, and its score at u is :math:`e^{-t/2} s(e^{-t/2} u, t)`.
    """

    network: Mixer
    time: float = eqx.field(static=True)

    def __call__(self, u: Float[Array, "y x"]) -> Float[Array, "y x"]:
        shrink = float(np.exp(-self.time / 2))
        return shrink * self.network(shrink * u, self.time)

    def at_level(self, u: Float[Array, "y x"], noise_level: Float[Array, ""]) -> Float[Array, "y x"]:
        """Return the score at another noise level."""
        shrink = jax.lax.rsqrt(1 + noise_level**2)
        return shrink * self.network(shrink * u, jnp.log1p(noise_level**2))


def load_galaxygrad(path_or_name: str | Path, time: float = DEFAULT_TIME) -> ScorePrior:
    r"""Return a published galaxygrad network as a prior of which only the score is known.

    Sampson et al. 2024 (arXiv:2401.07313), section 2.2. The networks were trained in :math:`u = \log(S + 1) / 0.1` on
    boxes of one size. Here the score is used in u as it stands; the paper's score of S (its eq. 11) leaves out the
    log-Jacobian.

    Parameters
    ----------
    path_or_name
        A file that equinox wrote (``eqx_hsc_ScoreNet32.eqx``), or a name that the package ``galaxygrad`` knows
        (``hsc32``): then that package looks for the file, and may download it.
    time
        Diffusion time t, which makes the noise level :math:`\sqrt{e^t - 1}`: 0.14 for the usual 0.02.

    Raises
    ------
    FileFormatError
        If the file is not of this network.
    ConfigError
        If there is neither such a file nor the package, or the time is out of range.
    """
    if not 0 < time <= DURATION:
        raise ConfigError(
            f"time is {time}; it must be above 0 and at most {DURATION:g}, for example {DEFAULT_TIME}."
        )
    path = Path(path_or_name)
    if not path.is_file():
        path = _from_package(str(path_or_name))
    network, side = _read(path)
    noise_level = float(np.sqrt(np.expm1(time)))
    score = _DenoisedScore(network, float(time))
    more = {}
    if noise_level < LARGEST_NOISE_LEVEL:
        more = {"fn_at_level": score.at_level, "largest_noise_level": LARGEST_NOISE_LEVEL}
    return ScorePrior(
        fn=score, shape=(side, side), noise_level=noise_level, name=f"galaxygrad {path.stem}", **more
    )


def _from_package(name: str) -> Path:
    """Return where the package galaxygrad keeps a network."""
    try:
        finder = importlib.import_module("galaxygrad.utils").get_model
    except (ImportError, AttributeError):
        raise ConfigError(
            f"there is no file {name!r}, and names need the package galaxygrad; give the path of an .eqx file, or "
            "run pip install galaxygrad."
        ) from None
    try:
        return Path(finder(name)[0])
    except (OSError, ValueError) as error:
        raise ConfigError(f"galaxygrad has no network {name!r} at hand ({one_line(error)}).") from None


def _read(path: Path) -> tuple[Mixer, int]:
    """Return the network in a file, and the side of its images."""
    arrays = _records(path)
    at = iter(arrays)
    try:
        ends = [next(at) for _ in range(4)]
        num_blocks, rest = divmod(len(arrays) - 7, 12)
        if num_blocks < 1 or rest:
            raise ValueError(f"{len(arrays)} arrays")
        blocks = []
        for _ in range(num_blocks):
            mixers = [_Perceptron(*(next(at) for _ in range(4))) for _ in range(2)]
            norms = [_Norm(next(at), next(at)) for _ in range(2)]
            blocks.append(_Block(*mixers, *norms))
        norm = _Norm(next(at), next(at))
        network = Mixer(*ends, tuple(blocks), norm, float(next(at)))
        side = PATCH * round(float(np.sqrt(norm.weight.shape[1])))
        found = eqx.filter_eval_shape(network, jnp.zeros((side, side)), 0.1)
        if found.shape != (side, side):
            raise ValueError(f"an output of shape {found.shape}")
    except (ValueError, TypeError, StopIteration) as error:
        shapes = [array.shape for array in arrays[:5]]
        raise FileFormatError(
            f"{path.name} is no galaxygrad network: needed a Mixer of patches of {PATCH} pixels, found "
            f"{len(arrays)} arrays such as {shapes} ({one_line(error)[:80]})."
        ) from None
    return network, side


def _records(path: Path) -> list[Array]:
    """Return the arrays of a file, which stand one after another in numpy's format."""
    arrays, size = [], path.stat().st_size
    try:
        with open(path, "rb") as file:
            while file.tell() < size:
                arrays.append(jnp.asarray(np.load(file, allow_pickle=False)))
    except (OSError, ValueError, EOFError) as error:
        raise FileFormatError(
            f"{path.name} cannot be read as weights written by equinox ({one_line(error)[:80]}): it is "
            "truncated or another kind of file; fetch it again."
        ) from None
    return arrays
