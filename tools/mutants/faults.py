"""The faults: a file, the text that is there, the text in its place, and the tests that should see it.

Over 300 lines, because it is one table.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Fault(NamedTuple):
    """One fault.

    Attributes:
        file: below ``no_time_to_train/``, where its first folder is the room, or ``dinov3/...``.
        right, wrong: text that stands there once, and what takes its place.
        tests: below ``tests/``, with blanks between them; ``file::name`` narrows down to one test.
    """

    file: str
    right: str
    wrong: str
    tests: str

    def path(self, root: Path) -> Path:
        """Where the file lies in a copy of the repository."""
        return root / self.file if self.file.startswith("dinov3/") else root / "no_time_to_train" / self.file


NOTHING_LOST = "cli/test_nothing_is_lost.py"

FAULTS = tuple(
    Fault(*row)
    for row in [
        # ground: whole files, own files
        (
            "files.py",
            "partial.replace(target)\n    except",
            "target.write_bytes(partial.read_bytes())\n    except",
            "test_files.py test_own_files.py",
        ),
        (
            "files.py",
            'FORMULA = ("=", "+", "-", "@"',
            'FORMULA = ("=", "+", "-"',
            "test_files.py dataset/export/test_export.py",
        ),
        (
            "files.py",
            'return Path(os.fsdecode(str(path).encode("utf-8", "surrogateescape")))',
            "return Path(path)",
            f"{NOTHING_LOST}::test_a_locale_of_ascii_and_a_terminal_that_cannot_show_a_name",
        ),
        ("files.py", "if len(encoded) <= LONGEST_NAME:", "if len(encoded) <= 3000:", "test_own_files.py"),
        (
            "own_files.py",
            "(digest_of(path) in known or _is_copied_link(path, known))",
            "True",
            "test_own_files.py",
        ),
        (
            "own_files.py",
            'file.write("\\n" + json.dumps([name, digest]))',
            'file.write(json.dumps([name, digest]) + "\\n")',
            "test_own_files.py",
        ),
        ("errors.py", "cutoff=0.6", "cutoff=0.99", "test_errors.py"),
        (
            "results.py",
            "self.scores[index]",
            "self.scores",
            "dataset/coco/test_results.py report/test_overlay.py",
        ),
        ("preprocess.py", "/ 255", "/ 256", "test_preprocess.py"),
        # config
        (
            "config/files.py",
            "OmegaConf.merge(*configs)",
            "OmegaConf.merge(*configs[::-1])",
            "config/test_files.py",
        ),
        ("config/files.py", "if key == ALLOW_IMPORTS:", "if key == 'x':", "config/test_files.py"),
        (
            "config/files.py",
            "        if name in arguments:\n",
            "        if arguments.get(name):\n",
            "config/test_files.py config/test_keys.py",
        ),
        (
            "config/parsing.py",
            "if value is not None and not isinstance(value, Mapping):",
            "if value and not isinstance(value, Mapping):",
            "config/test_files.py config/test_keys.py",
        ),
        (
            "config/yaml_files.py",
            "total = 1 + sum(size(part) for part in inner)",
            "total = 1 + sum(1 for part in inner)",
            "config/test_files.py",
        ),
        ("config/yaml_files.py", 'tuple(f"{name}." for name in ALLOWED)', "ALLOWED", "config/test_files.py"),
        # masks
        (
            "masks/gate.py",
            "if total != height * width:",
            "if total > height * width:",
            "masks dataset/readers/test_own_pictures.py",
        ),
        (
            "masks/gate.py",
            "if w < 0 or h < 0:",
            "if w < 0:",
            "masks/test_gate.py",
        ),
        (
            "masks/gate.py",
            "x, y = actual[1] / drawn[1], actual[0] / drawn[0]",
            "x, y = actual[0] / drawn[0], actual[1] / drawn[1]",
            "masks/test_gate.py dataset/test_targets.py",
        ),
        (
            "masks/rle.py",
            "return columns[:, top:bottom].T, left, top",
            "return columns[:, top:bottom].T, top, left",
            "masks/test_rle.py",
        ),
        (
            "masks/ops.py",
            "yield _RESIZE[resize](logits[start : start + step], size) > 0",
            "yield _RESIZE[resize](logits[start : start + step], size) >= 0",
            "masks/test_ops.py",
        ),
        ("masks/outlines.py", "distance > tolerance", "distance > tolerance * 4", "masks/test_outlines.py"),
        # weights
        (
            "weights/wrappers.py",
            '{"teacher": 0, "ema": 1, "student": 3}',
            '{"teacher": 0, "student": 3}',
            "weights/test_wrappers.py",
        ),
        ("weights/download.py", "STRONG_TAG.fullmatch(tag) else 0", "tag else 0", "weights/test_download.py"),
        (
            "weights/arrival.py",
            "expected = [one.lower() for one in digits if one]",
            "expected = [one.lower() for one in digits if one][:1]",
            "weights/test_download.py",
        ),
        ("weights/arrival.py", "yield not target.is_file()", "yield True", "weights/test_download.py"),
        (
            "weights/checkpoints.py",
            "weights_only=True, mmap",
            "weights_only=False, mmap",
            "weights/test_checkpoints.py",
        ),
        (
            "weights/checkpoints.py",
            'if start.startswith(b"<"):',
            'if start.startswith(b"<!"):',
            "weights/test_download.py weights/test_checkpoints.py",
        ),
        # models
        (
            "models/sam/marked_masks.py",
            "sam.image_size / image.shape[1], sam.image_size / image.shape[0]",
            "sam.image_size / image.shape[0], sam.image_size / image.shape[1]",
            "models/sam/test_marked_masks.py",
        ),
        (
            "models/sam/prompts.py",
            "ious.gather(1, wanted) > min_iou",
            "ious.gather(1, wanted) >= min_iou",
            "models/test_at_the_threshold.py",
        ),
        (
            "models/sam/prompt_embedding.py",
            "(places + 0.5) / side",
            "places / side",
            "models/sam/test_prompt_embedding.py models/sam/test_point_decoder.py",
        ),
        (
            "models/cache/keys.py",
            "return device.type, autocast, torch.get_float32_matmul_precision()",
            "return device.type, torch.get_float32_matmul_precision()",
            "models/cache/test_keys.py models/cache/test_cached_parts.py",
        ),
        (
            "models/cache/cached_parts.py",
            "            sam.precision,\n",
            "",
            "models/cache/test_cached_parts.py::test_another_precision_of_sam_2_is_made_anew",
        ),
        (
            "models/cache/cached_parts.py",
            "outlines = not whole_masks and model.score.reads_outlines_only and model.merge",
            "outlines = not whole_masks and model.merge",
            "models/cache/test_cached_parts.py::test_a_scorer_that_reads_every_logit_gets_them_back",
        ),
        (
            "models/cache/disk_store.py",
            "unfinished.replace(path)",
            "path.write_bytes(entry)",
            "models/cache/test_disk_store.py",
        ),
        (
            "models/cache/disk_store.py",
            "with suppress(OSError):  # a cache",
            "with suppress(ValueError):  # a cache",
            "models/cache/test_disk_store.py",
        ),
        (
            "models/engines/backends.py",
            "self.checked = self._was_checked()",
            "self.checked = True",
            "models/engines/test_backends.py",
        ),
        (
            "models/engines/agreement.py",
            "if not self.cosine >= bound:",
            "if self.cosine < 0:",
            "models/engines/test_backends.py",
        ),
        (
            "models/engines/sessions.py",
            "@cache\n",
            "",
            "models/engines/test_backends.py::test_a_signal_is_handled_after_openvino",
        ),
        (
            "models/encoders/fingerprint.py",
            '**({} if encoder.engine is None else {"engine": encoder.engine.name}),',
            "",
            "models/engines/test_backends.py::test_memories_belong_to_their_engine",
        ),
        (
            "models/cache/cached_parts.py",
            "            None if sam.engine is None else sam.engine.name,\n",
            "",
            "models/engines/test_backends.py::test_the_cache_tells_engines_apart",
        ),
        (
            "models/engines/fastest.py",
            'sam2_size(cfg.sam2_cfg_file) == "nano"',
            "False",
            "models/engines/test_backends.py::test_fast_takes_for_each_network_what_passes",
        ),
        (
            "config/model.py",
            "(self.engine and self.engine.sam2_precision) or self.precision",
            "self.precision",
            "models/engines/test_backends.py::test_each_network_has_its_precision_and_a_memory_keeps_both",
        ),
        (
            "models/sam/backend.py",
            "with torch.autocast(device, enabled=False):  # tokens",
            "with nullcontext():  # tokens",
            "models/sam/test_backend.py",
        ),
        (
            "models/sam/backend.py",
            "decoded[part], wanted[part])[keep",
            "decoded[: fill[1]], wanted[part])[keep",
            "models/sam/test_backend.py",
        ),
        (
            "models/matching/merging.py",
            "rank.argsort(descending=True, stable=True)",
            "rank.argsort(descending=False, stable=True)",
            "models/matching/test_merging.py",
        ),
        (
            "models/memory/stored_references.py",
            "item.class_name not in class_names)",
            "item.class_name in class_names)",
            "models/memory/test_stored_references.py api/test_segmenter.py",
        ),
        (
            "models/encoders/feature_encoder.py",
            "((images - self.mean) / self.std)",
            "((images - self.mean) * self.std)",
            "models/encoders/test_feature_encoder.py",
        ),
        (
            "models/extensions/clean_masks.py",
            "own < share * largest",
            "own <= share * largest",
            "models/extensions/test_clean_masks.py models/test_at_the_threshold.py",
        ),
        (
            "models/memory/memory_bank.py",
            "self._derived.clear()\n        super()._load",
            "super()._load",
            "models/memory/test_memory_bank.py",
        ),
        # dinov3
        (
            "dinov3/layers/rope.py",
            "kept = self._cache.get((H, W, num_prefix))",
            "kept = self._cache.get((H, W, num_prefix)) or self._cache.get((W, H, num_prefix))",
            "dinov3_backbone/test_rope.py",
        ),
        ("dinov3/layers/rope.py", 'indexing="ij"', 'indexing="xy"', "dinov3_backbone/test_rope.py"),
        (
            "dinov3/layers/rope.py",
            "torch.arange(0.5, H,",
            "torch.arange(0.0, H,",
            "dinov3_backbone/test_rope.py",
        ),
        (
            "dinov3/layers/attention.py",
            "self.bias_mask[third : 2 * third].fill_(0)",
            "self.bias_mask[:third].fill_(0)",
            "dinov3_backbone/test_layers.py",
        ),
        (
            "dinov3/layers/rms_norm.py",
            "wide.square().mean(-1, keepdim=True)",
            "wide.var(-1, keepdim=True)",
            "dinov3_backbone/test_layers.py",
        ),
        # dataset
        (
            "dataset/coco/parser.py",
            'in ("1", "1.0", "true", "yes")',
            'not in ("", "none")',
            "dataset/coco dataset/readers/test_own_pictures.py",
        ),
        (
            "dataset/images.py",
            "orientation in SWAPS_SIDES and stated_size == stored",
            "stated_size == stored",
            "dataset/test_images.py dataset/readers/test_own_pictures.py",
        ),
        ("dataset/images.py", "BLACK, WHITE = 0.1, 99.9", "BLACK, WHITE = 0, 100", "dataset/test_images.py"),
        (
            "dataset/readers/yolo.py",
            'return int(class_number), {"bbox": [x - w / 2, y - h / 2, w, h]',
            'return int(class_number), {"bbox": [x, y, w, h]',
            "dataset/readers/test_yolo.py",
        ),
        (
            "dataset/readers/labelme.py",
            'canvas = Image.new("L", (size[1], size[0]))',
            'canvas = Image.new("L", (size[0], size[1]))',
            "dataset/readers/test_labelme.py dataset/readers/test_own_pictures.py",
        ),
        (
            "dataset/readers/mask_images.py",
            "values >= 128 if values.max() >= 128",
            "values > 128 if values.max() >= 128",
            "dataset/readers/test_mask_images.py",
        ),
        (
            "dataset/export/__init__.py",
            "instances.scores >= min_score",
            "instances.scores > min_score",
            "dataset/export",
        ),
        (
            "dataset/export/image_result.py",
            "while name.lower() in (taken.lower() for taken in names):",
            "while name in names:",
            "dataset/export",
        ),
        (
            "dataset/coco/results.py",
            "one = 0 if is_result and box else 1",
            "one = 1",
            "dataset/coco/test_results.py",
        ),
        (
            "dataset/shots/sampling.py",
            "if annotation.is_crowd or annotation.is_difficult or",
            "if annotation.is_crowd or",
            "dataset/shots",
        ),
        (
            "dataset/readers/cvat.py",
            "np.array([[cosine, sine], [-sine, cosine]])",
            "np.array([[cosine, -sine], [sine, cosine]])",
            "dataset/readers/test_own_pictures.py",
        ),
        (
            "dataset/readers/cvat.py",
            ".reshape(height, width)\n",
            ".reshape(width, height).T\n",
            "dataset/readers/test_own_pictures.py",
        ),
        (
            "dataset/readers/label_studio.py",
            "np.array([size[1], size[0]]) / 100",
            "np.array([size[0], size[1]]) / 100",
            "dataset/readers/test_own_pictures.py",
        ),
        ("dataset/readers/yolo.py", "uses[text] > 1", "uses[text] > 2", "dataset/readers/test_detect.py"),
        (
            "dataset/readers/yolo.py",
            "if class_number < 0 or class_number % 1:",
            "if class_number % 1:",
            "dataset/readers/test_own_pictures.py dataset/readers/test_yolo.py",
        ),
        (
            "dataset/references/from_python.py",
            "fractions = 0 < x < 1 and 0 < y < 1",
            "fractions = False",
            "dataset/references/test_from_python.py",
        ),
        (
            "dataset/references/from_python.py",
            "or y2 - y1 < 1 or not inside",
            "or not inside",
            "dataset/references/test_from_python.py",
        ),
        # evaluation
        (
            "evaluation/coco_ap.py",
            "valid = values[values > -1]",
            "valid = values[values >= -1]",
            "evaluation/test_coco_ap.py",
        ),
        (
            "evaluation/against_truth.py",
            "loose[0] if len(loose) == 1 else name",
            "loose[0] if loose else name",
            "evaluation/test_against_truth.py",
        ),
        (
            "evaluation/against_truth.py",
            'if one["id"] in annotated | searched',
            'if one["id"] in searched',
            "evaluation/test_against_truth.py",
        ),
        (
            "evaluation/judge.py",
            "for number, annotation in enumerate(self.coco.annotations, 1)",
            "for number, annotation in enumerate(self.coco.annotations)",
            "evaluation/test_coco_ap.py",
        ),
        ("evaluation/operating_points.py", ">=", ">", "evaluation/test_against_truth.py"),
        # pipeline
        (
            "pipeline/segment.py",
            "found.scores >= how.min_score",
            "found.scores > how.min_score",
            "api/test_segmenter.py",
        ),
        (
            "pipeline/segment.py",
            "tile_windows((height, width), tile, how.overlap)",
            "tile_windows((height, width), tile, 0.25)",
            "cli/test_options_reach.py::test_the_overlap_of_tiles",
        ),
        (
            "pipeline/class_thresholds.py",
            "torch.where(scores < own, below, above)",
            "torch.where(scores <= own, above, below)",
            "pipeline/test_class_thresholds.py",
        ),
        (
            "pipeline/tile_windows.py",
            "max(size) > how.tile",
            "max(size) >= how.tile",
            "pipeline api/test_segmenter.py",
        ),
        (
            "pipeline/tile_joining.py",
            "both >= AGREE * (first + second - both)",
            "both >= AGREE * max(first, second)",
            "pipeline/test_tile_joining.py",
        ),
        (
            "pipeline/memory.py",
            "repr((self.class_names, self.thresholds))",
            "repr(self.class_names)",
            "pipeline/test_learning.py::test_other_thresholds_are_another_memory",
        ),
        (
            "pipeline/streams.py",
            "        if self.stop:\n            raise error\n",
            "",
            "api/test_segmenter.py pipeline",
        ),
        # report
        (
            "report/overlay.py",
            "found[found.scores >= min_score]",
            "found[found.scores > min_score]",
            "report/test_overlay.py",
        ),
        (
            "report/outcomes.py",
            "if overlap[column] >= MATCH_IOU",
            "if overlap[column] > MATCH_IOU",
            "report/test_outcomes.py",
        ),
        ("report/counts.py", "return 50 if total.found[50] > 0 else 0", "return 50", "report"),
        (
            "report/cards.py",
            "match < step / 100",
            "match <= step / 100",
            "report/test_html.py::test_a_match_exactly_at_the_score_is_no_miss",
        ),
        (
            "report/content.py",
            'if row["category_id"] in index_of and row["image_id"] in rows_of:',
            'if row["image_id"] in rows_of:',
            "report",
        ),
        # runs
        (
            "runs/result_writer.py",
            'if stamps is None or record.get("stamp") == stamps.get(image_id):',
            "if True:",
            f"runs {NOTHING_LOST}::test_a_picture_that_was_replaced_is_searched_again",
        ),
        ("runs/result_writer.py", "if not same:", "if False:", "runs/test_result_writer.py"),
        (
            "runs/once_a_day.py",
            'if noted["day"] == day else []',
            "if True else []",
            "runs/test_once_a_day.py",
        ),
        ("runs/logs.py", "shown = copy(record)", "shown = record", "runs/test_once_a_day.py"),
        (
            "runs/folder_lock.py",
            "timeout=0)",
            "timeout=-1)",
            "runs/test_folder_lock.py",
        ),
        (
            "runs/folder_lock.py",
            "        lock.release()\n",
            "        lock.release()\n        (folder / LOCK).unlink(missing_ok=True)\n",
            "runs/test_folder_lock.py",
        ),
        (
            "runs/results_folder.py",
            "            overlays.write_missing(item)\n",
            "            pass\n",
            NOTHING_LOST,
        ),
        ("runs/results_folder.py", "        require_names(folder, formats)\n", "", NOTHING_LOST),
        (
            "runs/results_folder.py",
            "and (searched or top in asked)",
            "and top in asked and False",
            NOTHING_LOST,
        ),
        # faces
        (
            "api/segmenter.py",
            "            tile,\n            overlap,\n",
            "            tile,\n            0.25,\n",
            "api/test_segmenter.py",
        ),
        (
            "cli/predict.py",
            '"min_score": arguments.min_score,\n        "search"',
            '"search"',
            "cli/test_options_reach.py",
        ),
        (
            "cli/predict.py",
            "        overlap=arguments.overlap,\n",
            "",
            "cli/test_options_reach.py",
        ),
        ("cli/segmenter_arguments.py", "            seed=arguments.seed,\n", "", "cli/test_options_reach.py"),
        (
            "cli/predict.py",
            "            pictures.write(found)\n        writer.write(",
            "            pass\n        writer.write(",
            f"{NOTHING_LOST}::test_what_is_recorded_has_its_overlay",
        ),
        (
            "cli/predict.py",
            "OverlayWriter(folder / OVERLAYS, arguments.min_score)",
            "OverlayWriter(folder / OVERLAYS, 0.0)",
            "cli/test_options_reach.py",
        ),
        (
            "pl_wrapper/sam2matcher_pl.py",
            'OverlayWriter(folder / "overlays", self.model_cfg.vis_thr, names)',
            'OverlayWriter(folder / "overlays", 0.0, names)',
            "pl_wrapper/test_search_cfgs.py::test_overlays_show_what_reaches_vis_thr",
        ),
        (
            "pl_wrapper/stop_signals.py",
            "self.exit_code = 128 + number",
            "self.exit_code = 0",
            "pl_wrapper/test_stopped_runs.py::test_a_signal_becomes_an_exit_code_and_the_handlers_come_back",
        ),
        (
            "pl_wrapper/run_options.py",
            'missing = [f"--{name}" for name in NEEDS[mode] if not given[name]]',
            "missing = []",
            "pl_wrapper/test_stages.py pl_wrapper/test_command_line.py",
        ),
        (
            "pl_wrapper/data_pass.py",
            "for part in reversed(parts)",
            "for part in parts[:1]",
            "pl_wrapper/test_data_pass.py",
        ),
        (
            "pl_wrapper/entry.py",
            "return word, [*arguments[:position], *arguments[position + 1 :]]",
            "return word, list(arguments)",
            "pl_wrapper/test_command_line.py",
        ),
        # learning
        (
            "models/extensions/ridge_head.py",
            "torch.linalg.solve(leverage, rest) / self",
            "rest / self",
            "models/extensions/test_ridge_head.py",
        ),
        (
            "models/matching/class_head.py",
            "choices[best if gain > error else 0]",
            "choices[best]",
            "models/extensions/test_ridge_head.py",
        ),
        (
            "models/matching/scoring.py",
            "if bank.offsets is not None:",
            "if False:",
            "models/extensions/test_ridge_head.py",
        ),
        (
            "pipeline/examples.py",
            "if any(source.complete for source in sources):",
            "if True:",
            "pipeline/test_learning.py",
        ),
        (
            "pipeline/learning.py",
            "return len(pairs) > len({name for name, _ in pairs})",
            "return True",
            "pipeline/test_learning.py",
        ),
        (
            "pipeline/learning.py",
            "return -1 if item.class_name == name or item.class_name not in names else 0",
            "return -1",
            "pipeline/test_learning.py",
        ),
        (
            "pipeline/calibration.py",
            "    free &= complete  #",
            "    #",
            "api/test_segmenter.py::test_only_complete_and_empty_images_say_what_background_scores",
        ),
        (
            "pipeline/calibration.py",
            "threshold=max(LEVEL, value.threshold)",
            "threshold=value.threshold",
            "api/test_segmenter.py::test_only_complete_and_empty_images_say_what_background_scores",
        ),
        (
            "pipeline/class_thresholds.py",
            "edges.new_tensor([1.0])])  #",
            "edges.new_tensor([0.0])])  #",
            "pipeline/test_class_thresholds.py",
        ),
        (
            "pipeline/calibration.py",
            "if memory.head is not None:",
            "if False:",
            "pipeline/test_learning.py",
        ),
        (
            "models/memory/bank_file.py",
            'VERSION if "offsets" in tensors else 1',
            "1",
            "pipeline/test_learning.py",
        ),
        # adapters
        ("models/adapters/low_rank.py", "weight.new_zeros(", "weight.new_ones(", "models/adapters"),
        (
            "models/adapters/adapter_file.py",
            "(part.base, part.weights) != (base.name, base.weights)",
            "part.base != base.name",
            "models/adapters",
        ),
        (
            "models/memory/memory_options.py",
            "if encoder.adapter is not None:",
            "if False:",
            "models/adapters",
        ),
        (
            "pipeline/fitting/fit.py",
            "if number % self.folds != copy]",
            "if True]",
            "pipeline/test_fitting.py",
        ),
        ("pipeline/fitting/held_out.py", "left.remove(best)", "pass", "pipeline/test_fitting.py"),
        ("pipeline/fitting/held_out.py", " | complete,", ",", "pipeline/test_fitting.py"),
        (
            "pipeline/fitting/losses.py",
            " | (against[None] == own)",
            "",
            "pipeline/test_fitting.py",
        ),
        (
            "pipeline/fitting/fit.py",
            'self.losses, self.kept = state["losses"], state["kept"]',
            "pass",
            "cli/test_fit.py",
        ),
        # web and app: who may ask, what may be read, what is kept
        (
            "web/guards.py",
            "elif not self._knows_token(scope):",
            "elif False:",
            "web/test_guards.py",
        ),
        (
            "web/guards.py",
            'if len(hosts) != 1 or f"http://{_text(hosts[0])}" not in origins:',
            "if len(hosts) != 1:",
            "web/test_guards.py",
        ),
        (
            "web/guards.py",
            'if _header(scope, "origin") not in origins:',
            "if False:",
            "web/test_guards.py",
        ),
        (
            "web/guards.py",
            "origins = (*self.access.origins, own_origin(scope))",
            "origins = self.access.origins",
            "web/test_network.py",
        ),
        ("web/guards.py", "if _header(scope, name) != value:", "if False:", "web/test_guards.py"),
        ("web/guards.py", "if len(body) > self.access.most_bytes:", "if False:", "web/test_guards.py"),
        ("app/images.py", "if not path.is_relative_to(self.root):", "if False:", "web/test_guards.py"),
        (
            "app/operations.py",
            "and revision != one.revision:",
            "and False:",
            "app/test_server.py::test_a_change_to_what_another_tab_changed_is_told",
        ),
        (
            "app/log.py",
            "self._file.flush()\n            os.fsync(self._file.fileno())",
            "pass",
            "app/test_log.py",
        ),
        (
            "app/state.py",
            "if len(gone) == len(new) == 1:",
            "if False:",
            "app/test_server.py::test_thresholds_and_names_of_classes",
        ),
        (
            "app/search.py",
            "len(self._left) + self._in_work",
            "len(self._left)",
            "app/test_server.py::test_an_image_is_counted_when_it_is_done",
        ),
        (
            "app/found.py",
            "name, round(score, 4), rle",
            "name, score, rle",
            "app/test_server.py::test_a_threshold_at_the_score_that_is_shown_keeps_the_candidate",
        ),
        (
            "pl_wrapper/fit_module.py",
            "trainer.global_rank, shuffle=False",
            "trainer.global_rank",
            "cli/test_fit.py::test_two_processes_take_a_step_as_one_does_of_both",
        ),
        # bench: the accuracy table
        (
            "bench/accuracy/episode.py",
            "return min(shots, max(",
            "return max(shots, max(",
            "bench/accuracy/test_command.py::test_more_shots_than_there_are_references_are_not_run_again",
        ),
        (
            "bench/accuracy/tables.py",
            "worst {100 * found.least:+.1f}",
            "worst {100 * found.low:+.1f}",
            "bench/accuracy/test_summary.py",
        ),
        (
            "bench/accuracy/run.py",
            "replace(cell, row=row.name, shots=count)",
            "replace(cell, row=row.name)",
            "bench/accuracy/test_command.py::test_more_shots_than_there_are_references_are_not_run_again",
        ),
        (
            "bench/accuracy/tables.py",
            "if not found.changed:",
            "if found.changed == 1:",
            "bench/accuracy/test_summary.py",
        ),
        (
            "bench/accuracy/statistics.py",
            "int(np.count_nonzero(every))",
            "len(every)",
            "bench/accuracy/test_summary.py",
        ),
    ]
)
