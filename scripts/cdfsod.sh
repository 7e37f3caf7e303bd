#!/usr/bin/env bash
# One data set of CD-FSOD (layout <CDFSOD>/<NAME>/{train,test,annotations}); its boxes become masks first.
. "$(dirname "$0")/common.sh"
CDFSOD=${CDFSOD:-./data/cdfsod}
NAME=${NAME:-DIOR}
YAML=${YAML:-$CONFIGS/cdfsod/cdfsod_template.yaml}
SHOTS=${SHOTS:-5}
OUT=${OUT:-runs/cdfsod/$NAME}
REFERENCE_IMAGES=${REFERENCE_IMAGES:-$CDFSOD/$NAME/train}
TEST_IMAGES=${TEST_IMAGES:-$CDFSOD/$NAME/test}
REFERENCES=${REFERENCES:-$CDFSOD/$NAME/annotations/${SHOTS}_shot.json}
TARGETS=${TARGETS:-$CDFSOD/$NAME/annotations/test.json}
SAM=${SAM-auto}
SAM_TYPE=${SAM_TYPE:-sam2_hiera_l}
mkdir -p "$OUT"

for part in "$REFERENCES:$REFERENCE_IMAGES" "$TARGETS:$TEST_IMAGES"; do
    tool sam_bbox_to_segm_batch --input_json "${part%%:*}" --image_dir "${part#*:}" \
        ${SAM:+--sam_checkpoint "$SAM"} --model_type "$SAM_TYPE"
done
REFERENCES=${REFERENCES%.json}_with_segm.json
TARGETS=${TARGETS%.json}_with_segm.json
tool coco_to_pkl "$REFERENCES" "$OUT/shots.pkl" "$SHOTS"
fill "$D.fill_memory.root" "$REFERENCE_IMAGES" "$D.fill_memory.json_file" "$REFERENCES" \
    "$D.fill_memory.memory_pkl" "$OUT/shots.pkl" "$D.fill_memory.memory_length" "$SHOTS" "$@"
postprocess "$@"
search "$D.test.root" "$TEST_IMAGES" "$D.test.json_file" "$TARGETS" "$@"
