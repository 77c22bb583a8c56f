"""The app as a script for `streamlit run`, with a recording that needs no model or weights.

Used by tests alone. DCP_TEST_MODELS names the models folder, DCP_TEST_PAUSE the seconds between two
tokens; DCP_TEST_BARE leaves the tagger out, too.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "tests" / "app"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import fakes  # noqa: E402

import dcp.model.registry  # noqa: E402
import dcp.ui.services  # noqa: E402

dcp.model.registry.BUNDLED = Path(os.environ["DCP_TEST_MODELS"])
dcp.ui.services.begin = lambda request, leave: fakes.FakeRecording(
    request, leave, float(os.environ.get("DCP_TEST_PAUSE", "0.02"))
)
if os.environ.get("DCP_TEST_BARE"):
    dcp.ui.services.tag = lambda trace: ()
    dcp.ui.services.warm = lambda: None
runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
