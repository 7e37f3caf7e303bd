"""Whether eight-bit weights make the encoder faster here, and what they change.

    python -m benchmarks.quantised_encoder --model dinov2_large --threads 1

First table: one block of the model on its own tokens, with its four linear layers in fp32, in bf16, with int8
weights and activations quantised as they come (``dynamic``, PyTorch's own kernels), and with int8 weights
that are multiplied in bf16 (``weight-only``). They take turns within every repeat; the best of each counts;
CPU seconds for all blocks. The difference is that of what the one block gives, as 1 minus the cosine.

Second table (``--scenes``): the demo's AP with the nano weights, with fp32 and with dynamically quantised
linear layers in the encoder.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from no_time_to_train.bench.stages.random_weights import spread_weights
from no_time_to_train.models.encoders.backbones import build_backbone
from no_time_to_train.models.encoders.encoder_registry import encoder_spec
from no_time_to_train.models.encoders.spec import EncoderSpec


class DynamicInt8(nn.Module):
    """A linear layer with int8 weights per output channel; activations are quantised at every call."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        scale = layer.weight.detach().abs().amax(dim=1).clamp(min=1e-12).double() / 127
        zero = torch.zeros(len(scale), dtype=torch.int64)
        weight = torch.quantize_per_channel(layer.weight.detach(), scale, zero, 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(weight, bias_of(layer))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) in, (..., out_features) out."""
        return torch.ops.quantized.linear_dynamic(x.float().contiguous(), self.packed, False)


class WeightOnlyInt8(nn.Module):
    """A linear layer with int8 weights per output channel, multiplied with bf16 activations."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        scale = layer.weight.detach().abs().amax(dim=1).clamp(min=1e-12) / 127
        self.weight = (layer.weight.detach() / scale[:, None]).round().to(torch.int8)
        self.scale, self.bias = scale.bfloat16(), bias_of(layer)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) in, (..., out_features) out."""
        flat = x.reshape(-1, x.shape[-1]).bfloat16()
        product = torch._weight_int8pack_mm(flat, self.weight, self.scale)
        out = product.float() if self.bias is None else product.float() + self.bias
        return out.view(*x.shape[:-1], -1)


def bias_of(layer: nn.Linear) -> Tensor | None:
    """The bias that takes effect: DINOv3 multiplies that of the keys by a stored mask."""
    if layer.bias is None:
        return None
    return (layer.bias * getattr(layer, "bias_mask", 1)).detach().clone()


def with_layers(module: nn.Module, kind: Callable[[nn.Linear], nn.Module]) -> nn.Module:
    """A copy in which every linear layer of every block is replaced."""
    changed = copy.deepcopy(module)
    for parent in list(changed.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, kind(child))
    return changed


VARIANTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "fp32": lambda block: block,
    "bf16": lambda block: copy.deepcopy(block).bfloat16(),
    "dynamic int8": lambda block: with_layers(block, DynamicInt8),
    "weight-only int8": lambda block: with_layers(block, WeightOnlyInt8),
}


@torch.inference_mode()
def speed(spec: EncoderSpec, repeats: int) -> str:
    """The first table."""
    tokens = spec.num_prefix_tokens + (spec.img_size // spec.patch_size) ** 2
    x = torch.randn(1, tokens, spec.embed_dim)
    block: nn.Module = build_backbone(spec, arguments={"depth": 1}).eval().blocks[0]  # type: ignore[index]
    spread_weights(block)
    variants = {name: make(block) for name, make in VARIANTS.items()}
    inputs = {name: x.bfloat16() if name == "bf16" else x for name in variants}
    best = dict.fromkeys(variants, float("inf"))
    for _ in range(repeats):
        for name, block in variants.items():
            start = time.process_time()
            block(inputs[name])
            best[name] = min(best[name], time.process_time() - start)
    exact = variants["fp32"](x)
    lines = [
        "| linear layers | CPU s, all blocks | fp32 : this | one block: 1 - cosine |",
        "|---|---|---|---|",
    ]
    for name, block in variants.items():
        cosine = F.cosine_similarity(block(inputs[name]).float(), exact, dim=-1).mean()
        seconds = best[name] * spec.depth
        lines.append(f"| {name} | {seconds:.2f} | {best['fp32'] / best[name]:.2f} | {1 - cosine:.1e} |")
    return "\n".join(lines)


def accuracy(scenes: int) -> str:
    """The second table."""
    from no_time_to_train.api import Segmenter
    from no_time_to_train.dataset.coco.file import CocoFile
    from no_time_to_train.dataset.coco.results import to_coco_rows
    from no_time_to_train.evaluation.coco_ap import evaluate_coco
    from no_time_to_train.scenes import write_demo_dataset

    lines = ["| encoder | AP of masks on the demo's scenes |", "|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        data = write_demo_dataset(Path(name), num_targets=scenes)
        truth = CocoFile.read(data.targets)
        for kind in ("fp32", "dynamic int8"):
            finder = Segmenter("dinov3_nano", "sam2_nano", device="cpu")
            if kind != "fp32":
                encoder = finder._model.encoder
                encoder.backbone.blocks = with_layers(encoder.backbone.blocks, DynamicInt8)  # type: ignore[arg-type]
            finder.add_coco(data.references, images=data.root)
            ids = {category["name"]: category["id"] for category in truth.categories}
            rows = []
            for image in truth.images.values():
                found = finder.predict(data.root / image.file_name)
                rows += to_coco_rows(found, image.id, [ids[name] for name in finder.classes])
            lines.append(f"| {kind} | {evaluate_coco(truth, rows)['segm/AP']:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="dinov2_large")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=0, help="of the demo, for the second table (none)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{args.model}, threads {args.threads}, {torch.backends.quantized.engine} kernels\n")
    print(speed(encoder_spec(args.model), args.repeats))
    if args.scenes:
        print("\n" + accuracy(args.scenes))


if __name__ == "__main__":
    main()
