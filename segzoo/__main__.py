"""``python -m segzoo``: the same as the ``segzoo`` command."""

from __future__ import annotations

import sys

from segzoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
