"""Building, encoding and prompting SAM 2, with ``sam2`` itself as the oracle."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from no_time_to_train.errors import CheckpointError, ConfigError
from no_time_to_train.models.sam import backend as sam2_backend
from no_time_to_train.models.sam.backend import Sam2Backend, choose_tokens, decode_boxes
from no_time_to_train.models.sam.build import RANDOM, _SkipInit, build_sam2
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding, Prompts
from no_time_to_train.weights.sam2_files import VIDEO_KEYS
from no_time_to_train.weights.sam2_models import SAM2_SIZES, sam2_size
from tests.models.sam2_oracle import KINDS, decode_by_sam2, random_embedding, random_prompts, spread_sam

LETTERS = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


@pytest.fixture(scope="module")
def sams() -> Callable[[str], Sam2Backend]:
    built: dict[str, Sam2Backend] = {}

    def get(size: str) -> Sam2Backend:
        if size not in built:
            built[size] = spread_sam(size)
        return built[size]

    return get


@pytest.fixture
def nano(sams: Callable[[str], Sam2Backend]) -> Sam2Backend:
    return sams("nano")


def same_bits(first: DecodedMasks, second: DecodedMasks) -> bool:
    return all(
        torch.equal(getattr(first, name), getattr(second, name)) for name in ("logits", "ious", "prompts")
    )


def check_equal(found: DecodedMasks, logits: Tensor, ious: Tensor, tokens: str, min_iou: float) -> None:
    """Tolerances of float32: IoU within 1e-5, logits within 3e-4, masks but for pixels at zero."""
    wanted, keep = choose_tokens(ious, tokens, min_iou)  # type: ignore[arg-type]
    prompt, rank = torch.nonzero(keep, as_tuple=True)
    token = wanted[prompt, rank]
    assert found.prompts.tolist() == prompt.tolist()
    assert found.logits.dtype == found.ious.dtype == torch.float32
    torch.testing.assert_close(found.ious, ious[prompt, token], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.logits, logits[prompt, token], atol=3e-4, rtol=0)
    differing = (found.logits > 0) != (logits[prompt, token] > 0)
    assert found.logits[differing].abs().sum() < 3e-4 * max(1, int(differing.sum()))


NANO_CASES = [("nano", 19, kind, tokens) for kind in KINDS for tokens in ("best", "all", "single")]
TINY_CASES = [("tiny", 2, kind, "best") for kind in ("point", "box", "mask, box and points")]


@pytest.mark.parametrize(
    ("size", "count", "kind", "tokens"), [*NANO_CASES, *TINY_CASES, ("tiny", 2, "points", "all")]
)
def test_same_masks_as_sam2(
    sams: Callable[[str], Sam2Backend], size: str, count: int, kind: str, tokens: Any
) -> None:
    sam = sams(size)
    embedding, prompts = random_embedding(sam), random_prompts(sam, kind, count)
    logits, ious = decode_by_sam2(sam, embedding, prompts)
    assert logits.std() > 0.2
    assert (ious[:, 1:].amax(1) - ious[:, 1:].amin(1)).min() > 1e-4  # "best" is decided by more than rounding
    chosen = ious[:, 1:] if tokens != "single" else ious[:, :1]
    for min_iou in (float("-inf"), chosen.median().item() + 1e-5, 2.0):
        found = sam.decode(embedding, prompts, tokens=tokens, min_iou=min_iou)
        check_equal(found, logits, ious, tokens, min_iou)


@pytest.mark.parametrize(
    ("kind", "counts"), [("point", range(1, 21)), ("box and points", (7, 17)), ("mask and point", (2, 9))]
)
def test_same_bits_whatever_the_chunk(nano: Sam2Backend, kind: str, counts: Iterable[int]) -> None:
    embedding = random_embedding(nano)
    for count in counts:
        prompts = random_prompts(nano, kind, count, seed=count)
        expected = nano.decode(embedding, prompts, tokens="all")
        assert len(expected) == 3 * count
        for chunk in (1, 3, 8, 1000):
            assert same_bits(nano.decode(embedding, prompts, tokens="all", chunk=chunk), expected)


def test_same_bits_on_any_number_of_threads(nano: Sam2Backend) -> None:
    prompts, found = random_prompts(nano, "points", 21), []
    before = torch.get_num_threads()
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            found.append(nano.decode(random_embedding(nano), prompts))
    finally:
        torch.set_num_threads(before)
    assert same_bits(found[0], found[1])
    assert same_bits(found[0], found[2])


def test_company_and_order_do_not_matter_at_the_real_size(sams: Callable[[str], Sam2Backend]) -> None:
    """There every prompt is decoded alone: the same bits."""
    sam = sams("tiny")
    embedding, prompts = random_embedding(sam), random_prompts(sam, "points", 5)
    together = sam.decode(embedding, prompts)
    order = torch.tensor([3, 0, 4, 1, 2])
    permuted = sam.decode(embedding, prompts[order])
    assert torch.equal(permuted.logits, together.logits[order])
    assert torch.equal(permuted.ious, together.ious[order])
    alone = sam.decode(embedding, prompts[2:3])
    assert torch.equal(alone.logits, together.logits[2:3])


def test_company_and_order_change_rounding_at_most(nano: Sam2Backend) -> None:
    """At nano size eight prompts share a product, whose rows might round by their place."""
    embedding, prompts = random_embedding(nano), random_prompts(nano, "points", 20)
    together = nano.decode(embedding, prompts)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    permuted = nano.decode(embedding, prompts[order])
    torch.testing.assert_close(permuted.logits, together.logits[order], atol=2e-5, rtol=0)
    torch.testing.assert_close(permuted.ious, together.ious[order], atol=1e-6, rtol=0)
    for index in (0, 11, 19):
        alone = nano.decode(embedding, prompts[index : index + 1])
        torch.testing.assert_close(alone.logits[0], together.logits[index], atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_prompts_and_no_survivors(nano: Sam2Backend, kind: str) -> None:
    embedding = random_embedding(nano)
    for prompts, min_iou in ((random_prompts(nano, kind, 0), -1.0), (random_prompts(nano, kind, 9), 1.0)):
        found = nano.decode(embedding, prompts, min_iou=min_iou)
        assert found.logits.shape == (0, 128, 128)
        assert found.ious.shape == found.prompts.shape == (0,)
        assert found.prompts.dtype == torch.int64
    assert len(nano.decode(embedding, Prompts())) == 0


def test_threshold_is_strict(nano: Sam2Backend) -> None:
    embedding, prompts = random_embedding(nano), random_prompts(nano, "point", 9)
    ious = nano.decode(embedding, prompts).ious
    kept = nano.decode(embedding, prompts, min_iou=ious.sort().values[4].item())
    assert kept.prompts.tolist() == torch.nonzero(ious > ious.sort().values[4])[:, 0].tolist()
    assert len(kept) == 4


def test_what_is_shared_is_made_once_per_precision(nano: Sam2Backend) -> None:
    embedding, prompts = random_embedding(nano), random_prompts(nano, "point", 3)
    # One token for all, so that near-equal predictions cannot swap which mask is compared.
    expected = nano.decode(embedding, prompts, tokens="single")
    shared = embedding.prepared[torch.float32]
    assert same_bits(nano.decode(embedding, prompts, tokens="single"), expected)
    assert embedding.prepared == {torch.float32: shared}
    with torch.autocast("cpu", torch.bfloat16):
        found = nano.decode(embedding, prompts, tokens="single")
    assert set(embedding.prepared) == {torch.float32, torch.bfloat16}
    assert found.logits.dtype == torch.float32
    torch.testing.assert_close(found.ious, expected.ious, atol=0.02, rtol=0)
    assert ((found.logits > 0) == (expected.logits > 0)).float().mean() > 0.95


def test_autocast_reaches_image_tokens_alone_on_any_number_of_threads(nano: Sam2Backend) -> None:
    embedding, prompts = random_embedding(nano), random_prompts(nano, "point", 20)
    exact, threads, found = nano.decode(embedding, prompts), torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            with torch.autocast("cpu", torch.bfloat16):
                found.append(nano.decode(embedding, prompts))
    finally:
        torch.set_num_threads(threads)
    assert same_bits(*found)
    assert not same_bits(found[0], exact)


@pytest.mark.parametrize("tokens", ["best", "all"])
def test_in_short_arithmetic_fewer_are_upscaled_than_decoded_together(
    tokens: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of the large models: 4 prompts are decoded at a time, and each that is wanted is upscaled alone."""
    sam = build_sam2("sam2_nano", None)
    y, x = torch.meshgrid(torch.arange(512), torch.arange(512), indexing="ij")
    discs = ((x % 128 - 64) ** 2 + (y % 128 - 64) ** 2 < 40**2).float()
    with torch.no_grad():
        (embedding,) = sam.encode(torch.stack([discs, 0.5 * discs, x / 512])[None])
    prompts = random_prompts(sam, "point", 12)
    each = sam.decode(embedding, prompts, tokens="all").ious.unflatten(0, (12, -1)).argmax(dim=1)
    assert len(each.unique()) > 1  # prompts whose best masks are of other tokens
    with torch.autocast("cpu", torch.bfloat16):
        together = sam.decode(embedding, prompts, tokens=tokens)
        monkeypatch.setattr(sam2_backend, "CPU_CHUNK_TOKENS", 1024)
        monkeypatch.setattr(sam2_backend, "SHORT_CHUNK_TOKENS", 4096)
        every = sam.decode(embedding, prompts, tokens=tokens)
        least = every.ious.median().item()
        some = sam.decode(embedding, prompts, tokens=tokens, min_iou=least)
    assert torch.equal(every.prompts, together.prompts)
    torch.testing.assert_close(every.logits, together.logits, atol=0.05, rtol=0.05)
    assert 0 < len(some) < len(every)
    assert same_bits(some, every[every.ious > least])


@pytest.mark.parametrize("tokens", ["best", "all"])
def test_upscaling_only_survivors_as_a_gpu_does(
    nano: Sam2Backend, tokens: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of other devices, which a CPU does not take, on the CPU."""
    monkeypatch.setattr(sam2_backend, "UPSCALE_CHUNK", 2)
    embedding, prompts = random_embedding(nano), random_prompts(nano, "points", 12)
    ious = nano.decode(embedding, prompts, tokens=tokens).ious
    for min_iou in (-1.0, ious.median().item() + 1e-5, 1.0):
        expected = nano.decode(embedding, prompts, tokens=tokens, min_iou=min_iou)
        with torch.no_grad():
            decode = nano._chunk_worker(embedding.prepared[torch.float32], tokens, min_iou, None)
            found = decode(prompts)
        assert torch.equal(found.prompts, expected.prompts)
        torch.testing.assert_close(found.ious, expected.ious, atol=1e-6, rtol=0)
        torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=0)


def test_mask_prompts_under_autocast(nano: Sam2Backend) -> None:
    embedding, prompts = random_embedding(nano), random_prompts(nano, "mask and point", 3)
    expected = nano.decode(embedding, prompts)
    with torch.autocast("cpu", torch.bfloat16):
        found = nano.decode(embedding, prompts)
    assert found.logits.dtype == found.ious.dtype == torch.float32
    torch.testing.assert_close(found.ious, expected.ious, atol=0.02, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_weights(nano: Sam2Backend, dtype: torch.dtype) -> None:
    half = copy.deepcopy(nano).to(dtype)
    embedding = half.encode(torch.rand(1, 3, 512, 512))[0]
    assert embedding.image.dtype == dtype
    whole = ImageEmbedding(embedding.image.float(), tuple(part.float() for part in embedding.high_res))
    for kind in ("box and points", "mask and point"):
        prompts = random_prompts(nano, kind, 3)
        found, expected = half.decode(embedding, prompts), nano.decode(whole, prompts)
        torch.testing.assert_close(found.ious, expected.ious, atol=0.05, rtol=0)
        assert found.logits.isfinite().all()


def test_choosing_tokens() -> None:
    ious = torch.tensor([[0.9, 0.1, 0.3, 0.2], [0.1, 0.5, 0.4, 0.5], [0.8, 0.0, 0.0, 0.1]])
    wanted, keep = choose_tokens(ious, "best", 0.2)
    assert wanted.tolist() == [[2], [1], [3]]
    assert keep.tolist() == [[True], [True], [False]]
    wanted, keep = choose_tokens(ious, "all", 0.2)
    assert wanted.tolist() == [[1, 2, 3]] * 3
    assert keep.tolist() == [[False, True, False], [True, True, True], [False, False, False]]
    wanted, keep = choose_tokens(ious, "single", 0.8)
    assert wanted.tolist() == [[0]] * 3
    assert keep.tolist() == [[True], [False], [False]]


def test_prompts_are_cut_joined_and_checked() -> None:
    prompts = Prompts(torch.rand(5, 2, 2), torch.ones(5, 2), boxes=torch.rand(5, 4))
    pieces = list(prompts.chunks(2))
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    assert torch.equal(pieces[2].filled(3).boxes, prompts.boxes[[4, 4, 4]])
    assert pieces[0].filled(2) is pieces[0]
    assert len(Prompts()) == 0
    with pytest.raises(ValueError, match="belong together"):
        Prompts(points=torch.rand(1, 1, 2))
    with pytest.raises(ValueError, match="same prompts"):
        Prompts(boxes=torch.rand(2, 4), masks=torch.rand(3, 1, 64, 64))


def test_boxes_give_one_mask_each(nano: Sam2Backend) -> None:
    embedding, prompts = random_embedding(nano), random_prompts(nano, "box", 4)
    assert prompts.boxes is not None
    found = decode_boxes(nano, embedding, prompts.boxes)
    assert found.prompts.tolist() == [0, 1, 2, 3]
    as_points = Prompts(prompts.boxes.view(-1, 2, 2), torch.tensor([[2, 3]]).expand(4, 2))
    logits, ious = decode_by_sam2(nano, embedding, as_points)
    torch.testing.assert_close(found.logits, logits[:, 0], atol=3e-4, rtol=0)
    torch.testing.assert_close(found.ious, ious[:, 0], atol=1e-5, rtol=0)
    assert len(decode_boxes(nano, embedding, torch.zeros(0, 4))) == 0


def test_encoding_a_batch(nano: Sam2Backend) -> None:
    images = torch.rand(3, 3, 512, 512, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = nano.encode(images)
        added = nano.encode(images[1:2], add_no_mem_embed=True)[0]
    assert [part.shape for part in together[0].high_res] == [(1, 12, 128, 128), (1, 24, 64, 64)]
    for index, embedding in enumerate(together):
        with torch.no_grad():
            alone = nano.encode(images[index : index + 1])[0]
        torch.testing.assert_close(embedding.image, alone.image, atol=1e-4, rtol=1e-4)
        for part, own in zip(embedding.high_res, alone.high_res, strict=True):
            torch.testing.assert_close(part, own, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        added.image - together[1].image,
        nano.no_mem_embed.view(1, -1, 1, 1).expand(1, -1, 32, 32),
        atol=1e-4,
        rtol=1e-4,
    )
    with pytest.raises(ValueError, match=r"\(B, 3, 512, 512\)"):
        nano.encode(images[..., :128])


def test_encoding_is_differentiable(nano: Sam2Backend) -> None:
    """The nano weights are trained through it; GELU works in place only where no gradient is asked for."""
    sam = copy.deepcopy(nano).requires_grad_(True)
    image = torch.rand(1, 3, 512, 512)
    embedding = sam.encode(image)[0]
    (embedding.image.sum() + embedding.high_res[0].sum()).backward()
    assert all(parameter.grad is not None for parameter in sam.image_encoder.trunk.parameters())
    with torch.no_grad():
        torch.testing.assert_close(sam.encode(image)[0].image, embedding.image.detach(), atol=1e-4, rtol=1e-4)


def original(size: str, version: str, **changes: object) -> Any:
    """``sam2``'s own model, as its configuration files build it."""
    from sam2.build_sam import build_sam2 as build_original

    name = f"configs/sam{version}/sam{version}_hiera_{LETTERS[size]}.yaml"
    extra = [f"++model.{key}={value}" for key, value in changes.items()]
    return build_original(name, None, device="cpu", hydra_overrides_extra=extra, apply_postprocessing=False)


@pytest.mark.parametrize("version", ["2", "2.1"])
@pytest.mark.parametrize("size", ["tiny", "small", "base_plus", "large"])
def test_names_and_shapes_of_the_released_files(size: str, version: str) -> None:
    with _SkipInit():
        released = original(size, version).state_dict()
        ours = Sam2Backend(SAM2_SIZES[size]).state_dict()
    expected = {key: value.shape for key, value in released.items() if not key.startswith(VIDEO_KEYS)}
    assert {key: value.shape for key, value in ours.items()} == expected


def test_encodes_as_sam2() -> None:
    """A smaller picture than the released size, the same layers."""
    base = original("tiny", "2.1", image_size=256)
    sam = Sam2Backend(replace(SAM2_SIZES["tiny"], image_size=256)).requires_grad_(False)
    state = {key: value for key, value in base.state_dict().items() if not key.startswith(VIDEO_KEYS)}
    sam.load_state_dict(state)
    image = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        levels = base.forward_image((image - sam.mean) / sam.std)["backbone_fpn"]
        found = sam.encode(image)
    for index, embedding in enumerate(found):
        torch.testing.assert_close(embedding.image[0], levels[2][index])
        torch.testing.assert_close(embedding.high_res[0][0], levels[0][index])
        torch.testing.assert_close(embedding.high_res[1][0], levels[1][index])


@pytest.mark.slow
def test_boxes_as_the_image_predictor_of_sam2() -> None:
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    base = original("tiny", "2.1").requires_grad_(False)
    sam = spread_sam("tiny")
    base.load_state_dict(sam.state_dict(), strict=False)
    image = torch.rand(3, 1024, 1024, generator=torch.Generator().manual_seed(2)).mul(255).byte()
    boxes = torch.tensor([[100.0, 200.0, 600.0, 700.0], [0.0, 0.0, 1024.0, 1024.0]])
    predictor = SAM2ImagePredictor(base)
    predictor.set_image(image.permute(1, 2, 0).numpy())
    _, ious, logits = predictor.predict(box=boxes.numpy(), multimask_output=False, return_logits=True)
    with torch.no_grad():
        embedding = sam.encode(image[None] / 255, add_no_mem_embed=True)[0]
    found = decode_boxes(sam, embedding, boxes)
    torch.testing.assert_close(found.logits, torch.from_numpy(logits)[:, 0], atol=3e-4, rtol=0)
    torch.testing.assert_close(found.ious, torch.from_numpy(ious)[:, 0], atol=1e-5, rtol=0)


def test_weights_from_a_file(tmp_path: Path, nano: Sam2Backend) -> None:
    file = tmp_path / "nano.pt"
    torch.save({"model": {key: value.half() for key, value in nano.state_dict().items()}}, file)
    sam = build_sam2("sam2_nano", str(file))
    fresh = Sam2Backend(SAM2_SIZES["nano"])
    assert {key for key, _ in sam.named_parameters()} == {key for key, _ in fresh.named_parameters()}
    for key, value in sam.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, nano.state_dict()[key].half().float())
    assert torch.equal(sam.mean, fresh.mean)
    assert torch.equal(sam.std, fresh.std)
    assert not sam.training
    assert all(parameter.requires_grad for parameter in sam.parameters())
    found = sam.decode(random_embedding(sam), random_prompts(sam, "point", 3))
    assert found.logits.isfinite().all()


def test_a_file_that_lacks_a_tensor_is_refused(tmp_path: Path, nano: Sam2Backend) -> None:
    state = nano.state_dict()
    del state["sam_mask_decoder.iou_token.weight"]
    torch.save({"model": state}, tmp_path / "nano.pt")
    with pytest.raises(CheckpointError, match="iou_token"):
        build_sam2("sam2_nano", str(tmp_path / "nano.pt"))


def test_random_weights_are_initialised_and_seeded() -> None:
    torch.manual_seed(5)
    first = build_sam2("sam2_nano", RANDOM)
    torch.manual_seed(5)
    second = build_sam2("sam2_nano", RANDOM)
    for (name, one), two in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two), name
        assert one.isfinite().all(), name
        if one.ndim > 1 and "pos_embed" not in name:
            assert 1e-4 < one.std() < 3, name


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("sam2_hiera_l.yaml", "large"),
        ("configs/sam2.1/sam2.1_hiera_b+.yaml", "base_plus"),
        ("sam2.1_hiera_small", "small"),
        ("sam2_hiera_t", "tiny"),
        ("sam2_nano", "nano"),
    ],
)
def test_configuration_names(name: str, size: str) -> None:
    assert sam2_size(name) == size


@pytest.mark.parametrize("name", ["sam2_hiera_x.yaml", "vit_h", "hiera_l", ""])
def test_unknown_configuration(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown SAM 2 configuration"):
        sam2_size(name)


@pytest.mark.parametrize("tokens", ["best", "all", "single"])
@torch.no_grad()
def test_chunks_as_a_gpu_takes_them(tokens: str) -> None:
    """There only the survivors of a chunk are upscaled; here the chunk as a whole."""
    sam = spread_sam("nano")
    embedding, prompts = random_embedding(sam), random_prompts(sam, "point", 5)
    threshold = (
        float(sam.decode(embedding, prompts, tokens=tokens).ious.median()) + 1e-5
    )  # not on a prediction itself: rounding differs
    expected = sam.decode(embedding, prompts, tokens=tokens, min_iou=threshold)
    worker = sam._chunk_worker(sam._prepare(embedding), tokens, threshold, None)
    found = worker(prompts)
    assert len(found) > 0
    assert found.prompts.tolist() == expected.prompts.tolist()
    torch.testing.assert_close(found.ious, expected.ious)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-4)
    assert len(sam._chunk_worker(sam._prepare(embedding), tokens, 2.0, None)(prompts)) == 0
