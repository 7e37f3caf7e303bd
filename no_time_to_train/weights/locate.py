"""From what the configuration says about weights to a file on this machine."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from no_time_to_train.errors import CheckpointError, GatedWeightsError
from no_time_to_train.weights.arrival import is_offline, sha256_of, shown
from no_time_to_train.weights.catalogue import (
    CATALOGUE,
    DINOV3_FORM_URL,
    DINOV3_LICENCE,
    DINOV3_LICENCE_URL,
    META_HOST,
    CatalogueEntry,
)
from no_time_to_train.weights.download import download
from no_time_to_train.weights.hub import PREFIX as HUB_PREFIX
from no_time_to_train.weights.hub import copy_from_hub, download_from_hub
from no_time_to_train.weights.on_this_machine import (
    HUB_FOLDER,
    checkpoint_folder,
    local_weights,
    weights_folders,
)

log = logging.getLogger(__name__)

MIRROR_VARIABLE = "NTT_WEIGHTS_MIRROR"
URL_SCHEMES = ("https://", "http://")

_licence_named: set[str] = set()


def find_weights(
    ckpt_path: str | None, weights: str | None, preset: str, *, optional: bool = False
) -> Path | None:
    """Return the file to load, downloaded if that was asked for.

    Args:
        ckpt_path: a file or folder; ``auto``: what is shipped, or in the checkpoint folder, or to be had
            without an account; ``hf-hub:<repo>[@revision]``; an ``https://`` link, signed ones too; None for
            what is shipped with the package.
        weights: entry of the catalogue, or a Hugging Face repository; None where nothing is published.
        preset: for messages.
        optional: return None instead of raising where ``ckpt_path`` is None and nothing is shipped.

    Raises:
        GatedWeightsError: the source wants an account; names the ways around that.
        CheckpointError: nothing there; names the preset, the file expected and the ways to get it.
    """
    entry = CATALOGUE.get(weights or "")
    embedded = local_weights(entry.name) if entry is not None and entry.embedded else None
    if not ckpt_path:
        if embedded is None and not optional:
            ways = ways_to_get(entry, weights, preset)
            raise CheckpointError(f"no weights were given for {preset}: {ways}")
        return embedded
    try:
        if ckpt_path == "auto":
            return embedded or _find_or_download(entry, weights, preset)
        if ckpt_path.startswith(HUB_PREFIX):
            return _from_hub(ckpt_path)
        if ckpt_path.startswith(URL_SCHEMES):
            return _from_link(ckpt_path)
    except GatedWeightsError as error:
        raise GatedWeightsError(f"{preset}: {error}. {_ways_out(entry, preset)}") from error
    return _existing(Path(ckpt_path).expanduser(), entry, preset)


@contextmanager
def naming(preset: str) -> Iterator[None]:
    """Put the preset in front of messages about a file that do not name it."""
    try:
        yield
    except CheckpointError as error:
        if preset in str(error):
            raise
        raise type(error)(f"{preset}: {error}") from error


def ways_to_get(entry: CatalogueEntry | None, weights: str | None, preset: str) -> str:
    """Half a sentence: which file is expected, and how to come by it."""
    if entry is None and weights is None:
        return (
            f"none are published for {preset}, so give your own file, or choose a preset with published "
            "weights, e.g. dinov3_large or dinov2_large"
        )
    if entry is None:
        return f"give a file, or 'auto' to download {HUB_PREFIX}{weights}"
    if entry.embedded:
        return f"{entry.embedded} should come with the package and is not there; reinstall the package"
    if entry.licence == DINOV3_LICENCE:
        return f"the file is {entry.file}. {_ways_out(entry, preset)}"
    return f"the file is {entry.file}; give its path, or 'auto' to download it from {entry.url}"


def _ways_out(entry: CatalogueEntry | None, preset: str) -> str:
    """What to do where a source refuses; for DINOv3 the three ways to weights that need permission."""
    if entry is not None and entry.licence != DINOV3_LICENCE:
        other = f", or {HUB_PREFIX}{entry.hub}" if entry.hub else ""
        return f"Fetch {entry.file} by other means and give its path{other}"
    file = entry.file if entry else "the weights file"
    copy = f"'auto' (un-gated copy {HUB_PREFIX}{entry.hub})" if entry and entry.hub else "an un-gated copy"
    gated = f" or {HUB_PREFIX}{entry.gated_hub} with HF_TOKEN" if entry and entry.gated_hub else ""
    return (
        f"Ways to weights for {preset}: (1) a local file: ask at {DINOV3_FORM_URL} and give the path of "
        f"{file}{gated}; (2) {copy}, under the {DINOV3_LICENCE}; (3) encoder_cfg.name: dinov2_large, which "
        "needs no permission"
    )


def _existing(path: Path, entry: CatalogueEntry | None, preset: str) -> Path:
    if not path.exists():
        expected = f" (published as {entry.file})" if entry else ""
        raise CheckpointError(
            f"there is no weights file {path.absolute()} for {preset}{expected}; correct the path, or give "
            "'auto'"
        )
    if entry is not None and entry.sha256 and path.name == entry.file:
        found = sha256_of(path)
        if not found.startswith(entry.sha256):
            log.warning(
                "%s has the SHA-256 %s..., its name says %s: it is damaged or another file",
                path,
                found[: len(entry.sha256)],
                entry.sha256,
            )
    return path


def _find_or_download(entry: CatalogueEntry | None, weights: str | None, preset: str) -> Path:
    if entry is None:
        if weights is None:
            raise CheckpointError(f"no weights to download for {preset}: {ways_to_get(None, None, preset)}")
        return _from_hub(weights)  # timm's own
    local = local_weights(entry.name)
    if local is not None:
        return _existing(local, entry, preset)
    besides = ""
    if entry.url is not None:
        url, target = _mirrored(entry.url), checkpoint_folder() / entry.folder / entry.file
        try:
            return download(url, target, entry.sha256)
        except CheckpointError as error:
            if entry.hub is None or is_offline():
                raise
            log.warning("%s; trying %s%s", error, HUB_PREFIX, entry.hub)
            besides = f"; or fetch {url} and save it as {target}"
    if entry.hub is None:
        raise GatedWeightsError(f"no source without permission is known for {entry.file}")
    try:
        return _from_hub(entry.hub)
    except CheckpointError as error:
        raise type(error)(f"{error}{besides}") from error


def _from_hub(reference: str) -> Path:
    _name_licence(reference)
    for root in weights_folders():
        copy = copy_from_hub(reference, root / HUB_FOLDER)
        if copy is not None:
            return copy
    return download_from_hub(reference, checkpoint_folder() / HUB_FOLDER)


def _mirrored(url: str) -> str:
    mirror = os.environ.get(MIRROR_VARIABLE)
    return url.replace(META_HOST, mirror.rstrip("/"), 1) if mirror else url


def _from_link(url: str) -> Path:
    """Download a link, signed ones too; the name comes from its path, what follows ``?`` is never shown."""
    name = unquote(url.partition("?")[0].partition("#")[0].rpartition("/")[2])
    if not re.fullmatch(r"[\w+-][\w+.-]*", name):
        raise CheckpointError(f"the link {shown(url)} names no file; give one that ends in a file name")
    _name_licence(name)
    digits = re.search(r"-([0-9a-f]{8})\.\w+$", name)  # torch hub's convention
    folder = "dinov3" if "dinov3" in name else "links"
    places = [root / folder / name for root in weights_folders()]
    here = next((place for place in places if place.is_file()), places[0])
    return download(url, here, digits[1] if digits else None)


def _name_licence(source: str) -> None:
    """Say once, before a download, that DINOv3 weights stand under their own licence."""
    if "dinov3" in source and source not in _licence_named:
        _licence_named.add(source)
        log.warning("%s stands under the %s: %s", source, DINOV3_LICENCE, DINOV3_LICENCE_URL)
