"""What ``ntt predict`` and ``ntt inspect`` share: how the segmenter is built and what it is shown."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from no_time_to_train.api import Segmenter
    from no_time_to_train.pipeline.calibration import ClassThreshold


def add_model_arguments(command: argparse.ArgumentParser) -> None:
    """Encoder, SAM 2, their weights, device and further options."""
    add_verbose(command)
    group = command.add_argument_group("models")
    group.add_argument("--encoder", help="preset such as dinov2_large (best on this machine)")
    group.add_argument("--sam2", help="configuration such as sam2.1_hiera_large (best on this machine)")
    group.add_argument("--encoder-weights", default="auto", metavar="FILE", help="weights file (%(default)s)")
    group.add_argument("--sam2-weights", default="auto", metavar="FILE", help="weights file (%(default)s)")
    group.add_argument("--device", help="cpu, cuda, cuda:1 or mps (the best there is)")
    group.add_argument("--adapter", metavar="FILE", help="what ntt fit has learned (none)")
    group.add_argument(
        "--precision", choices=("fp32", "bf16", "fp16"), help="of both networks (fp32, or the memory's)"
    )
    group.add_argument("--compile", action="store_true", help="compile both image encoders first (off)")
    group.add_argument(
        "--backend",
        choices=("torch", "onnxruntime", "openvino"),
        help="what computes both image encoders (torch, or the memory's)",
    )
    group.add_argument(
        "--graph",
        action="append",
        metavar="FILE",
        help="a graph of ntt export for --backend; may be repeated (exported at first use)",
    )
    group.add_argument("--fast", action="store_true", help="fastest backend and precision here (off)")
    group.add_argument(
        "--cache",
        metavar="FOLDER",
        help="keep features and masks there; the same images with other references then take seconds (off)",
    )
    group.add_argument("--cache-size", type=float, metavar="GB", help="bound of the cache (20)")
    group.add_argument("--preset", help="options that go well together, e.g. best: docs/accuracy.md (none)")
    group.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any option of Segmenter, e.g. points_per_side=16; may be repeated",
    )


def add_verbose(command: argparse.ArgumentParser) -> None:
    """For every command that has advice to give."""
    command.add_argument(
        "--verbose", action="store_true", help="say advice in full, also when it was said today (off)"
    )


def add_reference_arguments(command: argparse.ArgumentParser) -> None:
    """Where the references are."""
    group = command.add_argument_group("references")
    group.add_argument(
        "--references",
        metavar="PATH",
        help="folder (refs/<class>/<image>.jpg with <image>_mask.png), COCO json, labelme, YOLO or VOC",
    )
    group.add_argument("--reference-images", metavar="FOLDER", help="their images, when they lie elsewhere")
    group.add_argument(
        "--negatives", metavar="PATH", help="references of what it is not, in the same formats"
    )
    group.add_argument(
        "--mine-negatives",
        metavar="PATH",
        help="images with annotations of all their objects; false detections there become negatives",
    )
    group.add_argument("--classes", help="take these only, with commas between")
    group.add_argument("--class-split", metavar="NAME", help="a named list of classes, e.g. few_shot_classes")
    group.add_argument("--shots", type=int, help="most references of a class, drawn with --seed (all)")
    group.add_argument("--seed", type=int, default=42, help="of that draw (%(default)s)")
    group.add_argument(
        "--learn",
        action="store_true",
        help="learn a head for the scores, kept where left-out references gain (off)",
    )
    group.add_argument(
        "--complete",
        action="store_true",
        help="references are all objects of their classes in their images; for --learn, --calibrate (off)",
    )
    group.add_argument(
        "--calibrate",
        action="store_true",
        help="measure a threshold per class on the references and move it to 0.5 (off)",
    )
    group.add_argument(
        "--empty",
        metavar="PATH",
        help="images that show none of the classes, for --calibrate",
    )
    group.add_argument("--memory", metavar="FILE", help="a saved memory, in place of or beside --references")


def build_segmenter(arguments: argparse.Namespace) -> Segmenter:
    """The segmenter that the arguments describe, with its references.

    Raises:
        ConfigError: neither references nor a memory, or an encoder beside a memory.
    """
    from no_time_to_train.api import Segmenter
    from no_time_to_train.errors import ConfigError
    from no_time_to_train.pipeline.learning import learned_text

    if arguments.references is None and arguments.memory is None:
        raise ConfigError("say what to look for: --references FOLDER, or --memory FILE")
    models = model_arguments(arguments)
    if arguments.memory is not None and arguments.preset is not None:
        raise ConfigError("--preset does not go with --memory, which has the options that it was made with")
    if arguments.memory is None:
        finder = Segmenter(arguments.encoder, arguments.sam2, **models)
    elif arguments.encoder is not None:
        raise ConfigError(
            "--encoder does not go with --memory, which belongs to the encoder it was made with"
        )
    else:
        finder = Segmenter.load(arguments.memory, sam2=arguments.sam2, **models)
    _say_options(arguments, finder)
    if arguments.references is not None:
        classes = [name.strip() for name in arguments.classes.split(",")] if arguments.classes else None
        finder.add_folder(
            arguments.references,
            images=arguments.reference_images,
            classes=classes,
            class_split=arguments.class_split,
            shots=arguments.shots,
            seed=arguments.seed,
            complete=arguments.complete,
        )
    if arguments.negatives is not None:
        finder.add_folder(arguments.negatives, negative=True)
    if arguments.mine_negatives is not None:
        finder.mine_negatives(arguments.mine_negatives)
    if arguments.learn:
        finder.learn()
        assert finder.memory.head is not None
        print(learned_text(finder.memory.head))
    elif arguments.complete and not arguments.calibrate:
        raise ConfigError("--complete is for --learn or --calibrate; give one of them too, or leave it out")
    if arguments.calibrate:
        for name, value in finder.calibrate(arguments.empty).items():
            print(_measured(name, value))
    elif arguments.empty is not None:
        raise ConfigError("--empty is for --calibrate; give both or none")
    return finder


def _say_options(arguments: argparse.Namespace, finder: Segmenter) -> None:
    """What a preset or the small models changed of the published values, and what fast took, a line each."""
    from no_time_to_train.config.presets import preset_options, what_it_sets
    from no_time_to_train.runs.once_a_day import for_screen
    from no_time_to_train.words import Advice

    said = None
    if arguments.preset is not None:
        options, short = preset_options(arguments.preset), f"preset {arguments.preset}"
        said = Advice(f"{short} sets {what_it_sets(options)}", short)
    elif finder.usual_options and arguments.memory is None:
        short = "small models, with values of their own"
        said = Advice(f"small models: {what_it_sets(finder.usual_options)}", short)
    if said is not None:
        print(for_screen(said, sys.stdout, verbose=arguments.verbose))
    if arguments.fast:
        cfg = finder.config
        print(f"fast: backend {cfg.backend}, encoder in {cfg.precision}, SAM 2 in {cfg.sam2_precision}")


def model_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Keywords of a ``Segmenter`` that :func:`add_model_arguments` stands for, but for the two names."""
    options = read_options(arguments.option)
    if arguments.graph:
        options["engine"] = {**(options.get("engine") or {}), "graphs": arguments.graph}
    return {
        "encoder_weights": arguments.encoder_weights,
        "sam2_weights": arguments.sam2_weights,
        "device": arguments.device,
        **_speed(arguments),
        "preset": arguments.preset,
        **options,
    }


def _speed(arguments: argparse.Namespace) -> dict[str, Any]:
    from no_time_to_train.errors import ConfigError

    if arguments.cache is None and arguments.cache_size is not None:
        raise ConfigError("--cache-size bounds a cache; say where it is with --cache FOLDER")
    given = {
        "cache": arguments.cache,
        "cache_gb": arguments.cache_size,
        "adapter": arguments.adapter,
        "precision": arguments.precision,
        "compile": arguments.compile or None,
        "backend": arguments.backend,
        "fast": arguments.fast or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _measured(name: str, value: ClassThreshold) -> str:
    return (
        f"{name}: an instance from {value.threshold:.2f} on ({value.positives} true, {value.negatives} false "
        f"scores), there from {value.presence:.2f} on ({value.pictures_with} images with it, "
        f"{value.pictures_without} without)"
    )


def read_options(words: list[str]) -> dict[str, Any]:
    """``["points_per_side=16"]`` as keywords, values as in YAML."""
    import yaml

    from no_time_to_train.errors import ConfigError

    options = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            raise ConfigError(f"--option wants NAME=VALUE, got {word!r}")
        options[name.strip()] = yaml.safe_load(value)
    return options
