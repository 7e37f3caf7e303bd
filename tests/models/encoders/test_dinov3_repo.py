"""A checkout of the original package as an alternative to ours: the same presets, the same numbers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dinov3
from no_time_to_train.config import EncoderConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.dinov3_utils import get_dinov3_model
from no_time_to_train.models.encoders.feature_encoder import build_encoder

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Stands for the original: another folder with the same module paths, marked to tell it apart.

    Like the original it imports itself by its absolute name, leaves a new model uninitialised, and is
    random in train mode.
    """
    package = tmp_path / "checkout" / "dinov3"
    shutil.copytree(ROOT / "dinov3", package, ignore=shutil.ignore_patterns("__pycache__"))
    source = package / "models" / "vision_transformer.py"
    text = source.read_text().replace(
        "        self.init_weights()\n", "        self.made_by = 'checkout'\n", 1
    )
    source.write_text(text)
    return package.parent


def test_the_same_numbers_from_a_checkout(checkout: Path, tmp_path: Path) -> None:
    source = get_dinov3_model("dinov3_nano")
    torch.save(source.state_dict(), tmp_path / "w.pth")
    ours = build_encoder(EncoderConfig("dinov3_nano", img_size=64), str(tmp_path / "w.pth"))
    theirs = build_encoder(
        EncoderConfig("dinov3_nano", img_size=64, repo=str(checkout)), str(tmp_path / "w.pth")
    )
    assert theirs.backbone.made_by == "checkout"
    assert not hasattr(ours.backbone, "made_by")
    assert type(theirs.backbone) is not type(ours.backbone)
    picture = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(theirs(picture), ours(picture), atol=1e-6, rtol=0)


def test_a_random_model_from_a_checkout_is_initialised(checkout: Path) -> None:
    config = EncoderConfig("dinov3_small", img_size=32, repo=str(checkout), allow_random_weights=True)
    assert torch.isfinite(build_encoder(config, None)(torch.rand(1, 3, 32, 32))).all()


def test_our_package_stays_in_place(checkout: Path) -> None:
    build_encoder(EncoderConfig("dinov3_nano", repo=str(checkout), allow_random_weights=True), None)
    assert sys.modules["dinov3"] is dinov3
    assert Path(str(dinov3.__file__)).parent == ROOT / "dinov3"
    assert str(checkout) not in sys.path
    loaded = {name for name in sys.modules if name.startswith("dinov3.")}
    assert all(str(ROOT / "dinov3") in str(sys.modules[name].__file__) for name in loaded)


def test_the_environment_variable(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DINOV3_REPO", str(checkout))
    assert get_dinov3_model("dinov3_nano").made_by == "checkout"
    assert get_dinov3_model("vit_small", depth=12).made_by == "checkout"
    build_encoder(EncoderConfig("dinov2_small", allow_random_weights=True), None)  # looks at no checkout


def test_before_our_own_package_is_imported(checkout: Path, tmp_path: Path) -> None:
    code = (
        "from no_time_to_train.models import get_dinov3_model\n"
        "theirs = get_dinov3_model('dinov3_nano')\n"
        "import os; del os.environ['DINOV3_REPO']\n"
        "ours = get_dinov3_model('dinov3_nano')\n"
        "print(hasattr(theirs, 'made_by'), hasattr(ours, 'made_by'))\n"
    )
    environment = {"PYTHONPATH": str(ROOT), "DINOV3_REPO": str(checkout), "PATH": ""}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["True", "False"]


def test_no_checkout_there(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"must be a checkout of Meta's dinov3 repository .* got .*; correct it"
    ):
        build_encoder(EncoderConfig("dinov3_nano", repo=str(tmp_path), allow_random_weights=True), None)


def test_a_checkout_that_needs_more(tmp_path: Path) -> None:
    package = tmp_path / "dinov3" / "models"
    package.mkdir(parents=True)
    (package / "vision_transformer.py").write_text("import a_module_that_is_not_installed\n")
    with pytest.raises(ConfigError, match=r"cannot be imported \(No module named 'a_module_that"):
        build_encoder(EncoderConfig("dinov3_nano", repo=str(tmp_path), allow_random_weights=True), None)
    assert sys.modules["dinov3"] is dinov3
