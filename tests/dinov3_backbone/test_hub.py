"""The released models by name: their state dicts, and where their weights may come from."""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dinov3.hub import backbones
from dinov3.hub.backbones import PUBLISHED_HASHES, Weights, has_local_cls_norm
from dinov3.hub.files import PublishedFile, download, read_state_dict
from tests.dinov3_backbone.recipe import manifest

HUB_MODELS = [
    "dinov3_vits16",
    "dinov3_vits16plus",
    "dinov3_vitb16",
    "dinov3_vitl16",
    "dinov3_vitl16@SAT493M",
    "dinov3_vitl16plus",
    "dinov3_vith16plus",
    "dinov3_vit7b16",
]


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkpoint folder of torch hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def on_meta(name: str, **kwargs: Any) -> torch.nn.Module:
    """Build ``dinov3_x`` or ``dinov3_x@weights`` without memory."""
    function, _, weights = name.partition("@")
    with torch.device("meta"):
        return getattr(backbones, function)(
            pretrained=False, weights=Weights[weights or "LVD1689M"], **kwargs
        )


def constant_state(name: str, value: float) -> dict[str, Tensor]:
    """A full state dict that takes no space: one number seen from everywhere."""
    shapes = on_meta(name).state_dict()
    return {key: torch.full((1,), value).expand(entry.shape) for key, entry in shapes.items()}


def test_every_released_model_is_tested(shared: Path) -> None:
    assert list(manifest(shared, "hub_state_dict_manifest.json")) == HUB_MODELS


@pytest.mark.parametrize("name", HUB_MODELS)
def test_keys_shapes_and_kinds_equal_the_manifest(shared: Path, name: str) -> None:
    wanted = manifest(shared, "hub_state_dict_manifest.json")[name]
    expected = {}
    for key, entry in wanted["keys"].items():
        for index in range(wanted["depth"] if "{i}" in key else 1):
            expected[key.replace("{i}", str(index))] = (tuple(entry["shape"]), entry["kind"])
    model = on_meta(name)
    parameters = dict(model.named_parameters())
    found = {
        key: (tuple(value.shape), "parameter" if key in parameters else "buffer")
        for key, value in model.state_dict().items()
    }
    assert found == expected
    assert len(found) == wanted["num_state_dict_keys"]
    assert sum(parameter.numel() for parameter in parameters.values()) == wanted["num_parameters"]


@pytest.mark.parametrize("name", HUB_MODELS)
def test_shared_settings(name: str) -> None:
    model = on_meta(name)
    assert model.rope_embed.dtype == model.rope_embed.periods.dtype == torch.float32
    assert (model.rope_embed.base, model.rope_embed.rescale_coords) == (100, 2)
    assert (model.rope_embed.shift_coords, model.rope_embed.jitter_coords) == (None, None)
    assert {norm.eps for norm in model.modules() if isinstance(norm, torch.nn.LayerNorm)} == {1e-5}
    assert model.cls_norm is None


def test_further_arguments() -> None:
    assert on_meta("dinov3_vits16", untie_cls_and_patch_norms=True).cls_norm is not None
    assert on_meta("dinov3_vits16", hash="0123abcd").n_blocks == 12
    for settled in ("embed_dim", "patch_size", "n_storage_tokens"):
        with pytest.raises(TypeError, match=settled):
            on_meta("dinov3_vits16", **{settled: 16})
    with pytest.raises(TypeError):
        backbones.dinov3_vits16(False)  # type: ignore[misc]


def test_satellite_weights_are_told_by_their_keys(shared: Path) -> None:
    keys = {name: entry["keys"] for name, entry in manifest(shared, "hub_state_dict_manifest.json").items()}
    told = {name for name in HUB_MODELS if has_local_cls_norm(keys[name])}
    assert told == {"dinov3_vitl16@SAT493M", "dinov3_vit7b16"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dinov3_vitl16", "dinov3_vitl16@SAT493M"])
def test_large_model_fits_its_file_whatever_the_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "my weights.pth"
    torch.save(constant_state(name, 0.5), path)
    model = backbones.dinov3_vitl16(weights=path)
    assert (model.local_cls_norm is not None) == name.endswith("SAT493M")
    assert all((value == 0.5).all() for value in model.state_dict().values())


def test_local_file_and_url_load_every_entry(tmp_path: Path) -> None:
    path = tmp_path / "renamed.pth"
    torch.save(constant_state("dinov3_vits16", 0.25), path)
    for source in (str(path), path, path.as_uri()):
        model = backbones.dinov3_vits16(weights=source)
        assert all((value == 0.25).all() for value in model.state_dict().values())
        assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
        assert {value.device.type for value in model.state_dict().values()} == {"cpu"}


def test_files_of_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        path = tmp_path / str(value) / "model.pth"
        path.parent.mkdir()
        torch.save({"x": torch.tensor(value)}, path)
        assert read_state_dict(path.as_uri())["x"] == value


def test_published_file_is_looked_up_and_never_fetched(checkpoints: Path) -> None:
    name = "dinov3_vits16_pretrain_lvd1689m-08c60483.pth"
    with pytest.raises(FileNotFoundError, match="dinov3-downloads") as error:
        backbones.dinov3_vits16()
    assert str(checkpoints / name) in str(error.value)
    torch.save(constant_state("dinov3_vits16", 0.5), checkpoints / name)
    assert (backbones.dinov3_vits16().cls_token == 0.5).all()
    with pytest.raises(ValueError, match="SHA-256 that starts with 08c60483"):
        backbones.dinov3_vits16(check_hash=True)
    with pytest.raises(FileNotFoundError, match="lvd1689m-11112222"):
        backbones.dinov3_vits16(hash="11112222")


def test_published_names() -> None:
    names = {PublishedFile(arch, w.value.lower(), h).name for (arch, w), h in PUBLISHED_HASHES.items()}
    assert len(names) == 13
    assert "dinov3_vit7b16_pretrain_sat493m-a6675841.pth" in names
    with pytest.raises(
        ValueError, match="no SAT493M weights were published for dinov3_vits16, only LVD1689M"
    ):
        backbones.dinov3_vits16(weights=Weights.SAT493M)


@pytest.mark.parametrize("source", ["/nowhere/model.pth", "http://example.org/model.pth"])
def test_missing_file(source: str) -> None:
    with pytest.raises(FileNotFoundError, match="weights must be a file or an https://"):
        backbones.dinov3_vits16(weights=source)


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(constant_state("dinov3_vits16plus", 0.5), path)
    with pytest.raises(RuntimeError, match=r"Missing key.*mlp\.fc1"):
        backbones.dinov3_vits16(weights=path)
    state = constant_state("dinov3_vits16", 0.5)
    state["blocks.3.attn.qkv.bias_mask"] = torch.full((1152,), float("nan"))
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"blocks\.3\.attn\.qkv\.bias_mask must be finite"):
        backbones.dinov3_vits16(weights=path)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"x": torch.nn.Linear(1, 1)}, path)
    with pytest.raises(pickle.UnpicklingError):
        read_state_dict(path)


def test_hash_of_a_local_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"x": torch.zeros(1)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=r"wants a name such as .* got model\.pth"):
        read_state_dict(path, check_hash=True)
    assert "x" in read_state_dict(path, check_hash=True, file_hash=digest[:8].upper())
    named = path.rename(tmp_path / f"model-{digest[:8]}.pth")
    assert "x" in read_state_dict(named, check_hash=True)
    with pytest.raises(ValueError, match="starts with 00000000"):
        read_state_dict(named, check_hash=True, file_hash="00000000")


@pytest.mark.parametrize(
    ("size", "count"),
    [("tiny", 27_820_128), ("small", 49_454_688), ("base", 87_566_464), ("large", 196_230_336)],
)
def test_convnext_has_the_published_size(size: str, count: int) -> None:
    with torch.device("meta"):
        model = getattr(backbones, f"dinov3_convnext_{size}")(pretrained=False)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_convnext_from_a_file_that_holds_its_last_norm_twice(tmp_path: Path) -> None:
    first = backbones.dinov3_convnext_tiny(pretrained=False)
    state = first.state_dict()
    state |= {f"norms.3.{key}": state[f"norm.{key}"] for key in ("weight", "bias")}
    torch.save(state, tmp_path / "dinov3_convnext_tiny_pretrain_lvd1689m-00000000.pth")
    (file,) = tmp_path.iterdir()
    second = backbones.dinov3_convnext_tiny(weights=file)
    for key, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[key], value)
    torch.save({**state, "stem.0.weight": torch.zeros(1)}, file)
    with pytest.raises(RuntimeError, match="stem"):
        backbones.dinov3_convnext_tiny(weights=file)
    with pytest.raises(ValueError, match="only LVD1689M"):
        backbones.dinov3_convnext_tiny(weights=backbones.Weights.SAT493M)


class Handler(BaseHTTPRequestHandler):
    """Serves b"weights" at paths that end in .pth and refuses signatures called expired."""

    def do_GET(self) -> None:
        if "Signature=expired" in self.path:
            self.send_error(403)
        elif "missing" in self.path:
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"weights")

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


def test_download_keeps_the_signature_to_itself(
    checkpoints: Path, server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = download(f"{server}/dinov3_vits16/model.pth?Signature=secret&Key-Pair-Id=7")
    assert path == checkpoints / "model.pth"
    assert path.read_bytes() == b"weights"
    with pytest.raises(PermissionError, match=r"refuses other\.pth \(403\).*dinov3-downloads") as error:
        download(f"{server}/other.pth?Signature=expired")
    assert "expired" not in str(error.value)
    output = capfd.readouterr()
    assert "secret" not in output.out + output.err
    assert [file.name for file in checkpoints.iterdir()] == ["model.pth"]


def test_download_checks_the_hash_and_other_errors(checkpoints: Path, server: str) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    assert download(f"{server}/a-{digest[:8]}.pth", check_hash=True).is_file()
    assert download(f"{server}/b.pth", check_hash=True, file_hash=digest[:8]).is_file()
    with pytest.raises(RuntimeError, match="hash"):
        download(f"{server}/c-00000000.pth", check_hash=True)
    with pytest.raises(OSError, match="404"):
        download(f"{server}/missing.pth")
    assert len(list(checkpoints.iterdir())) == 2


def test_a_file_of_that_name_is_not_fetched_again(checkpoints: Path) -> None:
    torch.save({"x": torch.ones(1)}, checkpoints / "model.pth")
    assert read_state_dict("https://127.0.0.1:9/dir/model.pth?Signature=x")["x"] == 1
