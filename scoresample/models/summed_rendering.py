"""The image of a whole scene at given fluxes: sources are added first, and then convolved once for each band."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from scoresample.models.psf import psf_transforms
from scoresample.models.rendering import Renderer, SourceGroup
from scoresample.models.scene import Scene
from scoresample.numerics.arrays import to_jax
from scoresample.numerics.fft import fast_shape


class SummedRenderer(eqx.Module):
    r"""Draws all sources together, which is cheaper than one by one as `Renderer` does.

    .. math:: \mathrm{image}_b = F^{-1}\Big[D_b \sum_{k\,\mathrm{pixels}} A_{bk} \hat S_k
              + P_b \sum_{k\,\mathrm{profiles}} A_{bk} \hat S_k\Big]

    with the difference kernel D and the PSF P: one transform for each source and one for each band, instead of one for
    each source in each band. Where fluxes are integrated out the images of all sources are needed one by one.

    The grid is periodic, and large enough that nothing which the boxes hold comes back into the frame. Light of
    continuous profiles that `Renderer` cuts at the edge of their stamps is drawn here.

    Attributes
    ----------
    renderer
        Whose sources are drawn.
    grid
        Shape of the transforms; the frame lies in its corner.
    difference, psf
        Transforms of the difference kernels and of the PSFs; None where no source needs them.
    """

    renderer: Renderer
    grid: tuple[int, int] = eqx.field(static=True)
    difference: Complex[Array, "band ky kx"] | None
    psf: Complex[Array, "band ky kx"] | None

    def image(
        self, values: Mapping[str, Array], amplitudes: Float[Array, "band source"], unit_flux: bool = True
    ) -> Float[Array, "band y x"]:
        """Return the image of all sources, without background.

        Parameters
        ----------
        values
            Every parameter of every source by full name.
        amplitudes
            Flux of each source in each band; what multiplies S as it stands where ``unit_flux`` is false.
        """
        total = jnp.zeros((), jnp.result_type(amplitudes.dtype, jnp.complex64))
        for group in self.renderer.groups:
            transforms = group.transforms(values, self.grid, np.zeros(2, int), unit_flux)
            real, imaginary = (
                jnp.einsum("bk,kyx->byx", amplitudes[:, np.asarray(group.members)], part, precision="highest")
                for part in (transforms.real, transforms.imag)
            )
            mixed = jax.lax.complex(real, imaginary)
            total = total + mixed * (self.difference if group.kind.on_pixels else self.psf)
        height, width = self.renderer.shape
        return jnp.fft.irfft2(total, s=self.grid)[:, :height, :width]


def make_summed_renderer(
    renderer: Renderer,
    scene: Scene,
    psfs: Float[np.ndarray, "band h w"],
    grid: tuple[int, int] | None = None,
) -> SummedRenderer:
    """Return the renderer of a scene as a whole, for observed PSFs; on a smaller grid light would come back."""
    frame, half = np.asarray(renderer.shape), np.asarray(psfs.shape[1:]) // 2
    over = [_overhang(group, frame) for group in renderer.groups]
    # Light comes back at the far edge: what reaches over an edge, and half a PSF more, must not meet the frame.
    if grid is None:
        grid = fast_shape(tuple(np.maximum(frame + np.max(over, axis=0) + half + 1, psfs.shape[1:]).tolist()))
    kinds = {group.kind.on_pixels for group in renderer.groups}
    psf = psf_transforms(psfs, grid)
    dtype = jnp.result_type(scene.sources[0].center.dtype, jnp.complex64)
    return SummedRenderer(
        renderer,
        grid,
        to_jax(psf / scene.model_psf.transform(grid), dtype) if True in kinds else None,
        to_jax(psf, dtype) if False in kinds else None,
    )


def _overhang(group: SourceGroup, frame: np.ndarray) -> np.ndarray:
    """Return how many pixels the boxes reach over the edges of the frame: as many as any center inside may need."""
    box, origin = np.asarray(group.box), np.asarray(group.origin)
    return np.max([box // 2 + 1, -origin.min(axis=0), origin.max(axis=0) + box - frame], axis=0)
