"""``python -m dcp.train …``: the same as ``python -m dcp train …``, errors in one line included.

Launchers of several processes take it where they want a module of one word.
"""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    runpy.run_module("dcp", run_name="__main__")
