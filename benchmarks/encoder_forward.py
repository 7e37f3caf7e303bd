"""Forward time and peak memory of our DINOv3 encoder, timm's and transformers', on the same random weights.

    python -m benchmarks.encoder_forward --models S B L --sizes 592 --dtype fp32 bf16 --threads 1

The implementations take turns within every repeat, so that a busy machine slows all of them alike. CPU time
is that of the whole process, over all its threads; a ratio above 1 means slower than ours. Peak memory comes
from a pass of its own, above what was in use before it. transformers is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median
from typing import NamedTuple

import timm
import torch
from torch import Tensor, nn

from dinov3.hub import backbones
from dinov3.models.vision_transformer import DinoVisionTransformer
from no_time_to_train.bench.stages.costs import read_peak, start_peak

Forward = Callable[[Tensor], Tensor]  # images in, normed tokens (B, 1 + 4 + N, D) out

MODELS = {
    "S": (backbones.dinov3_vits16, "vit_small_patch16_dinov3_qkvb"),
    "S+": (backbones.dinov3_vits16plus, "vit_small_plus_patch16_dinov3_qkvb"),
    "B": (backbones.dinov3_vitb16, "vit_base_patch16_dinov3_qkvb"),
    "L": (backbones.dinov3_vitl16, "vit_large_patch16_dinov3_qkvb"),
}

TIMM_NAMES = (
    ("storage_tokens", "reg_token"),
    (".ls1.gamma", ".gamma_1"),
    (".ls2.gamma", ".gamma_2"),
    (".mlp.w1.", ".mlp.fc1_g."),
    (".mlp.w2.", ".mlp.fc1_x."),
    (".mlp.w3.", ".mlp.fc2."),
)
TRANSFORMERS_NAMES = (
    ("blocks.", "model.layer."),
    ("cls_token", "embeddings.cls_token"),
    ("mask_token", "embeddings.mask_token"),
    ("storage_tokens", "embeddings.register_tokens"),
    ("patch_embed.proj.", "embeddings.patch_embeddings."),
    (".attn.proj.", ".attention.o_proj."),
    (".ls1.gamma", ".layer_scale1.lambda1"),
    (".ls2.gamma", ".layer_scale2.lambda1"),
    (".mlp.fc1.", ".mlp.up_proj."),
    (".mlp.fc2.", ".mlp.down_proj."),
    (".mlp.w1.", ".mlp.gate_proj."),
    (".mlp.w2.", ".mlp.up_proj."),
    (".mlp.w3.", ".mlp.down_proj."),
)


class Cost(NamedTuple):
    """What one forward pass took: seconds of CPU and seconds on the clock."""

    cpu: float
    wall: float


def build_ours(name: str) -> DinoVisionTransformer:
    """A model of ours whose branches and biases all have a say."""
    torch.manual_seed(0)
    model = MODELS[name][0](pretrained=False).eval()
    for key, parameter in model.named_parameters():
        if key.endswith("gamma"):
            nn.init.constant_(parameter, 0.1)
        elif key.endswith("bias"):
            nn.init.normal_(parameter, std=0.02)
    return model


def build_timm(name: str, ours: DinoVisionTransformer) -> nn.Module:
    """timm's model with the weights of ours."""
    model = timm.create_model(MODELS[name][1])
    model.load_state_dict(to_timm(ours.state_dict()), strict=True)
    return model.eval()


def build_transformers(ours: DinoVisionTransformer) -> nn.Module:
    """transformers' model with the weights of ours."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    state = to_transformers(ours.state_dict())
    gated = any(key.endswith("gate_proj.weight") for key in state)
    config = DINOv3ViTConfig(
        hidden_size=ours.embed_dim,
        num_hidden_layers=ours.n_blocks,
        num_attention_heads=ours.num_heads,
        intermediate_size=len(state["model.layer.0.mlp.up_proj.weight"]),
        num_register_tokens=ours.n_storage_tokens,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
    )
    model = DINOv3ViTModel(config)
    model.load_state_dict(state, strict=True)
    return model.eval()


def build_all(name: str, device: str, dtype: str) -> dict[str, Forward]:
    """All implementations by name, on one device in one dtype."""
    ours = build_ours(name)
    models: dict[str, nn.Module] = {"ours": ours, "timm": build_timm(name, ours)}
    if importlib.util.find_spec("transformers"):
        models["transformers"] = build_transformers(ours)
    for model in models.values():
        model.to(device, torch.bfloat16 if dtype == "bf16" else torch.float32)
    calls: dict[str, Forward] = {
        "ours": lambda x: join_tokens(ours.forward_features(x)),
        "timm": lambda x: models["timm"].forward_features(x),  # type: ignore[operator]
        "transformers": lambda x: models["transformers"](x).last_hidden_state,
    }
    return {key: calls[key] for key in models}


def join_tokens(features: dict[str, Tensor]) -> Tensor:
    """Class, storage and patch tokens of ours in one tensor, as the others return them."""
    parts = [features[key] for key in ("x_storage_tokens", "x_norm_patchtokens")]
    return torch.cat([features["x_norm_clstoken"][:, None], *parts], dim=1)


def measure(forward: Forward, image: Tensor) -> Cost:
    """Run once against the clock."""
    wall, cpu = time.perf_counter(), time.process_time()
    forward(image)
    if image.is_cuda:
        torch.cuda.synchronize()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def measure_peak(forward: Forward, image: Tensor) -> float | None:
    """Run once; return the MB it needed on top of what was in use, None where the system does not tell."""
    before = start_peak(image.device)
    forward(image)
    after = read_peak(image.device)
    return None if before is None or after is None else after - before


@torch.inference_mode()
def compare(name: str, size: int, dtype: str, args: argparse.Namespace) -> list[str]:
    """Table rows of one model at one size in one dtype."""
    forwards = build_all(name, args.device, dtype)
    image = torch.randn(args.batch, 3, size, size, device=args.device)
    image = image.bfloat16() if dtype == "bf16" else image
    costs: dict[str, list[Cost]] = {key: [] for key in forwards}
    with torch.autocast(args.device, torch.bfloat16) if dtype == "autocast" else nullcontext():
        outputs = {key: forward(image).float() for key, forward in forwards.items()}  # also warms up
        peaks = {key: measure_peak(forward, image) for key, forward in forwards.items()}
        for _ in range(args.repeats):
            for key, forward in forwards.items():
                costs[key].append(measure(forward, image))
    medians = {
        key: Cost(median(c.cpu for c in taken), median(c.wall for c in taken)) for key, taken in costs.items()
    }
    differences = {key: (output - outputs["ours"]).abs().max() for key, output in outputs.items()}
    return [
        f"| {name} | {size} | {dtype} | {key} | {row(medians[key], medians['ours'], peaks[key])} "
        f"| {differences[key]:.1e} |"
        for key in forwards
    ]


def row(cost: Cost, ours: Cost, peak: float | None) -> str:
    """The measured cells of one line of the table."""
    seconds = f"{cost.cpu:.3f} | {cost.wall:.3f} | {cost.cpu / ours.cpu:.2f} | {cost.wall / ours.wall:.2f}"
    return f"{seconds} | {'' if peak is None else round(peak)}"


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["S", "B", "L"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[592], help="side of the image in pixels")
    parser.add_argument("--dtype", nargs="+", choices=["fp32", "bf16", "autocast"], default=["fp32", "bf16"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads, batch {args.batch}, {args.repeats} repeats\n")
    print(
        "| model | size | dtype | implementation | CPU s | wall s "
        "| CPU ratio | wall ratio | peak MB | max diff |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in args.models:
        for size in args.sizes:
            for dtype in args.dtype:
                print("\n".join(compare(name, size, dtype, args)), flush=True)


def to_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of ours for timm's ``vit_*_patch16_dinov3_qkvb``, where the keys have no bias."""
    renamed = {}
    for key, value in _without_ours(state).items():
        if key.endswith("qkv.bias"):
            stem = _rename(key.removesuffix("qkv.bias"), TIMM_NAMES)
            renamed[f"{stem}q_bias"], _, renamed[f"{stem}v_bias"] = value.chunk(3)
        elif key != "mask_token":
            renamed[_rename(key, TIMM_NAMES)] = value
    return renamed


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of ours for transformers' ``DINOv3ViTModel``, where the keys have no bias."""
    renamed = {}
    for key, value in _without_ours(state).items():
        if ".attn.qkv." in key:
            block, kind = key.split(".")[1], key.rpartition(".")[2]
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                if (letter, kind) != ("k", "bias"):
                    renamed[f"model.layer.{block}.attention.{letter}_proj.{kind}"] = part
        else:
            renamed[_rename(key, TRANSFORMERS_NAMES)] = value[None] if key == "mask_token" else value
    return renamed


def _without_ours(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what the others do not store: the periods, the bias masks, the norm for training."""
    ours = ("rope_embed.periods", "qkv.bias_mask", "local_cls_norm.weight", "local_cls_norm.bias")
    return {key: value for key, value in state.items() if not key.endswith(ours)}


def _rename(key: str, names: tuple[tuple[str, str], ...]) -> str:
    for ours, theirs in names:
        key = key.replace(ours, theirs)
    return key


if __name__ == "__main__":
    main()
