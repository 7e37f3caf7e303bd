#!/usr/bin/env bash
# COCO few-shot: the 20 novel classes, or SPLIT=default_classes for all 80.
. "$(dirname "$0")/common.sh"
YAML=${YAML:-$CONFIGS/coco/all_classes.yaml}
OUT=${OUT:-runs/coco_fewshot}
SPLIT=${SPLIT:-few_shot_classes}
SHOTS=${SHOTS:-10}
SEED=${SEED:-33}
COCO=${COCO:-./data/coco}
TRAIN_IMAGES=${TRAIN_IMAGES:-$COCO/train2017}
TRAIN_JSON=${TRAIN_JSON:-$COCO/annotations/instances_train2017.json}
TEST_IMAGES=${TEST_IMAGES:-$COCO/val2017}
TEST_JSON=${TEST_JSON:-$COCO/annotations/instances_val2017.json}
mkdir -p "$OUT"

tool few_shot_sampling --dataset "$SPLIT" --n-shot "$SHOTS" --seed "$SEED" \
    --json-file "$TRAIN_JSON" --out-path "$OUT/shots.pkl"
fill "$D.fill_memory.root" "$TRAIN_IMAGES" "$D.fill_memory.json_file" "$TRAIN_JSON" \
    "$D.fill_memory.memory_pkl" "$OUT/shots.pkl" "$D.fill_memory.memory_length" "$SHOTS" \
    "$D.fill_memory.class_split" "$SPLIT" "$@"
postprocess "$@"
search "$D.test.root" "$TEST_IMAGES" "$D.test.json_file" "$TEST_JSON" \
    "$D.test.class_split" "$SPLIT" --n_shot "$SHOTS" --seed "$SEED" "$@"
