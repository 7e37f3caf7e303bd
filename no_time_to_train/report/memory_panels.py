"""What the memory looks at: each reference beside its patches in clusters and in principal colours.

All shots of a class share one set of clusters and axes (:func:`look_of_class`), so that the same part of the
object has the same colour in each of their pictures (:func:`memory_panel`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.report.palette import class_palette

GAP = 5  # white pixels between the pictures of a panel
ITERATIONS = 100


@dataclass(frozen=True)
class ClassLook:
    """How the patches of one class are coloured.

    Attributes:
        centres: (k, C) unit-length cluster centres, at least one.
        mean: (C,) of the foreground patches.
        axes: (3, C) principal axes, strongest first; zeros where the patches have fewer.
    """

    centres: Tensor
    mean: Tensor
    axes: Tensor


def look_of_class(
    features: Sequence[Tensor], masks: Sequence[Tensor], clusters: int = 4, seed: int = 0
) -> ClassLook:
    """Find the clusters and axes of all foreground patches of a class.

    Args:
        features: (h, w, C) patch features of each reference.
        masks: (S, S) soft mask of each reference; patches that it covers at all are foreground.
        clusters: most clusters; patches that are fewer make fewer.
        seed: of the first centres.

    Raises:
        ValueError: no reference covers any patch.
    """
    foreground = [
        feature[_covered(mask, (feature.shape[0], feature.shape[1]))]
        for feature, mask in zip(features, masks, strict=True)
    ]
    patches = torch.cat(foreground).float().cpu() if foreground else torch.zeros(0, 1)
    if not len(patches):
        raise ValueError("no reference of this class covers a patch; nothing can be drawn")
    mean, axes = principal_axes(patches)
    return ClassLook(cluster_centres(patches, clusters, torch.Generator().manual_seed(seed)), mean, axes)


def cluster_centres(patches: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Spherical k-means: patches go to the centre of the highest cosine, centres are means.

    A cluster that runs empty starts anew at the patch that its centre describes worst.

    Args:
        patches: (n, C), n at least 1.
        clusters: at least 1.

    Returns:
        (min(clusters, n), C) unit-length centres.
    """
    unit = F.normalize(patches, dim=1)
    start = torch.randperm(len(patches), generator=generator)[:clusters]
    centres, members = unit[start], torch.full((len(patches),), -1)
    for _ in range(ITERATIONS):
        likeness, nearest = (unit @ centres.T).max(dim=1)
        if torch.equal(nearest, members):
            break
        members = nearest
        counts = torch.bincount(members, minlength=len(centres))
        sums = torch.zeros_like(centres).index_add_(0, members, patches)
        empty = torch.nonzero(counts == 0)[:, 0]
        sums[empty] = unit[likeness.argsort()[: len(empty)]]
        centres = F.normalize(sums, dim=1)
    return centres


def principal_axes(patches: Tensor, count: int = 3) -> tuple[Tensor, Tensor]:
    """Mean (C,) and the ``count`` strongest principal axes (count, C) of (n, C) patches.

    Each axis points where its largest entry is positive. Axes that the patches do not have are zeros.
    """
    mean = patches.mean(dim=0)
    centred = (patches - mean).double()
    variances, vectors = torch.linalg.eigh(centred.T @ centred)  # ascending
    axes = torch.zeros(count, patches.shape[1])
    strongest = torch.nonzero(variances > 1e-9 * variances[-1].clamp(min=1e-12))[:, 0].flip(0)[:count]
    for row, column in enumerate(strongest.tolist()):
        axis = vectors[:, column]
        axes[row] = axis * axis[axis.abs().argmax()].sign()
    return mean, axes


def memory_panel(image: Tensor, mask: Tensor, features: Tensor, look: ClassLook) -> np.ndarray:
    """Draw one reference: the crop, its clusters, its principal colours.

    Args:
        image: (3, S, S) RGB crop as the encoder saw it; values outside [0, 1] are cut.
        mask: (S, S); where it is above 0 the colours take the place of the pixels.
        features: (h, w, C) patch features of the crop.
        look: of the reference's class.

    Returns:
        (S, 3 S + 10, 3) uint8 RGB.
    """
    crop = _bytes(image.permute(1, 2, 0))
    patches = features.float().cpu()
    covered = _covered(mask, (features.shape[0], features.shape[1]))
    maps = (cluster_colours(patches, look), principal_colours(patches, covered, look))
    white = np.full((crop.shape[0], GAP, 3), 255, dtype=np.uint8)
    parts = [crop]
    for colours in maps:
        parts += [white, _painted(crop, mask, colours)]
    return np.concatenate(parts, axis=1)


def cluster_colours(features: Tensor, look: ClassLook) -> Tensor:
    """Colour (h, w, C) patches by the nearest centre; (h, w, 3) in [0, 1]."""
    palette = torch.tensor(class_palette(len(look.centres))) / 255
    return palette[(features @ look.centres.T).argmax(dim=-1)]


def principal_colours(features: Tensor, covered: Tensor, look: ClassLook) -> Tensor:
    """Colour (h, w, C) patches by their first three principal components.

    Args:
        covered: (h, w) bool; these patches span the colours, all three channels on one scale.

    Returns:
        (h, w, 3) in [0, 1]; middle grey when the patches do not differ.
    """
    components = (features - look.mean) @ look.axes.T
    inside = components[covered] if covered.any() else components.flatten(0, 1)
    low, high = inside.min(), inside.max()
    if high - low <= 1e-6 * (look.mean.norm() + high.abs()):
        return torch.full_like(components, 0.5)
    return ((components - low) / (high - low)).clamp(0, 1)


def _covered(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    return F.interpolate(mask[None, None].float(), grid, mode="area")[0, 0].cpu() > 0


def _painted(crop: np.ndarray, mask: Tensor, colours: Tensor) -> np.ndarray:
    """The (S, S, 3) crop with the colours of its (h, w, 3) patches where the mask is above 0."""
    size = (crop.shape[0], crop.shape[1])
    large = F.interpolate(colours.permute(2, 0, 1)[None], size, mode="nearest")[0].permute(1, 2, 0)
    return np.where((mask > 0).cpu().numpy()[..., None], _bytes(large), crop)


def _bytes(picture: Tensor) -> np.ndarray:
    return (picture.float().cpu().clamp(0, 1) * 255).round().byte().numpy()
