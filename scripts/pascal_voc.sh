#!/usr/bin/env bash
# Pascal VOC few-shot: the devkit becomes COCO files, its boxes masks, then split SPLIT is searched.
. "$(dirname "$0")/common.sh"
DEVKIT=${DEVKIT:-./data/pascal_voc/VOCdevkit}
SPLIT=${SPLIT:-pascal_voc_split_1}
YAML=${YAML:-$CONFIGS/voc/pascal_voc_split_1.yaml}
OUT=${OUT:-runs/pascal_voc}
SHOTS=${SHOTS:-10}
SEED=${SEED:-33}
SAM=${SAM-auto}
SAM_TYPE=${SAM_TYPE:-sam2_hiera_l}
mkdir -p "$OUT"

tool pascal_voc_to_coco "$DEVKIT" -o "$OUT/annotations"
for part in voc0712_trainval voc07_test; do
    tool sam_bbox_to_segm_batch --input_json "$OUT/annotations/$part.json" --image_dir "$DEVKIT" \
        ${SAM:+--sam_checkpoint "$SAM"} --model_type "$SAM_TYPE"
done
TRAIN_IMAGES=$DEVKIT TRAIN_JSON=$OUT/annotations/voc0712_trainval_with_segm.json
TEST_IMAGES=$DEVKIT TEST_JSON=$OUT/annotations/voc07_test_with_segm.json
tool few_shot_sampling --dataset "$SPLIT" --n-shot "$SHOTS" --seed "$SEED" \
    --json-file "$TRAIN_JSON" --out-path "$OUT/shots.pkl"
fill "$D.fill_memory.root" "$TRAIN_IMAGES" "$D.fill_memory.json_file" "$TRAIN_JSON" \
    "$D.fill_memory.memory_pkl" "$OUT/shots.pkl" "$D.fill_memory.memory_length" "$SHOTS" \
    "$D.fill_memory.class_split" "$SPLIT" "$@"
postprocess "$@"
search "$D.test.root" "$TEST_IMAGES" "$D.test.json_file" "$TEST_JSON" \
    "$D.test.class_split" "$SPLIT" "$@"
