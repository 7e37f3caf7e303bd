"""What a hover of ``ntt app`` costs: one prompt on a picture that was encoded before.

    python -m benchmarks.app_hover --images ../shared/data/fruits-nuts/images
    python -m benchmarks.app_hover --images ../shared/data/fruits-nuts/images --sam2 sam2.1_hiera_large

The second stands for weights that are not on this machine: the network is that of the name, its weights are
random, on which the time does not depend. Times are of the clock, as a person waits, and so mean little on a
busy machine. "Beside a search" is with the embedded models: prompts come while another thread searches.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from pathlib import Path

import torch

from no_time_to_train import Segmenter
from no_time_to_train.app.images import Images, picture_names
from no_time_to_train.app.prompts import Prompter

HOVERS = 60


def hovers(prompter: Prompter, count: int) -> str:
    """Milliseconds of prompts, one after the other."""
    height, width = prompter.images.size(0)
    took = []
    for number in range(count):
        start = time.perf_counter()
        prompter.prompt(0, [[width * (number + 0.5) / count, height / 2, 1]], None).result()
        took.append(1000 * (time.perf_counter() - start))
    return (
        f"median {statistics.median(took):.0f} ms, 9 of 10 below {sorted(took)[len(took) * 9 // 10]:.0f} ms"
    )


def beside_a_search(finder: Segmenter, prompter: Prompter) -> str:
    """The same while all pictures are searched again and again, without a cache."""
    done = threading.Event()
    first = prompter.images.path(0)
    height, width = prompter.images.size(0)
    finder.add("thing", first, box=(width * 0.3, height * 0.3, width * 0.6, height * 0.6))

    def search() -> None:
        while not done.is_set():
            finder.predict(first)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        return hovers(prompter, HOVERS)
    finally:
        done.set()
        thread.join()


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--sam2", default="sam2_nano", help="another one gets random weights (%(default)s)")
    parser.add_argument("--device", help="cpu or cuda (the best there is)")
    args = parser.parse_args()
    own = args.sam2 == "sam2_nano"
    finder = Segmenter(
        "lite2_photographs",
        sam2=args.sam2,
        sam2_weights="auto" if own else "random",
        device=args.device,
        **({} if own else {"allow_random_weights": True}),
    )
    images = Images(args.images, picture_names(args.images, Path("none")))
    prompter = Prompter(finder.model.sam, images, lambda *_: None)
    start = time.perf_counter()
    hovers(prompter, 1)
    print(f"{args.sam2} on {finder.device}, {torch.get_num_threads()} threads")
    print(f"the first prompt of a picture, which encodes it: {time.perf_counter() - start:.1f} s")
    print(f"a hover: {hovers(prompter, HOVERS if own else 12)}")
    if own:
        print(f"beside a search: {beside_a_search(finder, prompter)}")
    prompter.close(10)


if __name__ == "__main__":
    main()
