"""The words of an opened trace, tagged in the worker's line: bounded as all other work there."""

from __future__ import annotations

from collections.abc import Sequence

from dcp.speech.words import Word
from dcp.trace import Trace
from dcp.ui import services
from dcp.ui.asked import Asked, keep, last_asked
from dcp.ui.follow import follow_task
from dcp.ui.session import Session
from dcp.ui.settings import settings
from dcp.ui.task import Report

__all__ = ["named"]

_PAGE = "words"


def named(session: Session, trace: Trace) -> bool:
    """Whether the words of ``trace``, which is shown, are known; if not yet, shows how far it is.

    A failure is said on the page.
    """
    if session.shown.words:
        return True

    def tag(report: Report) -> Sequence[Word]:
        report.progress(0, "Naming the parts of speech.")
        return services.tag(trace)

    asked = last_asked(_PAGE, session.shown.key)
    if asked is None:
        task = services.worker(settings()).ask(session.owner, tag)
        asked = keep(_PAGE, Asked(session.shown.key, task))
    words = follow_task(asked.task, _PAGE)
    if words:
        session.name_words(words)
    return words is not None
