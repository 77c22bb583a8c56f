"""Parts of speech in a thread of their own, a text after the other.

A failure leaves the words empty, and so does the end of the process, which takes no new work. Knows
no tagger: it is given what to call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from dcp.errors import DcpError
from dcp.speech.words import Word
from dcp.trace import Trace

__all__ = ["Tag", "TagLater", "Tagging"]

Tag = Callable[[Trace], Sequence[Word]]
TagLater = Callable[[Trace], Future[Sequence[Word]]]
_log = logging.getLogger(__name__)


class Tagging:
    """A line of traces whose words ``tag`` finds."""

    def __init__(self, tag: Tag) -> None:
        self._tag = tag
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tagger")

    def later(self, trace: Trace) -> Future[Sequence[Word]]:
        """The words, when it is this trace's turn."""
        with suppress(RuntimeError):  # raised where the process ends
            return self._pool.submit(self._words, trace)
        none: Future[Sequence[Word]] = Future()
        none.set_result(())
        return none

    def close(self) -> None:
        """Take nothing more; what waits is not tagged."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _words(self, trace: Trace) -> Sequence[Word]:
        try:
            return self._tag(trace)
        except DcpError as error:
            _log.warning("no parts of speech: %s", error)
        except Exception:
            _log.exception("tagging failed")
        return ()
