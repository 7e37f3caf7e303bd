"""``python -m no_time_to_train.cli`` is ``ntt``."""

import sys

from no_time_to_train.cli import main

if __name__ == "__main__":
    sys.exit(main())
