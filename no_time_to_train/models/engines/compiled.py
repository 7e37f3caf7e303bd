"""``compile: true``: both image encoders through ``torch.compile``."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch

from no_time_to_train.errors import CheckpointError, ConfigError
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.weights.on_this_machine import checkpoint_folder

COMPILERS = ("g++", "clang++", "c++", "cl")
INDUCTOR_FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""Torch's variable; its own default is a folder for temporary files."""

ENTRIES = ("forward_features", "get_intermediate_layers")
"""What :class:`FeatureEncoder` calls of a backbone."""


def compile_encoders(encoder: FeatureEncoder, sam: Sam2Backend) -> None:
    """Have both encoders compiled at their first image; the mask decoder stays as it is.

    What was compiled is kept beside the downloaded weights, so that the next process begins with it.

    Raises:
        ConfigError: there is nothing to compile with.
    """
    require_compiler()
    with contextlib.suppress(CheckpointError):  # no home folder: torch has a place of its own
        if _is_default(os.environ.get(INDUCTOR_FOLDER)):
            os.environ[INDUCTOR_FOLDER] = str(checkpoint_folder() / "compiled")
    for name in ENTRIES:
        if hasattr(encoder.backbone, name):
            setattr(encoder.backbone, name, torch.compile(getattr(encoder.backbone, name)))
    sam.image_encoder.compile()


def _is_default(folder: str | None) -> bool:
    """Whether nobody chose it; torch writes its own default into the variable, often when it is imported."""
    own = Path(tempfile.gettempdir()), "torchinductor_"
    return not folder or (Path(folder).parent == own[0] and Path(folder).name.startswith(own[1]))


def require_compiler() -> None:
    """Look for what ``torch.compile`` needs: Triton with a GPU, a C++ compiler without.

    Raises:
        ConfigError: it is not there.
    """
    if torch.cuda.is_available():
        if find_spec("triton") is None:
            raise ConfigError("compile: true needs Triton on a GPU; run pip install triton, or leave it out")
        return
    own = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ((own,) if own else COMPILERS)):
        looked = f"CXX={own} is not there" if own else f"none of {', '.join(COMPILERS)} is in PATH"
        raise ConfigError(
            f"compile: true needs a C++ compiler on a CPU, but {looked}; install one, or leave compile out"
        )
