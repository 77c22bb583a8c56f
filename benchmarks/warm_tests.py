"""Runs tests again and again without loading torch and pandas each time: a fork for each run.

    python -m benchmarks.warm_tests          # in the folder whose tests are to run

Reads one request a line, ``{"tests": [...], "seconds": 60}``, and answers each with
``{"code": pytest's exit code, or null after so many seconds, "seconds": how long}``. Imports
libraries and nothing of ours, so every run sees the files as they are then. Used by
`benchmarks.mutate`.
"""

from __future__ import annotations

import compileall
import contextlib
import importlib
import json
import os
import py_compile
import signal
import sys
import time

_LIBRARIES = (
    *("numpy", "pandas", "torch", "transformers", "tokenizers", "safetensors.torch", "scipy.stats"),
    *("statsmodels.api", "lifelines", "pytest", "streamlit.testing.v1", "plotly.graph_objects"),
)
_POLL = 0.02
# Parts of its plugins came with the libraries.
_LOADED = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


def main() -> None:
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # Judged by content: two versions of one second and one size are not mixed up.
    checked = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir("dcp", quiet=2, force=True, invalidation_mode=checked)
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        start = time.perf_counter()
        code = _run(request["tests"], request["seconds"])
        print(json.dumps({"code": code, "seconds": time.perf_counter() - start}), flush=True)


def _run(tests: list[str], seconds: float) -> int | None:
    child = os.fork()
    if child == 0:
        os.setsid()
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        os._exit(_tested(tests))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_POLL)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _tested(tests: list[str]) -> int:
    import pytest

    try:
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *_LOADED, *tests]))
    except BaseException:
        return 70


if __name__ == "__main__":
    main()
