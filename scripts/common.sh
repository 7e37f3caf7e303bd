# Sourced by the other scripts: the three stages and what they share.
# Every variable can be given in the environment; further options of run_lightening.py follow the script's name.
set -eu
ROOT=$(cd "$(dirname "$0")/.." && pwd)
CONFIGS=$ROOT/no_time_to_train/pl_configs
PYTHON=${PYTHON:-python}
DEVICES=${DEVICES:-1}
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
M=--model.init_args.model_cfg
D=--model.init_args.dataset_cfgs

# tool NAME ARGUMENTS: one of the data set's tools.
tool() {
    name=$1
    shift
    "$PYTHON" -m "no_time_to_train.dataset.$name" "$@"
}

# stage MODE OPTIONS: one stage on DEVICES devices; YAML, OUT and SHOTS are set by the script.
stage() {
    mode=$1
    shift
    "$PYTHON" "$ROOT/run_lightening.py" test --config "$YAML" --output_dir "$OUT" \
        --trainer.devices "$DEVICES" --model.test_mode "$mode" "$M.memory_bank_cfg.length" "$SHOTS" "$@"
}

fill() {
    stage fill_memory --out_path "$OUT/memory.ckpt" "$@"
}

postprocess() {
    DEVICES=1 stage postprocess_memory --ckpt_path "$OUT/memory.ckpt" \
        --out_path "$OUT/memory_postprocessed.ckpt" "$@"
}

search() {
    stage test --ckpt_path "$OUT/memory_postprocessed.ckpt" "$@"
}
