"""A file of texts -> a folder of traces -> one study: parts of speech over many texts at once.

A blank line ends a document; a document is read in windows of the model's context, or fewer tokens,
each a trace of its own, and windows of one document count as one text. Reading order: `plan` (what
is read), `folder` (the reading, and the tables).
"""

from __future__ import annotations

from dcp.study.folder import gather, record_share, record_window, share_of_process, write_study
from dcp.study.plan import StudyPlan, Window, cut, make_plan

__all__ = [
    "StudyPlan",
    "Window",
    "cut",
    "gather",
    "make_plan",
    "record_share",
    "record_window",
    "share_of_process",
    "write_study",
]
