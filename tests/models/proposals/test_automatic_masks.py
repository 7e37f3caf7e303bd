"""The automatic mask generator against ``sam2``'s own, and the meaning of each of its options."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from no_time_to_train.config import Sam2AmgConfig, parse_block
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.proposals import automatic_masks
from no_time_to_train.models.proposals.automatic_masks import AutomaticMasks, StableMasks, judge_masks
from no_time_to_train.models.proposals.point_grid import half_cell_grid
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding, Prompts
from tests.models.small_models import lively_sam, picture

SIDE = 512


def stable_masks(**options: object) -> StableMasks:
    block = {"sel_stability_score_thresh": 0.2, **options}
    cfg = parse_block(Sam2AmgConfig, block, "sam2_amg_cfg")
    return StableMasks.from_config(cfg, SIDE, min_iou=0.4, max_overlap=0.9)


@pytest.fixture(scope="module")
def sam() -> Sam2Backend:
    return lively_sam()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return picture(0, (SIDE, SIDE))


@pytest.fixture(scope="module")
def embedding(sam: Sam2Backend, image: np.ndarray) -> ImageEmbedding:
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        return sam.encode(pixels, add_no_mem_embed=True)[0]


class _Memory(nn.Module):
    """What ``SAM2Base`` asks of its video parts when it is built; single images never run them."""

    d_model = 96


def original_generator(sam: Sam2Backend, **options: object) -> object:
    """``sam2``'s own generator on the same weights, at the size of the small model."""
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
    from sam2.modeling.sam2_base import SAM2Base

    memory = _Memory()
    memory.d_model = sam.spec.d_model
    base = SAM2Base(
        image_encoder=sam.image_encoder,
        memory_attention=memory,
        memory_encoder=memory,
        image_size=SIDE,
        use_high_res_features_in_sam=True,
        directly_add_no_mem_embed=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        iou_prediction_use_sigmoid=True,
        use_obj_ptrs_in_encoder=True,
        use_multimask_token_for_obj_ptr=True,
    ).eval()
    for part in base.sam_mask_decoder.modules():
        if hasattr(part, "num_heads"):
            part.num_heads = sam.spec.decoder_heads
    base.sam_mask_decoder.load_state_dict(sam.sam_mask_decoder.state_dict())
    base.sam_prompt_encoder.load_state_dict(sam.sam_prompt_encoder.state_dict())
    base.no_mem_embed.data.copy_(sam.no_mem_embed)
    made = SAM2AutomaticMaskGenerator(base, **options)
    made.predictor._bb_feat_sizes = [(SIDE // stride, SIDE // stride) for stride in (4, 8, 16)]
    return made


@pytest.mark.parametrize(
    ("points", "iou", "stability", "nms", "multimask"),
    [
        (5, 0.0, 0.0, 1.0, True),  # all of them
        (5, 0.0, 0.9, 1.0, True),
        (4, 0.55, 0.0, 0.9, True),
        (5, 0.0, 0.0, 0.9, False),
    ],
)
def test_same_masks_as_the_original_generator(
    sam: Sam2Backend,
    image: np.ndarray,
    embedding: ImageEmbedding,
    points: int,
    iou: float,
    stability: float,
    nms: float,
    multimask: bool,
) -> None:
    generator = original_generator(
        sam,
        points_per_side=points,
        pred_iou_thresh=iou,
        stability_score_thresh=stability,
        box_nms_thresh=nms,
        multimask_output=multimask,
    )
    expected = generator.generate(image)  # type: ignore[attr-defined]
    stable = stable_masks(
        pred_iou_thresh=iou,
        sel_stability_score_thresh=stability,
        box_nms_thresh=nms,
        multimask_output=multimask,
    )
    with torch.inference_mode():
        found = AutomaticMasks(points, stable)(sam, embedding)
    assert len(found) == len(expected) > 0
    ours = F.interpolate(found.logits[:, None], (SIDE, SIDE), mode="bilinear")[:, 0]
    grid = half_cell_grid(points, SIDE)
    for record in expected:  # equal ones may stand in another order
        (point,) = torch.tensor(record["point_coords"])
        same_point = torch.nonzero((grid[found.prompts] == point).all(dim=1))[:, 0]
        gap, nearest = (found.ious[same_point] - record["predicted_iou"]).abs().min(dim=0)
        assert gap < 1e-4
        mask = ours[same_point[nearest]]
        differing = (mask > 0) != torch.from_numpy(record["segmentation"])
        assert bool((mask[differing].abs() < 0.02).all())  # rounding, which random weights amplify


def test_grid_is_that_of_the_original() -> None:
    from sam2.utils.amg import build_point_grid

    for points in (1, 2, 7, 64):
        expected = torch.from_numpy(build_point_grid(points) * 1024).float()
        torch.testing.assert_close(half_cell_grid(points, 1024), expected)


def literal_judgement(logits: Tensor, size: int, offset: float) -> tuple[float, list[float]]:
    mask = F.interpolate(logits[None, None], (size, size), mode="bilinear")[0, 0]
    high = sum(value > offset for value in mask.flatten().tolist())
    low = sum(value > -offset for value in mask.flatten().tolist())
    cells = [(x, y) for y in range(size) for x in range(size) if mask[y, x] > 0]
    xs, ys = [x for x, _ in cells] or [0], [y for _, y in cells] or [0]
    return (high / low if low else 0.0), [min(xs), min(ys), max(xs), max(ys)]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 3), size=st.integers(3, 20))
def test_stability_and_boxes_by_counting(seed: int, count: int, size: int) -> None:
    logits = torch.randn(count, 8, 8, generator=torch.Generator().manual_seed(seed)) * 3 - 2
    stability, boxes = judge_masks(logits, size, 1.0)
    assert stability.shape == (count,)
    assert boxes.shape == (count, 4)
    for row in range(count):
        share, box = literal_judgement(logits[row], size, 1.0)
        assert stability[row].item() == pytest.approx(share)
        assert boxes[row].tolist() == box


def test_empty_mask_is_not_stable_and_never_nan() -> None:
    stability, boxes = judge_masks(torch.full((1, 8, 8), -9.0), 16, 1.0)
    assert stability.tolist() == [0.0]
    assert boxes.tolist() == [[0, 0, 0, 0]]


def test_pieces_do_not_change_the_judgement(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(7, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = judge_masks(logits, 24, 1.0)
    monkeypatch.setattr(automatic_masks, "MAX_PIXELS", 2 * 24**2)
    pieces = judge_masks(logits, 24, 1.0)
    assert torch.equal(whole[0], pieces[0])
    assert torch.equal(whole[1], pieces[1])


def propose(sam: Sam2Backend, embedding: ImageEmbedding, points: int, **options: object) -> DecodedMasks:
    with torch.inference_mode():
        return AutomaticMasks(points, stable_masks(**options))(sam, embedding)


def test_each_option_has_its_effect(sam: Sam2Backend, embedding: ImageEmbedding) -> None:
    loose = {"pred_iou_thresh": 0.0, "sel_stability_score_thresh": 0.0, "box_nms_thresh": 1.0}
    every = propose(sam, embedding, 5, **loose)
    assert 3 * 25 - 10 < len(every) <= 3 * 25  # equal boxes are suppressed even so
    middle_iou = every.ious.median().item()
    stricter = propose(sam, embedding, 5, **{**loose, "pred_iou_thresh": middle_iou})
    assert len(stricter) == int((every.ious > middle_iou).sum()) < len(every)
    stability = judge_masks(every.logits, SIDE, 1.0)[0]
    middle = stability.median().item()
    stabler = propose(sam, embedding, 5, **{**loose, "sel_stability_score_thresh": middle})
    assert len(stabler) == int((stability >= middle).sum()) < len(every)
    wide = {"sel_stability_score_thresh": middle, "stability_score_offset": 0.0}
    assert len(propose(sam, embedding, 5, **{**loose, **wide})) == len(every)  # nothing is shifted
    assert len(propose(sam, embedding, 5, **{**loose, "box_nms_thresh": 0.5})) < len(every)
    assert len(propose(sam, embedding, 2, **loose)) <= 3 * 4
    assert len(propose(sam, embedding, 5, **{**loose, "multimask_output": False})) <= 25


def test_prompts_per_batch_do_not_change_the_masks(sam: Sam2Backend, embedding: ImageEmbedding) -> None:
    one, many = (propose(sam, embedding, 5, points_per_batch=size) for size in (1, 64))
    assert torch.equal(one.logits, many.logits)
    assert torch.equal(one.ious, many.ious)


def test_blocks_do_not_change_the_masks(
    sam: Sam2Backend, embedding: ImageEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = propose(sam, embedding, 5)
    monkeypatch.setattr(automatic_masks, "DECODED_TOGETHER", 8)
    blocks = propose(sam, embedding, 5)
    assert torch.equal(whole.logits, blocks.logits)


def test_nothing_to_propose(sam: Sam2Backend, embedding: ImageEmbedding) -> None:
    found = propose(sam, embedding, 2, pred_iou_thresh=1.0)
    assert len(found) == 0
    assert found.logits.shape[1:] == (128, 128)
    none = Prompts(points=torch.zeros(0, 1, 2), labels=torch.zeros(0, 1, dtype=torch.int32))
    with torch.inference_mode():
        assert len(stable_masks().suppress(stable_masks().decode(sam, embedding, none))) == 0


def test_suppression_keeps_the_better_predicted_iou() -> None:
    boxes = torch.tensor([[0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]]).float()
    masks = DecodedMasks(torch.zeros(3, 4, 4), torch.tensor([0.5, 0.9, 0.4]), torch.arange(3))
    kept = stable_masks(box_nms_thresh=0.7).suppress(automatic_masks.JudgedMasks(masks, boxes))
    assert kept.prompts.tolist() == [1, 2]


def test_thresholds_left_out_are_those_of_the_model() -> None:
    stable = StableMasks.from_config(Sam2AmgConfig(), SIDE, min_iou=0.88, max_overlap=0.65)
    assert (stable.min_iou, stable.max_overlap, stable.min_stability) == (0.88, 0.65, 0.95)
    given_zero = replace(Sam2AmgConfig(), pred_iou_thresh=0.0, box_nms_thresh=0.0)
    stable = StableMasks.from_config(given_zero, SIDE, min_iou=0.88, max_overlap=0.65)
    assert (stable.min_iou, stable.max_overlap) == (0.0, 0.0)


@pytest.mark.parametrize(
    "block",
    [
        {"stability_score_thresh": 0.9},  # the original swallowed this
        {"crop_n_layers": 1},
        {"use_m2m": True},
        {"points_per_side": 0},
        {"pred_iou_thresh": 1.5},
        {"stability_score_offset": -1.0},
    ],
)
def test_options_that_cannot_be_honoured_are_refused(block: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"sam2_amg_cfg.{next(iter(block))}"):
        parse_block(Sam2AmgConfig, block, "sam2_amg_cfg")
