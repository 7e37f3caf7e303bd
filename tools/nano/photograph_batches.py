"""Batches of photographs, cut-outs and scenes: augmented and composed on the device, all at once.

Letters: B images, K masks looked at in each, M objects pasted, S side in pixels. Everything random comes from
one generator of the device. Over 300 lines, because the parts of one batch share that generator and the
packed pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tools.nano.lite_sam2 import SIZE as S
from tools.nano.photograph_store import MOST, Store, unpack


@dataclass
class Views:
    """Augmented pictures with what can be asked about them.

    Attributes:
        images: (B, 3, S, S) in [0, 1].
        masks: (B, K, S, S) in [0, 1], in half precision on a GPU.
        open: (B, 1, S, S) bool, where there is surely no object.
        free: (B, 1, S, S) bool, where no object is named.
        sources: (B, K) where the masks are from: numbers in the store, -2 - c for cut-out c, -1 for none.
    """

    images: Tensor
    masks: Tensor
    open: Tensor
    free: Tensor
    sources: Tensor

    @staticmethod
    def join(parts: list[Views]) -> Views:
        """Side by side in B; K filled up with nothing."""
        most = max(p.masks.shape[1] for p in parts)
        return Views(
            torch.cat([p.images for p in parts]),
            torch.cat([F.pad(p.masks, (0, 0, 0, 0, 0, most - p.masks.shape[1])) for p in parts]),
            torch.cat([p.open for p in parts]),
            torch.cat([p.free for p in parts]),
            torch.cat([F.pad(p.sources, (0, most - p.sources.shape[1]), value=-1) for p in parts]),
        )


class Augment:
    """Makes batches.

    Args:
        store: where everything lies.
        generator: of the same device.
    """

    def __init__(self, store: Store, generator: torch.Generator) -> None:
        self.store, self.generator, self.device = store, generator, store.device
        self.dtype = torch.float16 if store.device.type == "cuda" else torch.float32

    def rand(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.device) * (high - low) + low

    def log_rand(self, *shape: int, low: float, high: float) -> Tensor:
        return self.rand(*shape, low=math.log(low), high=math.log(high)).exp()

    def randint(self, high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=self.generator, device=self.device)

    def window(self, focus: Tensor, extent: Tensor, smallest: float) -> Tensor:
        """Affine maps (B, 2, 3) from output to input, both in [-1, 1]: a window of the picture, turned,
        mirrored.

        Args:
            focus: (B, 2) in [0, 1] that the window should show.
            extent: (B,) size of what is there, as share of the side.
            smallest: share of the side that a window has at least.
        """
        count = len(focus)
        scale = self.log_rand(count, low=smallest, high=1.0)
        scale = torch.where(self.rand(count) < 0.25, torch.ones_like(scale), scale)
        whole = self.rand(count) < 0.85  # mostly all of the object is seen
        scale = torch.where(whole, scale.maximum((1.4 * extent).clamp(max=1)), scale)
        aspect = (self.rand(count, low=-0.4, high=0.4) / 2).exp()
        size = torch.stack([scale * aspect, scale / aspect], 1).clamp(max=1)
        middle = focus + (self.rand(count, 2) - 0.5) * (size - extent[:, None]).clamp(min=0.1) * 0.9
        middle = middle.maximum(size / 2).minimum(1 - size / 2)
        any_angle, small = self.rand(count) < 0.15, self.rand(count) < 0.25
        angle = torch.where(
            any_angle,
            self.rand(count, low=-math.pi, high=math.pi),
            torch.where(small, self.rand(count, low=-0.25, high=0.25), torch.zeros_like(scale)),
        )
        angle = angle + (math.pi / 2) * self.randint(4, count) * (self.rand(count) < 0.3)
        turn = torch.stack(
            [torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1
        )
        mirror = torch.where(self.rand(count, 1, 1) < 0.5, -1.0, 1.0) * torch.tensor(
            [1.0, 0.0], device=self.device
        ) + torch.tensor([0.0, 1.0], device=self.device)
        return torch.cat([size[:, :, None] * turn * mirror, (2 * middle - 1)[:, :, None]], 2)

    def look(self, images: Tensor, maps: Tensor, padding: str = "reflection") -> Tensor:
        """Sample (B, C, h, w) through (B, 2, 3) to (B, C, S, S)."""
        grid = F.affine_grid(maps, [len(maps), 1, S, S], align_corners=False).to(images.dtype)
        with torch.autocast(images.device.type, enabled=False):
            return F.grid_sample(images, grid.to(images.dtype), padding_mode=padding, align_corners=False)

    def photographs(self, rows: Tensor, most: int, smallest: float = 0.25) -> Views:
        """Windows of pictures with masks; at most so many masks of each."""
        store, count = self.store, len(rows)
        have = store.count[rows]
        keys = self.rand(count, MOST).masked_fill(
            torch.arange(MOST, device=self.device) >= have[:, None], 2.0
        )
        order = keys.argsort(1)
        exists = torch.arange(MOST, device=self.device) < have[:, None]
        numbers = (store.first[rows, None] + order).clamp(max=len(store.bits) - 1)
        facts = store.facts[numbers] * exists[..., None]  # (B, MOST, 7)
        shown = have > 0
        focus = torch.where(shown[:, None], facts[:, 0, :2] / S, self.rand(count, 2))
        maps = self.window(focus, facts[:, 0, 2].sqrt() / S, smallest)
        images = self.look(store.images[rows].float() / 255, maps).to(
            self.dtype
        )  # half would sample a tenth of a pixel off
        packed = torch.cat([store.bits[numbers[:, :most]], store.unions[rows, None]], 1)
        masks = self.look(unpack(packed).to(self.dtype), maps, "zeros")
        masks, union = masks[:, :-1] * exists[:, :most, None, None], masks[:, -1:]
        inside = (
            self.look(torch.ones(count, 1, 8, 8, device=self.device, dtype=self.dtype), maps, "zeros") > 0.99
        )
        free = (F.max_pool2d(union, 17, 1, 8) < 0.01) & inside
        sure = free & store.closed[rows].view(-1, 1, 1, 1)
        return Views(
            images,
            masks,
            sure,
            free,
            torch.where(exists, numbers, -1)[:, :most],
        )

    def mosaics(self, count: int, most: int) -> Views:
        """Four windows in one picture, so that large things become small ones."""
        four = self.photographs(self.photo_rows(4 * count), most, smallest=0.6)
        images = F.avg_pool2d(four.images, 2).view(count, 2, 2, 3, S // 2, S // 2)
        images = images.permute(0, 3, 1, 4, 2, 5).reshape(count, 3, S, S)
        small = F.avg_pool2d(four.masks, 2).view(count, 4, most, S // 2, S // 2)

        def tiled(four_maps: Tensor) -> Tensor:
            small = F.max_pool2d(1 - four_maps.to(self.dtype), 2).view(count, 2, 2, S // 2, S // 2) < 0.5
            return small.permute(0, 1, 3, 2, 4).reshape(count, 1, S, S)

        masks = torch.zeros(count, 4, most, S, S, device=self.device, dtype=self.dtype)
        for part in range(4):
            top, left = (part // 2) * S // 2, (part % 2) * S // 2
            masks[:, part, :, top : top + S // 2, left : left + S // 2] = small[:, part]
        return Views(
            images,
            masks.flatten(1, 2),
            tiled(four.open),
            tiled(four.free),
            four.sources.reshape(count, -1),
        )

    def crops(
        self, rows: Tensor, numbers: Tensor, low: float = 0.3, high: float = 2.5
    ) -> tuple[Tensor, Tensor]:
        """References: the box of a mask with some context, cut at the border, now and then turned.

        Args:
            rows, numbers: (B,) pictures, and masks of them.
            low, high: range of the context, in sides of the box.

        Returns:
            (B, 3, S, S) images and (B, 1, S, S) masks.
        """
        count, store = len(rows), self.store
        first, last = store.facts[numbers, 3:5] / S, store.facts[numbers, 5:7] / S
        side = (last - first).amax(1, keepdim=True) * (1 + self.log_rand(count, 1, low=low, high=high))
        middle = (first + last) / 2
        begin, end = (middle - side / 2).clamp(0, 1), (middle + side / 2).clamp(0, 1)
        size, middle = end - begin, (begin + end) / 2
        angle = (math.pi / 2) * self.randint(4, count) * (self.rand(count) < 0.3)
        turn = torch.stack(
            [torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1
        )
        maps = torch.cat([size[:, :, None] * turn, (2 * middle - 1)[:, :, None]], 2)
        images = self.look(store.images[rows].float() / 255, maps).to(self.dtype)
        return images, self.look(unpack(store.bits[numbers, None]).to(self.dtype), maps, "zeros")

    def photo_rows(self, count: int) -> Tensor:
        picked = torch.multinomial(
            self.store.photo_weights, count, replacement=True, generator=self.generator
        )
        return self.store.row_tensors["train"][picked]

    def rows(self, kind: str, count: int) -> Tensor:
        rows = self.store.row_tensors[kind]
        return rows[self.randint(len(rows), count)]

    def even_grounds(self, count: int) -> tuple[Tensor, Tensor]:
        """Plain pictures, or a colour with a slope and grain; and which of them are surely empty."""
        pictures = self.photographs(self.rows("plain", count), 1, smallest=0.2).images
        corners = self.rand(count, 3, 1, 1) + self.rand(count, 1, 2, 2, low=-0.15, high=0.15)
        slope = F.interpolate(corners, (S, S), mode="bilinear", align_corners=True)
        grain = F.interpolate(self.rand(count, 1, S // 4, S // 4) - 0.5, (S, S), mode="bilinear")
        made = (slope + grain * self.rand(count, 1, 1, 1, high=0.15)).clamp(0, 1).to(self.dtype)
        even = self.rand(count) < 0.4
        faint = (self.rand(count, 1, 1, 1, low=0.0, high=0.3) * (self.rand(count, 1, 1, 1) < 0.5)).to(
            self.dtype
        )
        made = made + faint * (pictures - 0.5)
        return torch.where(even.view(-1, 1, 1, 1), made, pictures), even

    def pasted(
        self, base: Views, level: int, most: int, low: float, high: float, picked: Tensor | None = None
    ) -> Views:
        """Paste cut-outs over pictures, on a loose lattice or anywhere.

        Args:
            level: of ``LEVELS``, from which they are sampled.
            most: objects at most.
            low, high: their longer side in pixels.
            picked: (B, M) which cut-outs, all of them near the middle; left out: a few kinds, anywhere.
        """
        count, store = len(base.images), self.store
        cutouts = store.cutouts[level]
        central = picked is not None
        if picked is None:
            kinds = self.randint(len(cutouts), count, 6)
            variety = 1 + self.randint(6, count, 1)
            picked = kinds.gather(1, self.randint(6, count, most) % variety)  # few kinds, many of each
        alike = self.rand(count, 1) < 0.5
        side = torch.where(
            alike,
            self.log_rand(count, 1, low=low, high=high) * self.rand(count, most, low=0.8, high=1.25),
            self.log_rand(count, most, low=low, high=high),
        )
        across = math.ceil(math.sqrt(most))
        step = torch.arange(across * across, device=self.device)
        lattice = torch.stack([step % across, step // across], 1)[:most] + 0.5
        spacing = (side.mean(1) * self.rand(count, low=0.9, high=1.8)).clamp(max=S / across)
        origin = self.rand(count, 1, 2) * (S - spacing * across).clamp(min=0)[:, None, None]
        laid = origin + spacing[:, None, None] * (lattice + self.rand(count, most, 2, low=-0.2, high=0.2))
        anywhere = (
            self.rand(count, most, 2, low=0.35, high=0.65) * S if central else self.rand(count, most, 2) * S
        )
        ordered = (self.rand(count, 1, 1) < 0.5) & (not central)
        place = torch.where(ordered, laid, anywhere)
        exists = ((self.rand(count, most) < self.rand(count, 1, low=0.3, high=1.0)) | central).float()
        common = self.rand(count, 1, low=-math.pi, high=math.pi)
        angle = torch.where(
            self.rand(count, 1) < 0.4,
            common + self.rand(count, most, low=-0.1, high=0.1),
            self.rand(count, most, low=-math.pi, high=math.pi),
        )
        angle = torch.where(
            self.rand(count, 1) < 0.25, (angle / (math.pi / 2)).round() * (math.pi / 2), angle
        )
        stretch = (self.rand(count, most, low=-0.25, high=0.25)).exp()
        shrink = torch.stack(
            [S / side * stretch, S / side / stretch], -1
        )  # of the output's [-1, 1] to the cut-out's
        turn = torch.stack(
            [torch.stack([angle.cos(), -angle.sin()], -1), torch.stack([angle.sin(), angle.cos()], -1)], -2
        )
        matrix = shrink[..., None] * turn
        moved = -(matrix @ (2 * place / S - 1)[..., None])
        maps = torch.cat([matrix, moved], -1).flatten(0, 1)
        objects = cutouts[picked.flatten()].to(self.dtype) / 255
        drawn = self.look(objects, maps, "zeros").unflatten(0, (count, most))  # (B, M, 4, S, S)
        alpha = drawn[:, :, 3:] * exists.view(count, most, 1, 1, 1).to(self.dtype)
        gain = (
            self.rand(count, most, 1, 1, 1, low=0.55, high=1.25)
            * self.rand(count, most, 3, 1, 1, low=0.9, high=1.1)
        ).to(self.dtype)
        colours = (drawn[:, :, :3] * gain).clamp(0, 1)
        through = (1 - alpha).flip(1).cumprod(1).flip(1)  # what an object and all above it let through
        above = torch.cat([through[:, 1:], torch.ones_like(through[:, :1])], 1)
        visible = alpha * above
        images = base.images * through[:, 0] + (visible * colours).sum(1)
        masks = torch.cat([visible[:, :, 0], base.masks * through[:, 0]], 1)
        covered = F.max_pool2d(1 - through[:, 0], 17, 1, 8) > 0.01
        return Views(
            images,
            masks,
            base.open & ~covered,
            base.free & ~covered,
            torch.cat([-2 - picked, base.sources], 1),
        )

    def compositions(
        self, count: int, level: int, most: int, low: float, high: float, picked: Tensor | None = None
    ) -> Views:
        """Cut-outs on pictures without masks, or on even grounds."""
        images, even = self.even_grounds(count)
        nothing = torch.zeros(count, 0, S, S, device=self.device, dtype=self.dtype)
        free = even.view(-1, 1, 1, 1).expand(-1, 1, S, S)
        named = torch.zeros(count, 0, dtype=torch.long, device=self.device)
        base = Views(
            images,
            nothing,
            free,
            torch.ones_like(free),
            named,
        )
        return self.pasted(base, level, most, low, high, picked)

    def colours(self, images: Tensor) -> Tensor:
        """Other light, other colours, blur, grain and the blocks of a poor JPEG, each now and then."""
        count, x = len(images), images.float()

        def some(share: float) -> Tensor:
            return self.rand(count, 1, 1, 1) < share

        x = x * self.rand(count, 1, 1, 1, low=0.7, high=1.3) + self.rand(count, 1, 1, 1, low=-0.1, high=0.1)
        mean = x.mean((1, 2, 3), keepdim=True)
        x = (x - mean) * self.rand(count, 1, 1, 1, low=0.6, high=1.35) + mean
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * torch.where(some(0.15), 0.0, self.rand(count, 1, 1, 1, low=0.4, high=1.5))
        x = x * self.rand(count, 3, 1, 1, low=0.85, high=1.15)
        x = torch.where(some(0.04), 1 - x, x).clamp(0, 1)
        x = torch.where(some(0.3), x ** self.rand(count, 1, 1, 1, low=0.6, high=1.6), x)
        x = torch.where(some(0.12), F.interpolate(F.avg_pool2d(x, 2), (S, S), mode="bilinear"), x)
        x = torch.where(some(0.05), F.interpolate(F.avg_pool2d(x, 4), (S, S), mode="bilinear"), x)
        noise = torch.randn(x.shape, generator=self.generator, device=self.device)
        x = x + noise * self.rand(count, 1, 1, 1, high=0.06) * some(0.25)
        return torch.where(some(0.15), self._blocks(x), x).clamp(0, 1)

    def _blocks(self, x: Tensor) -> Tensor:
        """Quantised cosine coefficients of 8 x 8 pixels, as JPEG leaves them."""
        k = torch.arange(8, device=self.device, dtype=torch.float32)
        table = (
            torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16)
            * torch.where(k == 0, 0.5**0.5, 1.0)[:, None]
            / 2
        )
        tiles = x.unflatten(2, (S // 8, 8)).unflatten(4, (S // 8, 8))  # (B, 3, h, 8, w, 8)
        freq = torch.einsum("ij,bchjwk,lk->bchiwl", table, tiles, table)
        step = self.rand(len(x), 1, 1, 1, 1, 1, low=0.02, high=0.1) * (1 + k[:, None, None] + k) / 4
        return (
            torch.einsum("ij,bchiwl,lk->bchjwk", table, (freq / step).round() * step, table)
            .flatten(4, 5)
            .flatten(2, 3)
        )

    def batch(self, size: int) -> Views:
        """A mixed batch: half photographs, the rest mosaics, compositions of three scales, and scenes."""
        shares = {"photo": 0.44, "mosaic": 0.1, "tiny": 0.1, "mid": 0.1, "large": 0.1}
        n = {name: max(1, round(share * size)) for name, share in shares.items()}
        scenes = max(1, size - sum(n.values()))
        on_photo = self.photographs(self.photo_rows(1), 12)
        parts = [
            self.photographs(self.photo_rows(n["photo"] - 1), 20),
            self.pasted(on_photo, 1, 8, 30, 140),
            self.mosaics(n["mosaic"], 6),
            self.compositions(n["tiny"], 2, 48, 9, 36),
            self.compositions(n["mid"], 1, 24, 24, 100),
            self.compositions(n["large"], 0, 9, 70, 340),
            self.photographs(self.rows("scene", scenes), 20, smallest=0.5),
        ]
        views = Views.join(parts)
        views.images = self.colours(views.images)
        return views
