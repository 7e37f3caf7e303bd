#!/usr/bin/env bash
# Negative references: false positives on the support images speak against a class.
. "$(dirname "$0")/common.sh"
YAML=${YAML:-$CONFIGS/coco/negatives.yaml}
OUT=${OUT:-runs/coco_negatives}
SPLIT=${SPLIT:-few_shot_classes}
SHOTS=${SHOTS:-10}
SEED=${SEED:-33}
COCO=${COCO:-./data/coco}
TRAIN_IMAGES=${TRAIN_IMAGES:-$COCO/train2017}
TRAIN_JSON=${TRAIN_JSON:-$COCO/annotations/instances_train2017.json}
TEST_IMAGES=${TEST_IMAGES:-$COCO/val2017}
TEST_JSON=${TEST_JSON:-$COCO/annotations/instances_val2017.json}
SUPPORT_IMAGES=${SUPPORT_IMAGES:-$TRAIN_IMAGES}
SUPPORT_JSON=${SUPPORT_JSON:-$TRAIN_JSON}
mkdir -p "$OUT"

tool few_shot_sampling --dataset "$SPLIT" --n-shot "$SHOTS" --seed "$SEED" \
    --json-file "$TRAIN_JSON" --out-path "$OUT/shots.pkl"
fill "$D.fill_memory.root" "$TRAIN_IMAGES" "$D.fill_memory.json_file" "$TRAIN_JSON" \
    "$D.fill_memory.memory_pkl" "$OUT/shots.pkl" "$D.fill_memory.memory_length" "$SHOTS" \
    "$D.fill_memory.class_split" "$SPLIT" "$@"
postprocess "$@"
stage test_support --ckpt_path "$OUT/memory_postprocessed.ckpt" --out_support_res "$OUT/support.json" \
    --out_neg_pkl "$OUT/negatives.pkl" --out_neg_json "$OUT/negatives.json" \
    "$D.support.root" "$SUPPORT_IMAGES" "$D.support.json_file" "$SUPPORT_JSON" "$@"
stage fill_memory_neg --ckpt_path "$OUT/memory_postprocessed.ckpt" --out_path "$OUT/memory_neg.ckpt" \
    --out_neg_pkl "$OUT/negatives.pkl" --out_neg_json "$OUT/negatives.json" \
    "$D.support.root" "$SUPPORT_IMAGES" "$D.support.json_file" "$SUPPORT_JSON" "$@"
DEVICES=1 stage postprocess_memory_neg --ckpt_path "$OUT/memory_neg.ckpt" \
    --out_path "$OUT/memory_postprocessed.ckpt" "$@"
search "$D.test.root" "$TEST_IMAGES" "$D.test.json_file" "$TEST_JSON" \
    "$D.test.class_split" "$SPLIT" "$@"
