"""Configuration files: merged in order, bounded, and importing nothing without being asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from no_time_to_train.config.files import read_config
from no_time_to_train.errors import ConfigError
from no_time_to_train.pl_wrapper.entry import main

Write = Callable[..., list[str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write texts as files; returns the words that give them to a command."""

    def call(*texts: str) -> list[str]:
        words = []
        for number, text in enumerate(texts):
            path = tmp_path / f"{number}.yaml"
            path.write_text(text, encoding="utf-8")
            words += ["--config", str(path)]
        return words

    return call


def model_cfg(text: str) -> str:
    return f"model: {{init_args: {{model_cfg: {{{text}}}}}}}"


def read(words: list[str]) -> dict[str, Any]:
    return read_config(words)["model"]["init_args"]["model_cfg"]


def test_of_two_files_with_one_key_the_later_wins(write: Write) -> None:
    one = model_cfg("vis_thr: 0.2, encoder_cfg: {name: dinov3_nano, img_size: 64}")
    other = model_cfg("vis_thr: 0.7, encoder_cfg: {img_size: 96}")
    assert read(write(one, other)) == {"vis_thr": 0.7, "encoder_cfg": {"name": "dinov3_nano", "img_size": 96}}
    assert read(write(other, one))["vis_thr"] == 0.2
    words = write(one, other)
    assert read(["--model.model_cfg.vis_thr", "0.9", *words])["vis_thr"] == 0.9


def test_values_that_count_as_nothing_are_kept(write: Write) -> None:
    first = "vis_thr: 0.5, online_vis: true, sam2_ckpt_path: a.pt, "
    first += "memory_bank_cfg: {scale_references: [0.5], parts: 3}"
    falsy = "vis_thr: 0, online_vis: false, sam2_ckpt_path: null, "
    falsy += "memory_bank_cfg: {scale_references: [], parts: 0}"
    expected = {
        "vis_thr": 0,
        "online_vis": False,
        "sam2_ckpt_path": None,
        "memory_bank_cfg": {"scale_references": [], "parts": 0},
    }
    assert read(write(model_cfg(first), model_cfg(falsy))) == expected


@pytest.mark.parametrize("block", ["0", "false", "[]", "''", "3", "text", "[1]"])
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("model: {{init_args: {{model_cfg: {}}}}}", "model_cfg"),
        ("model: {{init_args: {}}}", "model.init_args"),
        ("model: {}", "model"),
    ],
)
def test_what_is_no_block_is_refused(block: str, text: str, name: str, write: Write) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} must be a block of keys, got"):
        read_config(write(text.format(block)))


def test_an_empty_block_is_all_defaults(write: Write) -> None:
    for text in ("model:", "model: {init_args:}", "model: {init_args: {model_cfg:}}"):
        assert read_config(write(text))["model"]["init_args"].get("model_cfg", {}) == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1", "is no valid YAML"),
        ("a: 1\na: 2", "is no valid YAML: .*duplicate key"),
        ("- 1", "must hold keys such as model"),
        ("text", "must hold keys such as model: and trainer:, it holds a scalar"),
        ("a: &a [*a]", "has an alias inside of what it stands for"),
        ("a: " + "[" * 5000, "is nested too deeply|is no valid YAML"),
        ("a: \x00", "is no valid YAML"),
        ("a: !!python/object/apply:os.system [ls]", "is no valid YAML"),
        ("a: ${nowhere}", "the config cannot be resolved"),
        ("a: " + "x" * 400_000, "has 400 kB, a configuration has a few"),
    ],
)
def test_what_is_no_configuration(text: str, told: str, write: Write) -> None:
    with pytest.raises(ConfigError, match=told):
        read_config(write(text))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="is no valid YAML"):
        read_config(["--config", str(tmp_path / "a.yaml")])


def test_a_bomb_of_aliases_is_refused_at_once(write: Write) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    started = time.monotonic()
    with pytest.raises(ConfigError, match="has over 100000 values once its aliases are written out; refused"):
        read_config(write("\n".join(lines)))
    assert time.monotonic() - started < 5


def test_ordinary_aliases_work(write: Write) -> None:
    text = "block: &b {name: dinov3_nano}\n" + model_cfg("encoder_cfg: *b")
    assert read(write(text))["encoder_cfg"] == {"name": "dinov3_nano"}


def test_an_override_that_is_no_yaml(write: Write) -> None:
    with pytest.raises(ConfigError, match=r"--model\.init_args\.model_cfg\.vis_thr \[1 is no valid YAML"):
        read_config(["--model.model_cfg.vis_thr", "[1"])


FOREIGN = [
    "trainer: {callbacks: [{class_path: harmful.Thing}]}",
    "trainer: {callbacks: [harmful.Thing]}",
    "trainer: {logger: harmful.Thing}",
    "trainer: {logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {name: harmful.Thing}}}",
    "trainer: {strategy: {class_path: nowhere_at_all.Thing}}",
    "model: {class_path: harmful.Thing}",
    "name: harmful\ntrainer: {logger: '${name}.Thing'}",
    "trainer: {logger: ' harmful.Thing'}",
    "trainer: {logger: torchharmful.Thing}",
    "trainer: {logger: folder.harmful.Thing}",
    "trainer: {logger: __main__.Thing}",
]


@pytest.fixture
def harmful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Modules that can be imported; returns the file that importing them makes."""
    trace = tmp_path / "was imported"
    (tmp_path / "folder").mkdir()
    for name in ("harmful", "torchharmful", "folder/harmful"):
        (tmp_path / f"{name}.py").write_text(
            "from pathlib import Path\nfrom lightning.pytorch.callbacks import Callback\n"
            f"Path({str(trace)!r}).touch()\nclass Thing(Callback): pass\n"
        )
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    return trace


@pytest.mark.parametrize("text", FOREIGN)
def test_foreign_classes_are_not_imported(text: str, harmful: Path, write: Write) -> None:
    with pytest.raises(ConfigError, match=r"names [\w.]+\.Thing, and importing .*add --allow-imports"):
        read_config(write(text))
    assert main(write(text)) == 2
    assert not harmful.exists()


def test_further_files_are_not_read(write: Write, tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text(FOREIGN[0])
    with pytest.raises(ConfigError, match=r"trainer\.callbacks names a further file, .*more\.yaml"):
        read_config(write(f"trainer: {{callbacks: [{tmp_path / 'more.yaml'}]}}"))


@pytest.mark.parametrize(
    "text",
    [
        "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.TQDMProgressBar}]}",
        "trainer: {callbacks: [{class_path: TQDMProgressBar}]}",
        "trainer: {default_root_dir: runs.v2, precision: bf16-mixed, logger: false}",
        model_cfg("sam2_ckpt_path: harmful.Thing"),
    ],
)
def test_what_names_no_foreign_class_is_read(text: str, write: Write, harmful: Path) -> None:
    """A folder that lies where Python looks for modules makes no module of every name with a dot."""
    harmful.with_name("runs").mkdir()
    read_config(write(text))


def test_with_leave_they_are_imported(harmful: Path, write: Write, config: Path, tmp_path: Path) -> None:
    words = ["--config", str(config), *write(FOREIGN[0]), "--output_dir", str(tmp_path / "out")]
    assert main([*words, "--allow-imports"]) == 0
    assert harmful.exists()


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "builtins.eval", "collections.Counter"])
def test_the_standard_library_is_foreign_too(name: str, write: Write) -> None:
    with pytest.raises(ConfigError, match=f"names {name}, and importing"):
        read_config(write(f"trainer: {{callbacks: [{{class_path: {name}}}]}}"))
