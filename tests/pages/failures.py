"""What the user can do wrong, done for real: each failure returns the message that it ends with."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train import Segmenter
from no_time_to_train.config import EncoderConfig
from no_time_to_train.errors import NoTimeToTrainError
from no_time_to_train.models import get_dinov3_model
from no_time_to_train.models.encoders.feature_encoder import build_encoder
from no_time_to_train.models.sam.build import build_sam2
from no_time_to_train.weights.locate import find_weights
from no_time_to_train.weights.on_this_machine import EMBEDDED_FOLDER
from tests.pages.commands import call, split_line
from tests.weights.file_server import serving

Failure = Callable[[], object]


def message_of(failure: Failure | str) -> str:
    """The message of an error; of a command line, what it says after ``error:``."""
    if isinstance(failure, str):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = call(split_line(failure)[1])
        assert code == 2, f"exit code {code}: {failure}\n{said.getvalue()}"
        lines = [line for line in said.getvalue().splitlines() if line.startswith("error: ")]
        return lines[-1].removeprefix("error: ")
    try:
        failure()
    except (NoTimeToTrainError, ImportError) as error:
        return str(error)
    raise AssertionError(f"{failure} went well")


def encoder(name: str, ckpt_path: str | None = None, **options: object) -> Failure:
    return lambda: build_encoder(EncoderConfig(name, **options), ckpt_path)  # type: ignore[arg-type]


def file_with(name: str, content: bytes) -> str:
    Path(name).write_bytes(content)
    return name


def refused_by_its_owner() -> None:
    with serving() as server:
        server.status["/dinov3_vitl16.pth"] = 403
        os.environ.pop("NTT_OFFLINE", None)
        try:
            find_weights(f"{server.url}/dinov3_vitl16.pth?Signature=1", "dinov3_vitl16", "dinov3_large")
        finally:
            os.environ["NTT_OFFLINE"] = "1"


RUN = "python run_lightening.py --config my.yaml"
PREDICT = "ntt predict --references refs --images pictures"


def weights_failures() -> list[Failure | str]:
    """Encoders, SAM 2 and their files; the working directory is a room."""
    nano = str(EMBEDDED_FOLDER / "dinov3_nano.safetensors")
    page = file_with("page.pth", b"<html><body>Access denied</body></html>")
    pointer = file_with("pointer.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    cut = file_with("cut.safetensors", (EMBEDDED_FOLDER / "dinov3_nano.safetensors").read_bytes()[:100_000])
    pickled = file_with("pickled.pth", b"\x80\x04\x8c\x05posix\x8c\x06system\x93.")
    return [
        encoder("dinov3_large"),
        encoder("dinov3_giant"),
        encoder("dinov3_large", "dinov3_vitl16.pth"),
        encoder("dinov2_large", "auto"),
        refused_by_its_owner,
        encoder("dinov3_small", nano),
        encoder("dinov3_large", page),
        encoder("dinov3_large", pointer),
        encoder("dinov3_large", cut),
        encoder("dinov3_large", pickled),
        encoder("dinov3_large", img_size=518),
        encoder("dinov3_large", patch_size=14),
        encoder("dinov3_nano", layers=(3, 4)),
        encoder("dinov3_larg"),
        encoder("timm:vit_large_patch16_dinov33"),
        encoder("dinov3_nano", repo="scenes"),
        lambda: get_dinov3_model("vit_larg"),
        lambda: build_sam2("sam2_hiera_l", str(EMBEDDED_FOLDER / "sam2_nano.safetensors")),
        lambda: build_sam2("sam2_hiera_xl", None),
        "ntt download dinov3_giant",
    ]


def other_failures() -> list[Failure | str]:
    """Configurations, memories, references and pictures; the working directory is a room."""
    prepare_faults()
    finder = Segmenter("dinov3_nano", "sam2_nano", device="cpu")
    block = "--model.dataset_cfgs"
    bank = "--model.model_cfg.memory_bank_cfg"
    return [
        "python run_lightening.py --config yours.yaml",
        f"{RUN} --model.model_cfg.memory_bank_cfg.lenght 3",
        f"{RUN} --model.model_cfg.sam2_infer_cfgs.nms_thr high",
        f"{RUN} --model.model_cfg.encoder_cfg dinov3_large",
        f"{RUN} --model.model_cfg.sam2_infer_cfgs.nms_thr 2",
        f"{RUN} --model.test_mode fil_memory",
        f"{RUN} --model.test_mode fill_memory",
        f"{RUN} --model.model_cfg.name matchr",
        f"{RUN} {block}.fill_memory.json_file scenes/nowhere.json",
        f"{RUN} {block}.fill_memory.cat_names dates,walnut",
        f"{RUN} {block}.fill_memory.class_split few_shot_classes",
        f"{RUN} {bank}.category_num 20",
        f"{RUN} --model.test_mode test --ckpt_path nowhere.memory",
        f"{RUN} --model.test_mode test --ckpt_path other.memory",
        f"{PREDICT} --out found --encoder dinov3_nano --sam2 sam2_nano",
        f"{PREDICT} --out found10",
        "ntt predict --images pictures --out found1",
        "ntt predict --references pictures --images pictures --out found2",
        "ntt predict --references refs --images empty --out found3",
        "ntt predict --memory other.memory --encoder dinov3_nano --images pictures --out found4",
        f"{PREDICT} --out found5 --format cooc",
        f"{PREDICT} --out found6 --option point_per_side=16",
        f"{PREDICT} --out found7 --device cuda:7",
        f"{PREDICT} --out found8 --classes date,fig",
        "ntt report found9",
        lambda: finder.predict("pictures/one.jpg"),
        lambda: finder.add("date", "pictures/one.jpg"),
        lambda: finder.add("date", "pictures/one.jpg", mask="black.png"),
        lambda: finder.add("date", "broken.jpg", box=(0, 0, 9, 9)),
        lambda: Segmenter.load("other.memory", sam2="sam2_nano", device="cpu", img_size=96),
    ]


def prepare_faults() -> None:
    """Files that the failures meet."""
    Path("empty").mkdir()
    Path("broken.jpg").write_text("no picture")
    Path("found/parts").mkdir(parents=True)
    Path("found/parts/settings.json").write_text("{}")
    Path("found9").mkdir()
    Path("found10").mkdir()
    Path("found10/annotations.json").write_text("mine")
    Path("found9/predictions.json").write_text(json.dumps([]))
    with Image.open("pictures/one.jpg") as picture:
        Image.fromarray(np.zeros((picture.height, picture.width), np.uint8)).save("black.png")
    small = Segmenter("dinov3_nano", "sam2_nano", device="cpu", img_size=192)
    small.add_folder("refs").save("other.memory")
