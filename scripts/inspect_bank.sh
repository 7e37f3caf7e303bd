#!/usr/bin/env bash
# Pictures of the references in a memory that one of the other scripts filled: same YAML, OUT and data options.
. "$(dirname "$0")/common.sh"
YAML=${YAML:-$CONFIGS/coco/all_classes.yaml}
OUT=${OUT:-runs/coco_fewshot}
SHOTS=${SHOTS:-10}
mkdir -p "$OUT"

DEVICES=1 stage vis_memory --ckpt_path "$OUT/memory_postprocessed.ckpt" "$@"
