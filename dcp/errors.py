"""Every error this package raises on purpose, in one tree.

    DcpError                a person can mend it; the message is one line that says how
    |-- RequestError        a bad request: no text, a text longer than the context, …
    |-- ModelError          an unusable checkpoint: missing, unsupported, misshapen, NaN
    |-- TraceError          a trace file that is damaged, hostile or of an unknown format
    |-- DeviceError         the asked-for implementation or device is not there
    |-- DataError           training or evaluation data that cannot be read or is too little
    `-- MissingPartError    an optional part of the package is not installed

Knows nothing of the rest of the package, and of no front end: a message speaks of parameters, and
``remedy`` names the one that mends it, so that a command line can add its option and a page its
widget. Front ends print the message and exit with 2; anything that is not a DcpError is a bug and
keeps its traceback.
"""

from __future__ import annotations

__all__ = [
    "DataError",
    "DcpError",
    "DeviceError",
    "MissingPartError",
    "ModelError",
    "RequestError",
    "TraceError",
]


class DcpError(Exception):
    """Base of all errors a user can mend. The message is one line.

    remedy  the parameter to change, where a front end has a name of its own for it; else empty

    >>> try:
    ...     dcp.record("The river rose", new_tokens=-1)
    ... except dcp.DcpError as error:
    ...     print(type(error).__name__)
    RequestError
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class RequestError(DcpError):
    """What was asked for makes no sense or does not fit.

    >>> dcp.record("")
    Traceback (most recent call last):
    dcp.errors.RequestError: there is no text...
    """


class ModelError(DcpError):
    """A checkpoint is missing, unsupported, misshapen or damaged.

    >>> dcp.open_model("nowhere")
    Traceback (most recent call last):
    dcp.errors.ModelError: no model 'nowhere'...
    """


class TraceError(DcpError):
    """A trace file is damaged, hostile or of an unknown format version.

    >>> dcp.Trace.from_bytes(b"no trace")
    Traceback (most recent call last):
    dcp.errors.TraceError: ...
    """


class DeviceError(DcpError):
    """The requested implementation, device or dtype is not available here.

    >>> dcp.open_model(dtype="float8")
    Traceback (most recent call last):
    dcp.errors.DeviceError: dtype 'float8' is not supported...
    """


class DataError(DcpError):
    """Training or evaluation data cannot be read, or is too little."""


class MissingPartError(DcpError):
    """An optional part of the package is not installed; the message names the extra.

    >>> raise dcp.resources.missing("streamlit")
    Traceback (most recent call last):
    dcp.errors.MissingPartError: ...pip install 'dcp[app]'
    """
