"""False positives on images whose objects are all known become negative references."""

from __future__ import annotations

from no_time_to_train.config import MemoryBankConfig, TargetDataConfig
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map, references_from_coco
from no_time_to_train.dataset.coco.results import to_coco_rows
from no_time_to_train.dataset.references.given import NamedReference
from no_time_to_train.dataset.shots.negatives import sample_negatives
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.memory import BankT, Memory
from no_time_to_train.pipeline.segment import segment
from no_time_to_train.pipeline.sources import TargetSource


def mine_negatives(
    model: ReferenceSegmenter[BankT],
    memory: Memory[BankT],
    support: TargetDataConfig,
    per_class: int = MemoryBankConfig.length_negative,
) -> list[NamedReference]:
    """Search annotated images, and take the surest detections that lie on no object of their class.

    Args:
        support: images with the annotations of all their objects.
        per_class: most negatives of a class.

    Raises:
        DatasetError: no annotations there, or a class of the memory is not among the annotated ones.
    """
    source = TargetSource(support)
    coco = source.require_annotations()
    ids = source.category_ids(memory.class_names, memory.category_ids)
    found = zip(source.targets, segment(model, memory, source.targets), strict=True)
    rows = [row for target, own in found for row in to_coco_rows(own, target.image_id, ids)]
    table, content = sample_negatives(rows, coco, per_class)
    if not any(table.values()):
        return []
    chosen = CocoFile.read(content, name="false positives")
    used = category_map(chosen, [key for key, shots in table.items() if shots])
    samples = references_from_coco(chosen, source.root, used, table=table)
    return [NamedReference(used.names[sample.label], sample) for sample in samples]
