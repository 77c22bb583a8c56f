"""A trace file that a reader opens: read and checked once, kept while it stays chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from dcp.errors import DcpError, TraceError
from dcp.trace import Trace
from dcp.ui.look import problem
from dcp.ui.settings import Settings

__all__ = ["Upload", "uploaded_trace"]


@dataclass(frozen=True, eq=False)
class Upload:
    """A file that was read: its trace, or in ``error`` why there is none."""

    file_id: str
    trace: Trace | None
    error: str = ""


def uploaded_trace(
    label: str, key: str, limits: Settings, help: str | None = None
) -> Upload | None:
    """The uploader called ``label``: the file chosen in it, or None.

    The same object as long as the file stays chosen. An error is said under the uploader.
    """
    kept: dict[str, Upload] = st.session_state.setdefault("uploads", {})
    file = st.file_uploader(
        label, type=["safetensors"], key=key, max_upload_size=limits.upload_mib, help=help
    )
    if file is None:
        kept.pop(key, None)
        return None
    if key not in kept or kept[key].file_id != file.file_id:
        kept[key] = _read(file.file_id, file.size, file.getvalue, limits)
    if kept[key].error:
        problem(kept[key].error)
    return kept[key]


def _read(file_id: str, size: int, content: Callable[[], bytes], limits: Settings) -> Upload:
    try:
        if size > limits.upload_mib * 2**20:
            raise TraceError(f"the file is larger than {limits.upload_mib} MiB, the limit here")
        trace = Trace.from_bytes(content())
        _fits(trace, limits)
    except DcpError as error:
        return Upload(file_id, None, str(error))
    return Upload(file_id, trace)


def _fits(trace: Trace, limits: Settings) -> None:
    """Raise TraceError where a page would work too long on ``trace``; its bytes do not tell."""
    cells = trace.layers * trace.tokens
    if trace.layers > limits.layers:
        raise TraceError(
            f"the trace has {trace.layers:,} layers; at most {limits.layers:,} are shown here"
        )
    if cells > limits.cells:
        raise TraceError(
            f"the trace has {trace.layers:,} layers of {trace.tokens:,} tokens; at most "
            f"{limits.cells:,} layers times tokens are shown here"
        )
    if len(trace.text) > limits.characters:
        raise TraceError(
            f"the trace has {len(trace.text):,} characters of text; at most "
            f"{limits.characters:,} are read here"
        )
