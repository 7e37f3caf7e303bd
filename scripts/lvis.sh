#!/usr/bin/env bash
# LVIS: shots of every class are drawn, SPLIT (lvis, lvis_frequent, lvis_common, lvis_rare) chooses among them.
. "$(dirname "$0")/common.sh"
YAML=${YAML:-$CONFIGS/lvis/lvis.yaml}
OUT=${OUT:-runs/lvis}
SPLIT=${SPLIT:-lvis}
SHOTS=${SHOTS:-10}
SEED=${SEED:-33}
TRAIN_IMAGES=${TRAIN_IMAGES:-./data/coco/allimages}
TRAIN_JSON=${TRAIN_JSON:-./data/lvis/lvis_v1_train.json}
TEST_IMAGES=${TEST_IMAGES:-$TRAIN_IMAGES}
TEST_JSON=${TEST_JSON:-./data/lvis/lvis_v1_val.json}
mkdir -p "$OUT"

tool few_shot_sampling --dataset lvis --n-shot "$SHOTS" --seed "$SEED" \
    --json-file "$TRAIN_JSON" --out-path "$OUT/shots.pkl"
fill "$D.fill_memory.root" "$TRAIN_IMAGES" "$D.fill_memory.json_file" "$TRAIN_JSON" \
    "$D.fill_memory.memory_pkl" "$OUT/shots.pkl" "$D.fill_memory.memory_length" "$SHOTS" \
    "$D.fill_memory.class_split" "$SPLIT" "$@"
postprocess "$@"
search "$D.test.root" "$TEST_IMAGES" "$D.test.json_file" "$TEST_JSON" \
    "$D.test.class_split" "$SPLIT" "$@"
