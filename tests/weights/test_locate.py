"""From ``encoder_ckpt_path`` to a file: shipped, local, automatic, from a hub, a signed link, or refused."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from no_time_to_train.errors import CheckpointError, GatedWeightsError
from no_time_to_train.models.encoders.encoder_registry import ENCODERS
from no_time_to_train.weights import locate
from no_time_to_train.weights.catalogue import CATALOGUE
from no_time_to_train.weights.locate import find_weights, naming
from tests.weights.file_server import WEIGHTS, FileServer, serving

OTHER = save({"weight": torch.zeros(2)})
L16 = "dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    """Stands for Meta's host and for Hugging Face; checkpoints go to ``tmp_path``."""
    for name in ("NTT_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NTT_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setattr(locate, "_licence_named", set())
    with serving() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("NTT_WEIGHTS_MIRROR", running.url)
        yield running


def test_no_weights_given() -> None:
    with pytest.raises(
        CheckpointError,
        match=r"no weights were given for dinov2_large: the file is dinov2_vitl14_pretrain\.pth; give its "
        r"path, or 'auto' to download it from https://dl\.fbaipublicfiles\.com/dinov2/dinov2_vitl14/dinov2_",
    ):
        find_weights(None, "dinov2_vitl14", "dinov2_large")
    assert find_weights(None, "dinov2_vitl14", "dinov2_large", optional=True) is None


def test_no_weights_given_for_gated_ones() -> None:
    with pytest.raises(
        CheckpointError, match=f"no weights were given for dinov3_large: the file is {L16}"
    ) as caught:
        find_weights("", "dinov3_vitl16", "dinov3_large")
    for way in (
        "(1) a local file: ask at https://ai.meta.com/",
        "(2) 'auto' (un-gated copy",
        "(3) encoder_cfg.name",
    ):
        assert way in str(caught.value)


@pytest.mark.parametrize("path", [None, "auto"])
def test_the_giant_has_no_weights(path: str | None) -> None:
    with pytest.raises(CheckpointError, match="none are published for dinov3_giant, so give your own"):
        find_weights(path, ENCODERS["dinov3_giant"].weights, "dinov3_giant")


def test_a_missing_file_names_preset_and_published_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"file .*x\.pth for dinov3_large \(published as {L16}\)"):
        find_weights(str(tmp_path / "x.pth"), "dinov3_vitl16", "dinov3_large")


def test_a_local_file_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"1")
    assert find_weights(str(tmp_path / "x.pth"), "dinov3_vitl16", "dinov3_large") == tmp_path / "x.pth"


def test_a_published_name_with_another_hash_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / L16).write_bytes(b"1")
    with caplog.at_level(logging.WARNING):
        find_weights(str(tmp_path / L16), "dinov3_vitl16", "dinov3_large")
    assert "its name says 8aa4cbdd: it is damaged or another file" in caplog.text


@pytest.mark.parametrize("name", [L16, "dinov3_vitl16_pretrain.pth", f"dinov3/{L16}"])
def test_auto_finds_local_files(server: FileServer, tmp_path: Path, name: str) -> None:
    path = tmp_path / "checkpoints" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1")
    assert find_weights("auto", "dinov3_vitl16", "dinov3_large") == path
    assert not server.requests


def test_auto_downloads_what_needs_no_account(server: FileServer, tmp_path: Path) -> None:
    server.files["/dinov2/dinov2_vits14/dinov2_vits14_reg4_pretrain.pth"] = WEIGHTS
    path = find_weights("auto", "dinov2_vits14_reg", "dinov2_small_reg")
    assert path == tmp_path / "checkpoints" / "dinov2" / "dinov2_vits14_reg4_pretrain.pth"
    assert path.read_bytes() == WEIGHTS


def test_auto_tries_the_second_source(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/facebook/dinov2-small/resolve/main/model.safetensors"] = WEIGHTS
    path = find_weights("auto", "dinov2_vits14", "dinov2_small")
    assert path is not None
    assert path.read_bytes() == WEIGHTS
    monkeypatch.setenv("NTT_OFFLINE", "1")
    assert find_weights("auto", "dinov2_vits14", "dinov2_small") == path


def test_auto_names_the_licence_once(server: FileServer, caplog: pytest.LogCaptureFixture) -> None:
    route = "/timm/vit_large_patch16_dinov3.lvd1689m/resolve/main/model.safetensors"
    server.files[route] = WEIGHTS
    with caplog.at_level(logging.WARNING):
        first = find_weights("auto", "dinov3_vitl16", "dinov3_large")
        again = find_weights("auto", "dinov3_vitl16", "dinov3_large")
    assert first == again
    assert caplog.text.count("stands under the DINOv3 License: https://ai.meta.com/") == 1
    assert [path for path, *_ in server.requests] == [route]


def test_auto_when_the_copy_is_gated_too(server: FileServer) -> None:
    server.status["/timm/vit_large_patch16_dinov3.lvd1689m/resolve/main/model.safetensors"] = 403
    with pytest.raises(GatedWeightsError) as caught:
        find_weights("auto", "dinov3_vitl16", "dinov3_large")
    message = str(caught.value)
    assert message.startswith("dinov3_large: ")
    assert "answers 403" in message
    assert L16 in message
    assert "(3) encoder_cfg.name: dinov2_large, which needs no permission" in message


def test_auto_without_any_open_source(server: FileServer) -> None:
    with pytest.raises(
        GatedWeightsError, match="no source without permission is known for dinov3_vitl16plus"
    ):
        find_weights("auto", "dinov3_vitl16plus", "dinov3_large_plus")


def test_auto_offline(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTT_OFFLINE", "1")
    with pytest.raises(
        CheckpointError, match=r"vitl14_pretrain\.pth is not there and downloads are switched"
    ):
        find_weights("auto", "dinov2_vitl14", "dinov2_large")
    assert not server.requests


def test_a_hub_repository_with_revision_and_shards(server: FileServer, tmp_path: Path) -> None:
    base = "/me/weights/resolve/v1.2"
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    server.files[f"{base}/model.safetensors.index.json"] = json.dumps(index).encode()
    server.files[f"{base}/model-1.safetensors"] = WEIGHTS
    server.files[f"{base}/model-2.safetensors"] = OTHER
    path = find_weights("hf-hub:me/weights@v1.2", "dinov3_vitl16", "dinov3_large")
    folder = tmp_path / "checkpoints" / "hf-hub" / "me--weights@v1.2"
    assert path == folder / "model.safetensors.index.json"
    assert (folder / "model-2.safetensors").read_bytes() == OTHER
    (folder / "model-1.safetensors").unlink()  # as a process that was killed would leave it
    assert find_weights("hf-hub:me/weights@v1.2", "dinov3_vitl16", "dinov3_large") == path
    assert (folder / "model-1.safetensors").read_bytes() == WEIGHTS
    before = len(server.requests)
    assert find_weights("hf-hub:me/weights@v1.2", "dinov3_vitl16", "dinov3_large") == path
    assert len(server.requests) == before
    assert not [item for item in folder.iterdir() if item.is_dir()]


def test_a_hub_repository_without_weights(server: FileServer) -> None:
    with pytest.raises(CheckpointError, match=r"hf-hub:me/empty holds none of model\.safetensors, "):
        find_weights("hf-hub:me/empty", None, "dinov3_large")


@pytest.mark.parametrize("reference", ["hf-hub:weights", "hf-hub:../..", "hf-hub:a/b/c"])
def test_a_malformed_hub_reference(server: FileServer, reference: str) -> None:
    with pytest.raises(CheckpointError, match=r"hf-hub:<owner>/<repository>\[@revision\] was expected, got"):
        find_weights(reference, None, "dinov3_large")


def test_a_gated_repository_sends_the_users_token(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_user")
    server.status["/facebook/dinov3-vitl16-pretrain-lvd1689m/resolve/main/model.safetensors"] = 401
    with pytest.raises(GatedWeightsError, match=r"dinov3_large: .* answers 401: .*\(1\) a local file"):
        find_weights("hf-hub:facebook/dinov3-vitl16-pretrain-lvd1689m", "dinov3_vitl16", "dinov3_large")
    assert server.asked[0][2] == "Bearer hf_of_the_user"


def test_a_signed_link(server: FileServer, tmp_path: Path) -> None:
    digits = hashlib.sha256(WEIGHTS).hexdigest()[:8]
    name = f"dinov3_vits16_pretrain_lvd1689m-{digits}.pth"
    server.files[f"/dinov3_vits16/{name}"] = WEIGHTS
    link = f"{server.url}/dinov3_vits16/{name}?Policy=x&Signature=y&Key-Pair-Id=z"
    path = find_weights(link, "dinov3_vits16", "dinov3_small")
    assert path == tmp_path / "checkpoints" / "dinov3" / name
    assert server.requests[0][0].endswith("?Policy=x&Signature=y&Key-Pair-Id=z")


def test_an_expired_link(server: FileServer) -> None:
    server.status["/dinov3_vits16.pth"] = 403
    with pytest.raises(GatedWeightsError, match=r"the link has expired") as caught:
        find_weights(f"{server.url}/dinov3_vits16.pth?Signature=y", "dinov3_vits16", "dinov3_small")
    assert "Signature" not in str(caught.value)


def test_a_link_to_no_file(server: FileServer) -> None:
    with pytest.raises(CheckpointError, match="names no file; give one that ends in a file name"):
        find_weights(f"{server.url}/?x=1", None, "dinov3_small")


def test_naming_adds_the_preset_once() -> None:
    with pytest.raises(CheckpointError, match=r"^dinov3_base: x\.pth is empty$"), naming("dinov3_base"):
        raise CheckpointError("x.pth is empty")
    with pytest.raises(CheckpointError, match=r"^no dinov3_base$"), naming("dinov3_base"):
        raise CheckpointError("no dinov3_base")


def test_every_preset_has_its_catalogue_entry() -> None:
    for spec in ENCODERS.values():
        if spec.name != "dinov3_giant":
            assert spec.weights in CATALOGUE, spec.name
            assert CATALOGUE[str(spec.weights)].licence == spec.licence


def test_hub_names_are_those_of_timm() -> None:
    timm = pytest.importorskip("timm")
    for entry in CATALOGUE.values():
        if entry.hub and entry.hub.startswith("timm/"):
            assert timm.models.get_pretrained_cfg(entry.hub.removeprefix("timm/")).hf_hub_id == entry.hub
