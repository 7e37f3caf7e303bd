"""From what ``train_photographs`` wrote to the shipped files."""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.torch import load_file, save_file

HEAD = "prompt_head."
"""Entries that only training reads."""


def main() -> None:
    """Write ``sam2_nano`` and ``lite2_photographs``."""
    parser = argparse.ArgumentParser(description="Write the shipped weights of the photograph models.")
    parser.add_argument("--trained", type=Path, required=True, help="folder of the two trained files")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    sam2 = load_file(args.trained / "sam2_nano.safetensors")
    kept = {name: value for name, value in sam2.items() if not name.startswith(HEAD)}
    save_file(kept, args.out / "sam2_nano.safetensors", {"model": "sam2_nano"})
    encoder = load_file(args.trained / "lite2_tuned.safetensors")
    save_file(encoder, args.out / "lite2_photographs.safetensors", {"model": "lite2_photographs"})


if __name__ == "__main__":
    main()
