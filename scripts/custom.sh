#!/usr/bin/env bash
# A data set of your own: NAMES are the classes, separated by commas; references may have boxes only.
. "$(dirname "$0")/common.sh"
YAML=${YAML:-$CONFIGS/cdfsod/cdfsod_template.yaml}
OUT=${OUT:-runs/custom}
SHOTS=${SHOTS:-1}
NAMES=${NAMES:-bird,boat}
REFERENCE_IMAGES=${REFERENCE_IMAGES:-./data/custom/images}
TEST_IMAGES=${TEST_IMAGES:-$REFERENCE_IMAGES}
REFERENCES=${REFERENCES:-./data/custom/custom_references.json}
TARGETS=${TARGETS:-./data/custom/custom_targets.json}
SAM=${SAM-auto}
SAM_TYPE=${SAM_TYPE:-sam2_hiera_l}
mkdir -p "$OUT"

# Boxes become masks beside the file; a file that has masks keeps them. SAM= with SAM_TYPE=sam2_nano needs no download.
tool sam_bbox_to_segm_batch --input_json "$REFERENCES" --image_dir "$REFERENCE_IMAGES" \
    ${SAM:+--sam_checkpoint "$SAM"} --model_type "$SAM_TYPE"
REFERENCES=${REFERENCES%.json}_with_segm.json
tool coco_to_pkl "$REFERENCES" "$OUT/shots.pkl" "$SHOTS"
fill "$D.fill_memory.root" "$REFERENCE_IMAGES" "$D.fill_memory.json_file" "$REFERENCES" \
    "$D.fill_memory.memory_pkl" "$OUT/shots.pkl" "$D.fill_memory.memory_length" "$SHOTS" \
    "$D.fill_memory.cat_names" "$NAMES" "$@"
postprocess "$@"
search "$D.test.root" "$TEST_IMAGES" "$D.test.json_file" "$TARGETS" "$D.test.cat_names" "$NAMES" \
    "$M.online_vis" true "$@"
