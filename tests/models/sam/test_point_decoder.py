"""The fast decoder against ``sam2``'s own: same algebra in float64, same figures in float32, any company."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.point_decoder import PointDecoder, PreparedImage
from no_time_to_train.models.sam.prompt_embedding import embed_prompts, grid_code
from no_time_to_train.models.sam.prompts import ImageEmbedding, Prompts
from tests.models.sam2_oracle import random_embedding, random_prompts, spread_sam


@pytest.fixture(scope="module")
def nano() -> Sam2Backend:
    return spread_sam("nano")


def embedded(sam: Sam2Backend, prompts: Prompts) -> Tensor:
    parts = (prompts.points, prompts.labels, prompts.boxes)
    return embed_prompts(sam.sam_prompt_encoder, len(prompts), *parts)


def prepared(
    sam: Sam2Backend, embedding: ImageEmbedding, dtype: torch.dtype = torch.float32
) -> tuple[PointDecoder, PreparedImage]:
    decoder = PointDecoder(sam.sam_prompt_encoder, sam.sam_mask_decoder)
    return decoder, decoder.prepare(embedding.image, embedding.high_res, dtype)


@pytest.mark.parametrize("kind", ["point", "points", "box and points"])
def test_is_the_same_function_in_float64(nano: Sam2Backend, kind: str) -> None:
    sam = copy.deepcopy(nano).double()
    plain = random_embedding(nano, seed=1)
    embedding = ImageEmbedding(plain.image.double(), tuple(part.double() for part in plain.high_res))
    sparse = embedded(sam, random_prompts(sam, kind, 5, seed=2))
    side = embedding.image.shape[-1]
    logits, ious, _, _ = sam.sam_mask_decoder.predict_masks(
        image_embeddings=embedding.image,
        image_pe=grid_code(sam.sam_prompt_encoder, side, side).double().T.view(1, -1, side, side),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=sam.sam_prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1).expand(
            5, -1, side, side
        ),
        repeat_image=True,
        high_res_features=list(embedding.high_res),
    )

    decoder, image = prepared(sam, embedding, torch.float64)
    decoded = decoder.run(image, sparse)
    masks = decoder.masks(image, decoded, torch.arange(4).expand(5, -1))

    torch.testing.assert_close(decoded.ious, ious.float())
    assert logits.std() > 0.5  # so that the next line says something
    torch.testing.assert_close(masks, logits.float(), atol=1e-6, rtol=1e-6)


def test_attention_biases_matter_in_these_weights(nano: Sam2Backend) -> None:
    """The query bias of image-to-token attention is easily lost when projections are folded."""
    embedding = random_embedding(nano)
    sparse = embedded(nano, random_prompts(nano, "point", 3))
    changed = copy.deepcopy(nano)
    for layer in changed.sam_mask_decoder.transformer.layers:
        layer.cross_attn_image_to_token.q_proj.bias.zero_()
    answers = []
    for sam in (nano, changed):
        decoder, image = prepared(sam, embedding)
        decoded = decoder.run(image, sparse)
        answers.append(decoder.masks(image, decoded, torch.ones(3, 1, dtype=torch.int64)))
    assert (answers[0] - answers[1]).abs().max() > 0.01


def test_any_mask_token_and_number_of_prompts(nano: Sam2Backend) -> None:
    decoder, image = prepared(nano, random_embedding(nano))
    decoded = decoder.run(image, embedded(nano, random_prompts(nano, "points", 4)))
    every = decoder.masks(image, decoded, torch.arange(4).expand(4, -1))
    assert every.shape == (4, 4, 128, 128)
    wanted = torch.tensor([[2], [0], [3], [1]])
    one = decoder.masks(image, decoded, wanted)
    torch.testing.assert_close(one[:, 0], every[torch.arange(4), wanted[:, 0]])
    rows = torch.tensor([3, 1])
    torch.testing.assert_close(decoder.masks(image, decoded[rows], wanted[rows]), one[rows])


def test_buffers_are_reused_and_grow(nano: Sam2Backend) -> None:
    embedding = random_embedding(nano)
    decoder, image = prepared(nano, embedding)
    sizes = (2, 5, 1, 5)
    for count in sizes:
        sparse = embedded(nano, random_prompts(nano, "point", count, seed=count))
        fresh = prepared(nano, embedding)[0]
        token = torch.ones(count, 1, dtype=torch.int64)
        found = decoder.masks(image, decoder.run(image, sparse), token)
        torch.testing.assert_close(found, fresh.masks(image, fresh.run(image, sparse), token))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gpu_gives_the_figures_of_the_cpu(nano: Sam2Backend, dtype: torch.dtype) -> None:
    embedding, prompts = random_embedding(nano), random_prompts(nano, "points", 21)
    expected = nano.decode(embedding, prompts)
    gpu = copy.deepcopy(nano).cuda()
    moved = ImageEmbedding(embedding.image.cuda(), tuple(part.cuda() for part in embedding.high_res))
    points = Prompts(prompts.points.cuda(), prompts.labels.cuda())
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        found = gpu.decode(moved, points, chunk=8)
    tolerance = 1e-4 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(found.ious.cpu(), expected.ious, atol=tolerance, rtol=0)
    assert ((found.logits.cpu() > 0) == (expected.logits > 0)).float().mean() > 0.95
