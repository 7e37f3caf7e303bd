"""The other spelling of ``run_lightening.py``."""

import sys

from no_time_to_train.pl_wrapper.entry import main

if __name__ == "__main__":
    sys.exit(main())
