"""The Python face: references in, instances out, without Lightning and without files in between.

Over 300 lines, because most of them are what ``help(Segmenter)`` says; the work is done in ``pipeline``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal

import torch

from no_time_to_train.api.found import Instances
from no_time_to_train.api.settings import (
    as_json,
    checked_choice,
    choose_device,
    choose_models,
    model_config,
    options_of,
    usual_options,
)
from no_time_to_train.config import (
    Backend,
    CacheConfig,
    EngineConfig,
    FitConfig,
    ModelConfig,
    Precision,
    SearchConfig,
    TargetDataConfig,
    Tile,
    parse_block,
)
from no_time_to_train.config.presets import preset_options
from no_time_to_train.dataset.references.crops import crop_reference
from no_time_to_train.dataset.references.given import (
    NamedReference,
    references_by_hand,
    references_in,
    same_reference,
)
from no_time_to_train.errors import ConfigError, MemoryNotReadyError, did_you_mean
from no_time_to_train.models.engines.fastest import with_fast
from no_time_to_train.models.factory import build_model
from no_time_to_train.models.memory.memory_options import memory_fingerprint
from no_time_to_train.models.memory.reference_quality import ReferenceScore, score_references
from no_time_to_train.models.memory.stored_references import StoredReference, class_names_of
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.calibration import calibrated
from no_time_to_train.pipeline.examples import SeenPictures
from no_time_to_train.pipeline.given_boxes import stream_with_boxes
from no_time_to_train.pipeline.graphs import GraphReport, export_graph
from no_time_to_train.pipeline.learning import learned
from no_time_to_train.pipeline.memory import (
    ClassThreshold,
    Head,
    Memory,
    make_memory,
    read_memory,
    save_memory,
)
from no_time_to_train.pipeline.mined_negatives import mine_negatives
from no_time_to_train.pipeline.remember import encode_references
from no_time_to_train.pipeline.segment import segment
from no_time_to_train.pipeline.streams import Skips, is_one_image
from no_time_to_train.results import ReferenceCrop

if TYPE_CHECKING:
    from no_time_to_train.pipeline.fitting.fit import Verdict

log = logging.getLogger(__name__)

OnError = Literal["skip", "stop"]


class Segmenter:
    """Finds every instance of the things that it was shown.

    Several threads may use it: references are added and replaced as a whole, and a stream of results goes on
    with those that were there when it was begun. Nothing that is passed in is ever changed.

    Example:
        >>> finder = Segmenter("dinov2_large", sam2="sam2.1_hiera_large")
        >>> finder.add("date", "refs/date.jpg", mask="refs/date.png")
        >>> for found in finder.predict("pictures/"):
        ...     print(found.name, len(found))

    Args:
        encoder: preset such as ``dinov2_large``, ``dinov3_base`` or ``timm:<model>``; None takes the best one
            whose weights are on this machine, else nano, which is said in one line.
        sam2: configuration such as ``sam2.1_hiera_large``; None likewise.
        encoder_weights, sam2_weights: a file, or ``auto``: what is on this machine, else a download, with
            progress, of a model that was named.
        device: None takes CUDA or MPS where there is one, else the CPU.
        adapter: a file of ``ntt fit``, added to the weights of both networks (docs/learning.md).
        precision: of both networks: fp32, bf16 or fp16. Short ones are for a GPU; bf16 for some CPUs too.
        compile: both image encoders through ``torch.compile``; the first image takes minutes.
        backend: what computes both image encoders: ``torch``, ``onnxruntime`` or ``openvino``.
        engine: options of another backend than torch: keys of the YAML block ``model_cfg.engine``.
        fast: the fastest backend and precision for this processor (docs/engines.md).
        cache: a folder in which patch features and masks are kept, so that a later search of the same images
            with other references does without either network; results are the same with and without.
        cache_gb: its bound in 10^9 bytes; the least recently used go.
        preset: options that go well together, such as ``best`` (docs/accuracy.md); ``options`` go before it.
        options: keys of the YAML blocks ``encoder_cfg``, ``memory_bank_cfg`` and ``sam2_infer_cfgs``, and of
            ``CropOptions``, such as ``points_per_side=16`` or ``img_size=448``. Nano models start from what
            ``demo.yaml`` sets for them, all others from the published values.

    Raises:
        ConfigError: unknown name or option.
        CheckpointError: no weights, or weights of another model.
    """

    def __init__(
        self,
        encoder: str | None = None,
        sam2: str | None = None,
        *,
        encoder_weights: str | None = "auto",
        sam2_weights: str | None = "auto",
        device: str | torch.device | None = None,
        adapter: str | Path | None = None,
        precision: Precision = "fp32",
        compile: bool = False,
        backend: Backend = "torch",
        engine: Mapping[str, Any] | EngineConfig | None = None,
        fast: bool = False,
        cache: str | Path | None = None,
        cache_gb: float = CacheConfig.max_gb,
        preset: str | None = None,
        **options: Any,
    ) -> None:
        options = options if preset is None else {**preset_options(preset), **options}
        where = choose_device(device)
        choice = choose_models(encoder, sam2, encoder_weights, sam2_weights)
        self.config, self.crop_options = model_config(choice, options)
        self.usual_options = {
            key: value for key, value in usual_options(choice).items() if key not in options
        }
        speed = {"precision": precision, "backend": backend}
        self.config = with_fast(
            replace(
                self.config,
                **{name: checked_choice(name, value) for name, value in speed.items()},
                adapter=None if adapter is None else str(adapter),
                compile=compile,
                engine=None if engine is None else parse_block(EngineConfig, engine, "engine"),
                fast=fast,
                cache=None if cache is None else CacheConfig(str(cache), cache_gb),
            )
        )
        own = {name: as_json(value) for name, value in options.items()}
        chosen = {name: getattr(self.config, name) for name in speed}
        usual = {name: getattr(ModelConfig, name) for name in speed}
        self._options = {**own, **{name: value for name, value in chosen.items() if value != usual[name]}}
        if self.config.engine is not None and self.config.engine.sam2_precision is not None:
            self._options["engine"] = {"sam2_precision": self.config.engine.sam2_precision}
        self._model = build_model(self.config).to(where)
        self._lock = RLock()  # references are added and replaced as a whole
        self._references: tuple[StoredReference, ...] = ()
        self._memory: Memory[Any] | None = None
        self._seen = SeenPictures()

    def __repr__(self) -> str:
        shots = dict.fromkeys(self.classes, 0)
        for item in self._references:
            shots[item.class_name] = shots.get(item.class_name, 0) + 1
        held = ", ".join(f"{name}: {count}" for name, count in shots.items()) or "no references yet"
        return f"Segmenter({self.config.encoder_cfg.name}, {self.config.sam2_cfg_file}; {held})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; the index in this tuple is the label of a result."""
        return class_names_of(self._references)

    @property
    def references(self) -> tuple[StoredReference, ...]:
        """What it was shown so far, in that order."""
        return self._references

    @property
    def thresholds(self) -> dict[str, ClassThreshold]:
        """From :meth:`calibrate`; empty while scores are as published."""
        return dict(self._memory.thresholds) if self._memory else {}

    @property
    def model(self) -> ReferenceSegmenter[Any]:
        """The model, for the functions of ``no_time_to_train.pipeline``."""
        return self._model

    @property
    def memory(self) -> Memory[Any]:
        """What the references that are there now make.

        Raises:
            MemoryNotReadyError: no reference was added yet.
        """
        with self._lock:
            if not self.classes:
                raise MemoryNotReadyError(
                    "there is no reference yet; show one with add(name, image, mask=...)"
                )
            if self._memory is None:
                made, head = make_memory(self._model, self._references), self._head
                self._memory = made if head == "none" else learned(self._model, made, head, self._seen)
            return self._memory

    @property
    def _head(self) -> str:
        infer = self.config.sam2_infer_cfgs
        return "none" if infer is None else infer.matching.head

    @property
    def facts(self) -> dict[str, Any]:
        """What a memory file says of the model beside the references: see ``pipeline.memory.save_memory``."""
        return {**self.fingerprint(), "sam2": self.config.sam2_cfg_file, "options": self._options}

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self._model.device

    def add(
        self,
        name: str,
        image: Any = None,
        *,
        mask: Any = None,
        box: Any = None,
        point: Any = None,
        annotation: Any = None,
        negative: bool = False,
        complete: bool = False,
    ) -> Segmenter:
        """Show one or more instances of a class in one image; a class may be shown any number of times.

        Args:
            name: of the class.
            image: path, Pillow image, (H, W, 3) array or (3, H, W) tensor, uint8 or floats in [0, 1].
            mask: (H, W), or (N, H, W) for N instances, or a mask picture.
            box: (x1, y1, x2, y2) in pixels, or N of them; SAM 2 makes the masks.
            point: (x, y) in pixels, or N of them; SAM 2 makes the masks.
            annotation: COCO annotation(s) as mappings, or a labelme, COCO, YOLO or VOC file.
            negative: what is shown is not the class ``name``; any other name, such as "background", makes
                it speak against all classes.
            complete: with this call every object of the classes in the image is marked, so that
                :meth:`learn` and :meth:`calibrate` take the rest for background.

        Returns:
            This segmenter, so that calls can be chained.

        Raises:
            DatasetError: the image cannot be read, or the mark is missing, empty or does not fit.
        """
        given = references_by_hand(name, image, mask=mask, box=box, point=point, annotation=annotation)
        known = [
            NamedReference(item.class_name, item.source)
            for item in self._references
            if item.source is not None
        ]
        if any(same_reference(item, other) for item in given for other in known):
            log.warning(
                "%s: this reference is there already; now it counts twice (remove takes one out)", name
            )
        if complete:
            given = [replace(item, sample=replace(item.sample, complete=True)) for item in given]
        self._remember(given, negative, skip=False)
        return self

    def add_folder(
        self,
        folder: str | Path,
        *,
        images: str | Path | None = None,
        classes: Sequence[str] | None = None,
        class_split: str | None = None,
        shots: int | None = None,
        seed: int = 42,
        negative: bool = False,
        complete: bool = False,
    ) -> Segmenter:
        """Show all annotated instances of a folder, in any layout that ``dataset.readers`` knows.

        The plainest: ``<folder>/<class>/<image>.jpg`` with ``<image>_mask.png`` beside it. What cannot be
        read is named and skipped.

        Args:
            images: folder of the images when they lie elsewhere.
            classes: only these.
            class_split: a named list of classes, such as ``coco_novel``, instead of ``classes``.
            shots: most references of a class, drawn with ``seed``.
            negative, complete: see :meth:`add`.

        Raises:
            DatasetError: nothing there that can be used, or a class of which nothing could be read; or
                ``complete``, and an annotated object is no reference.
        """
        given = references_in(
            folder,
            images=images,
            classes=classes,
            class_split=class_split,
            shots=shots,
            seed=seed,
            complete=complete,
        )
        self._remember(given, negative, skip=True)
        return self

    def add_coco(self, json_file: str | Path, images: str | Path | None = None, **options: Any) -> Segmenter:
        """Show the instances of a COCO annotation file; ``options`` as for :meth:`add_folder`."""
        return self.add_folder(json_file, images=images, **options)

    def mine_negatives(
        self, annotated: str | Path, *, images: str | Path | None = None, per_class: int = 10
    ) -> Segmenter:
        """Search images whose objects are all annotated; the surest false detections become negatives.

        Args:
            annotated: a folder or annotation file, as for :meth:`add_folder`.
            images: folder of the images when they lie elsewhere.
            per_class: most negatives of a class.

        Raises:
            DatasetError: no annotations there, or a class of the memory is not among them.
        """
        block = TargetDataConfig(str(images or ""), str(annotated))
        with self._lock:
            given = mine_negatives(self._model, self.memory, block, per_class)
            self._remember(given, negative=True, skip=True)
        return self

    def remove(self, name: str, shot: int | None = None) -> Segmenter:
        """Forget a class, or one shot of it; negative references of that name go with the class.

        Args:
            shot: counted from 0, as in :meth:`score_references`.

        Raises:
            ConfigError: there is no such class or shot.
        """
        with self._lock:
            own = [item for item in self._references if item.class_name == name]
            if not own:
                raise ConfigError(
                    f"there is no class {name!r}{did_you_mean(name, self.classes)} (there are {self.classes})"
                )
            if shot is not None:
                positive = [item for item in own if not item.negative]
                if not 0 <= shot < len(positive):
                    raise ConfigError(f"{name!r} has shots 0 to {len(positive) - 1}, there is no {shot}")
                own = [positive[shot]]
            dropped = {id(item) for item in own}
            self._replace(tuple(item for item in self._references if id(item) not in dropped))
        return self

    def predict(
        self,
        images: Any,
        *,
        min_score: float = 0.0,
        only_present: bool = False,
        tile: Tile = "auto",
        overlap: float = 0.25,
        batch_size: int = 1,
        on_error: OnError | None = None,
        boxes: Any = None,
        proposals: Literal["boxes", "both"] = "boxes",
        max_boxes: int = 100,
    ) -> Any:  # Instances for one image, Iterator[Instances] for several
        """Find the instances of all classes.

        Args:
            images: one image (path, array, tensor, Pillow), or several: a list, a folder (searched through,
                by name) or a generator, which is drawn on one image at a time.
            min_score: leave out instances that score less.
            only_present: leave out instances of classes that the picture does not show at all, as their
                ``presence`` says; needs :meth:`calibrate`.
            tile: side in pixels; a picture with a longer side is searched in square tiles of it as well as
                whole, so that small things in it are found. ``auto`` does so where half of the references
                would be under 24 pixels for SAM 2, in tiles that make them larger, and with pictures longer
                than four times SAM 2's input (4096 pixels with the released models), in tiles of twice that
                input; ``off`` searches all pictures whole, as published.
            overlap: share of a tile that its neighbour sees too; best no less than the things are long.
            batch_size: images, or tiles, that go through the networks together, for a GPU; scores may differ
                in the last bits. Results come in groups of it.
            on_error: an image that cannot be read is named and skipped, or stops the search; None skips in
                a folder and stops elsewhere.
            boxes: of any detector, for SAM 2 to make a mask of each: a COCO results file whose ``image_id``
                is the file name, (N, 4) arrays of (x1, y1, x2, y2) pixels by file name, or one such array
                for one image. What they are of is not looked at.
            proposals: ``boxes`` makes masks of these alone, ``both`` of the usual prompts as well.
            max_boxes: of a picture; the best.

        Returns:
            For one image its ``Instances``. For several an iterator of ``Instances`` in their order, one at
            a time, each with the ``name`` of its image.

        Raises:
            MemoryNotReadyError: no reference was added yet.
            DatasetError: no image there, or one that cannot be read.
            ConfigError: ``only_present`` without thresholds.
        """
        how = SearchConfig(
            min_score,
            tile,
            overlap,
            only_present=only_present,
            proposals="prompts" if boxes is None else proposals,
        )
        memory = self.memory
        if only_present and not memory.thresholds:
            raise ConfigError("only_present needs thresholds of presence; call calibrate() first")
        one = is_one_image(images)
        several = [images] if one else images
        if boxes is not None:
            several = stream_with_boxes(several, boxes, max_boxes)
        skips = None if on_error is None else Skips(stop=on_error == "stop")
        found = segment(
            self._model,
            memory,
            several,
            how,
            batch_size=batch_size,
            skips=Skips(stop=True) if one else skips,
        )
        shown = (Instances.of(item) for item in found)
        return next(shown) if one else shown

    def score_references(self) -> list[ReferenceScore]:
        """How well each reference agrees with the others of its class; which are outliers.

        Costs nothing: the references are not encoded again.
        """
        return score_references(self._references)

    def calibrate(self, empty: Any = None) -> dict[str, ClassThreshold]:
        """Measure thresholds for each class on the references; later results have calibrated scores.

        In them 0.5 is the threshold of every class, ``plain_scores`` keeps the published ones, and
        ``presence`` says whether a class is in the picture at all. Costs one search per reference. Showing
        or removing a reference takes the calibration back. With neither ``empty`` nor ``complete`` images no
        threshold goes below 0.5, which a warning says.

        Args:
            empty: pictures that show none of the classes, as for :meth:`predict`; the more there are, the
                better it is known what a false alarm scores.

        Raises:
            MemoryNotReadyError: no reference was added yet.
        """
        with self._lock:
            self._memory = calibrated(self._model, self.memory, empty)
            return dict(self._memory.thresholds)

    def learn(self, head: str = "ridge") -> Head:
        """Learn a head of the references in closed form, and keep it where left-out pictures gain.

        At one shot without negatives scores stay as they are. Costs one pass of both
        networks for each picture that references were shown in, which is kept, and a fraction of a second for
        each call: learn again after every confirmed or rejected object. Showing or removing a reference takes
        the head back, unless the option ``matching={"head": "ridge"}`` asks for one always. Takes thresholds
        back.

        Returns:
            What was learned; its ``penalty`` is None where nothing was gained.

        Raises:
            MemoryNotReadyError: no reference was added yet.
            ConfigError: a reference came from a memory file, which keeps no pictures.
        """
        with self._lock:
            if not self.classes:
                raise MemoryNotReadyError("there is no reference to learn of; show some with add(...)")
            made = make_memory(self._model, self._references)
            self._memory = learned(self._model, made, head, self._seen)
            assert self._memory.head is not None
            return self._memory.head

    def fit(self, path: str | Path, *, resume: bool = False, **options: Any) -> Verdict:
        """Train an adapter of the references, and write it where left-out images gain (docs/learning.md).

        A copy of the model is trained; this segmenter stays as it is. Use the file with
        ``Segmenter(adapter=path)``, which is shown the references anew. A line about every round goes to the
        log, at the level INFO.

        Args:
            path: of the adapter; ``<path>.ckpt`` is there while it is trained.
            resume: go on from there.
            options: keys of the YAML block ``fit_cfgs``, such as ``part="both"``.

        Returns:
            What left-out images say; its ``round`` is 0 where nothing was gained, and no file written.

        Raises:
            MemoryNotReadyError: no reference was added yet.
            ConfigError: an unknown option, too few images or references, or another precision, backend or
                adapter in use.
        """
        from no_time_to_train.pl_wrapper.fit_module import plain_trainer, run_fit  # Lightning

        how = parse_block(FitConfig, options, "fit_cfgs")
        if not self.classes:
            raise MemoryNotReadyError("there is no reference to learn of; show some with add(...)")
        model = build_model(replace(self.config, cache=None))
        learned_of = model, self._references, how, self.crop_options, self.config.sam2_cfg_file
        return run_fit(plain_trainer(self.device), *learned_of, path, resume=resume, say=log.info)

    def crop(self, reference: StoredReference) -> ReferenceCrop | None:
        """The picture and mask that the encoder saw of a reference; None where it came from a memory file."""
        if reference.source is None:
            return None
        return crop_reference(reference.source, self._model.encoder.img_size, self.crop_options)

    def save(self, path: str | Path) -> Path:
        """Write what was learned to a small file (a few kB for each reference; no pictures, no weights).

        Raises:
            MemoryNotReadyError: no reference was added yet.
        """
        return save_memory(path, self.memory, **self.facts)

    def export(
        self,
        part: Literal["encoder", "sam2-image", "decoder"],
        path: str | Path,
        pictures: Any,
        *,
        calibrate: Any = None,
        points: int = 16,
        backend: Backend = "onnxruntime",
        precision: Precision = "fp32",
    ) -> GraphReport:
        """Write a part of the model as an ONNX graph, when its figures are near enough to those of torch.

        Args:
            part: the encoder, SAM 2's image encoder, or its mask decoder.
            path: a folder, or a file whose name ends in ``.onnx``.
            pictures: as for :meth:`predict`; the first 8 are compared, with the references that are there
                also their final instances.
            calibrate: pictures for eight bits, of which the first 64 count; None: float.
            points: that the decoder is asked for in one call.
            backend, precision: that the graph is compared in.

        Returns:
            Where it is, and the figures.

        Raises:
            ConfigError: its figures are too far off, it cannot be exported, or a package is missing.
        """
        if (self.config.backend, self.config.precision) != ("torch", "fp32"):
            raise ConfigError("a graph is exported from torch in fp32; make this Segmenter without a backend")
        return export_graph(
            self._model,
            part,
            Path(path),
            pictures,
            calibrate=calibrate,
            points=points,
            backend=backend,
            precision=precision,
            references=self._references,
            crops=self.crop_options,
        )

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        sam2: str | None = None,
        encoder_weights: str | None = "auto",
        sam2_weights: str | None = "auto",
        device: str | torch.device | None = None,
        **options: Any,
    ) -> Segmenter:
        """Build the segmenter that a memory file was made with, ready to search.

        Args:
            path: from :meth:`save`, or a memory that ``run_lightening.py`` or ``ntt predict`` has written.
            sam2: another SAM 2 than that of the file; the memory does not depend on it.
            options: take the place of those in the file.

        Raises:
            MemoryMismatchError: no memory file, or one of another encoder, size or weights.
        """
        saved = read_memory(path)
        known = options_of(saved)
        finder = cls(
            saved.facts["encoder"],
            sam2 or saved.facts.get("sam2"),
            encoder_weights=encoder_weights,
            sam2_weights=sam2_weights,
            device=device,
            **{**known, **options},
        )
        # Any class of model that keeps pooled references can use them.
        saved.require({key: value for key, value in finder.fingerprint().items() if key != "model"})
        finder._references = saved.references
        finder._memory = make_memory(
            finder._model, saved.references, thresholds=saved.thresholds, head=saved.head
        )
        return finder

    def fingerprint(self) -> dict[str, Any]:
        """What the figures of a memory depend on: the model, its encoder, its size and weights."""
        return memory_fingerprint(self.config, self._model.encoder, self.crop_options)

    def _remember(self, given: Sequence[NamedReference], negative: bool, *, skip: bool) -> None:
        """Put references into the memory: all of a call, or none."""
        skips = Skips(stop=not skip)
        with self._lock:
            stored = encode_references(self._model, given, self.crop_options, skips=skips, negative=negative)
            self._replace((*self._references, *stored))

    def _replace(self, references: tuple[StoredReference, ...]) -> None:
        with self._lock:
            self._references, self._memory = references, None
