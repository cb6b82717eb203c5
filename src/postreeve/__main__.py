"""`python -m postreeve` is `postreeve`."""

import sys

from postreeve.cli import main

if __name__ == "__main__":
    sys.exit(main())
