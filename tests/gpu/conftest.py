"""Tests that need an NVIDIA GPU: run by `make gpu`, skipped with a reason everywhere else."""

import os

import pytest


def reason() -> str | None:
    try:
        import torch
        import triton  # noqa: F401
    except ImportError:
        return "torch or triton is missing"
    if os.environ.get("TRITON_INTERPRET") == "1":
        return "triton interprets in this process"
    return None if torch.cuda.is_available() else "there is no CUDA GPU"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = reason()
    for item in items:
        if why and "tests/gpu/" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason=why))
