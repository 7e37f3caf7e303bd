"""Fill the memory bank and search the targets: ``python run_lightening.py --config X.yaml``."""

import sys

from no_time_to_train.pl_wrapper.entry import main

if __name__ == "__main__":
    sys.exit(main())
