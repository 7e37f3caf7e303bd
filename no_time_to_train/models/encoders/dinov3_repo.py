"""Meta's own ``dinov3`` package, from a checkout, beside ours of the same name."""

from __future__ import annotations

import importlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Lock
from types import ModuleType

from no_time_to_train.errors import ConfigError

MODULE = "dinov3.models.vision_transformer"

_loaded: dict[Path, ModuleType] = {}
_lock = Lock()


def import_from_checkout(repo: str) -> ModuleType:
    """Import ``dinov3.models.vision_transformer`` from a checkout, unmodified; our own stays as it is.

    Both packages are called ``dinov3``, so ours is set aside while theirs is imported and put back after.
    Each checkout is imported once.

    Args:
        repo: folder that holds ``dinov3/models/vision_transformer.py``.

    Raises:
        ConfigError: it does not, or its import fails.
    """
    root = Path(repo).expanduser().resolve()
    if not (root / "dinov3" / "models" / "vision_transformer.py").is_file():
        raise ConfigError(
            f"DINOV3_REPO or encoder_cfg.repo must be a checkout of Meta's dinov3 repository (a folder with "
            f"dinov3/models/vision_transformer.py), got {repo}; correct it, or remove it to use our own"
        )
    with _lock:
        if root not in _loaded:
            _loaded[root] = _import_aside(root)
    return _loaded[root]


def _import_aside(root: Path) -> ModuleType:
    ours = _take_out_dinov3()
    try:
        _put_in_package(root / "dinov3")
        return importlib.import_module(MODULE)
    except ImportError as error:
        raise ConfigError(
            f"the dinov3 checkout {root} cannot be imported ({error}); install what it needs, or remove "
            "DINOV3_REPO and encoder_cfg.repo to use our own package"
        ) from error
    finally:
        _take_out_dinov3()
        sys.modules.update(ours)


def _put_in_package(folder: Path) -> None:
    """Make ``dinov3`` mean this folder, wherever else a package of that name may be found."""
    start = folder / "__init__.py"
    spec = spec_from_file_location("dinov3", start, submodule_search_locations=[str(folder)])
    assert spec is not None  # the suffix is .py
    assert spec.loader is not None
    package = module_from_spec(spec)
    sys.modules["dinov3"] = package
    if start.is_file():
        spec.loader.exec_module(package)


def _take_out_dinov3() -> dict[str, ModuleType]:
    """Remove ``dinov3`` and all below it from the loaded modules, and return them."""
    names = [name for name in sys.modules if name == "dinov3" or name.startswith("dinov3.")]
    return {name: sys.modules.pop(name) for name in names}
