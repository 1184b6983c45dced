"""``python -m reid_core``: the same as ``reid``."""

import sys

from reid_core.program import main

if __name__ == "__main__":
    sys.exit(main())
