"""The help screen, kept apart so that it is printed without waiting for any import."""

HELP = """\
usage: run_lightening.py [test | predict | fit] --config FILE [options]

test     fill the memory from references, search the targets, score (the default)
predict  search targets that need no annotations
fit      learn an adapter of the references (docs/learning.md)

  --config FILE              YAML, several are merged; examples: no_time_to_train/pl_configs
  --model.test_mode MODE     run (all of it), fill_memory, postprocess_memory, test, vis_memory,
                             test_support, fill_memory_neg, postprocess_memory_neg
  --model.KEY VALUE          a key of the YAML, as --model.model_cfg.encoder_cfg.name dinov3_large
  --ckpt_path FILE           memory bank to start from
  --out_path FILE            where a memory stage saves the bank, and fit the adapter
  --output_dir DIR           everything else that a run writes (runs/latest)
  --export_result FILE       detections as a COCO list here as well
  --out_support_res FILE     detections of test_support
  --out_neg_pkl FILE         negative samples: few-shot file
  --out_neg_json FILE        negative samples: COCO file
  --n_shot N --seed N --coco_semantic_split K    parts of the name of the result file
  --resume                   go on with an interrupted search or fit
  --on_error {skip,stop}     what an unreadable image does (skip)
  --evaluate {true,false}    score where there are annotations (true)
  --report {true,false}      write report.html (true)
  --format WORDS             more formats, such as coco,csv,crops,html (docs/export-formats.md)
  --pixel_size SIZE          of one pixel, such as 0.12mm, for the sizes in instances.csv
  --quiet, --verbose         less, or more, on the screen; log.txt is in the output folder
  --seed_everything N        of everything random (42)
  --trainer.KEY VALUE        as Lightning has them, e.g. --trainer.devices 4
  --allow-imports            let the YAML name classes of packages beside ours, lightning and torch
  --print_config             the whole configuration, merged
  --help_all                 every option of Lightning's trainer (500 lines)
"""
