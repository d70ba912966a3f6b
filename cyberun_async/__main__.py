"""`python -m cyberun_async` is `cyberun-async`."""

import sys

from cyberun_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
