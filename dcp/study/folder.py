"""The folder of a study: a trace and its words for each window, and the tables of all.

Every window is a file, so a study goes on where it was stopped, and many processes can share it:
each does its windows, and the first one gathers all from the files. The tables do not depend on how
many there were.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from dcp.errors import RequestError, TraceError
from dcp.model.registry import OpenModel
from dcp.progress import Cancel, Progress, silent
from dcp.runs.recorder import Recorder
from dcp.runs.request import TextRequest
from dcp.speech.words import TextTagger, from_json, words_of
from dcp.speech.words import to_json as words_to_json
from dcp.stats.lives import Sample
from dcp.stats.pooled import pool
from dcp.stats.study_file import TABLES, Study, to_json
from dcp.study.plan import StudyPlan, Window
from dcp.text.table import to_csv
from dcp.trace import Trace
from dcp.trace.file import create, drop_stale, write

__all__ = ["gather", "record_share", "record_window", "share_of_process", "write_study"]


def record_window(
    window: Window,
    plan: StudyPlan,
    model: OpenModel,
    cancel: Cancel | None = None,
) -> Trace:
    """One window as a trace that names its document."""
    request = TextRequest(
        window.text,
        model=model,
        new_tokens=plan.new_tokens,
        seed=plan.seed,
        gate_shift=plan.gate_shift,
        # Tokens of a stretch can differ from those of the whole by a few at its ends.
        truncate="right",
    )
    trace = Recorder.begin(request, cancel).finish()
    return dataclasses.replace(
        trace, meta=dataclasses.replace(trace.meta, document=window.document)
    )


def share_of_process(environ: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """(index, processes) as `accelerate launch` or torchrun tell them; (0, 1) without."""
    try:
        index, processes = int(environ.get("RANK", "0")), int(environ.get("WORLD_SIZE", "1"))
    except ValueError:
        raise RequestError("RANK and WORLD_SIZE are not whole numbers; unset them") from None
    if not 0 <= index < processes:
        raise RequestError(f"process {index} of {processes} does not exist; unset RANK")
    return index, processes


def record_share(
    folder: Path,
    plan: StudyPlan,
    windows: Sequence[Window],
    model: OpenModel,
    tagger: TextTagger,
    *,
    index: int = 0,
    processes: int = 1,
    progress: Progress = silent,
) -> int:
    """Record and tag windows ``index``, ``index + processes``, ... that are not there yet.

    Returns the words read now; ``progress`` hears them after each window. Raises
    RequestError where the folder holds another study.
    """
    _claim(folder, plan)
    mine, read = windows[index::processes], 0
    for count, window in enumerate(mine, start=1):
        trace_file, words_file = _files(folder, window.number)
        if not trace_file.exists():
            trace = record_window(window, plan, model)
            words = words_of(trace, tagger)
            # The trace comes last: where it is, the window is complete.
            _write(words_file, words_to_json(words))
            trace.save(trace_file)
            read += len(words)
        progress(count / len(mine), f"window {count} of {len(mine)}, {read:,} words read")
    return read


def gather(folder: Path, plan: StudyPlan, *, patience: float = 0.0) -> list[Sample]:
    """All windows, from their files; waits for those of other processes.

    Raises TraceError when no new window has come for ``patience`` seconds.
    """
    missing = [i for i in range(plan.windows) if not _files(folder, i)[0].exists()]
    since = time.monotonic()
    while missing:
        still = [i for i in missing if not _files(folder, i)[0].exists()]
        if len(still) < len(missing):
            since = time.monotonic()
        elif time.monotonic() - since > patience:
            raise TraceError(f"{len(still)} windows are missing in {folder}: run the study again")
        missing = still
        if missing:
            time.sleep(min(0.5, patience))
    samples: list[Sample] = []
    for number in range(plan.windows):
        trace_file, words_file = _files(folder, number)
        try:
            words = from_json(words_file.read_text(encoding="utf-8"))
        except OSError as error:
            raise TraceError(f"cannot read {words_file}: {error.strerror}") from error
        samples.append((Trace.load(trace_file), words))
    return samples


def write_study(
    folder: Path,
    plan: StudyPlan,
    samples: Sequence[Sample],
    *,
    tagger_accuracy: float | None = None,
    seed: int = 0,
    n_boot: int = 1000,
    progress: Progress = silent,
) -> Study:
    """Make the tables of all windows: ``study.json`` for pages, ``tables/*.csv`` for people."""
    about = {**asdict(plan), "tagger_accuracy": tagger_accuracy}
    study = pool(samples, about, seed=seed, n_boot=n_boot, progress=progress)
    (folder / "tables").mkdir(exist_ok=True)
    for name in TABLES:
        _write(folder / "tables" / f"{name}.csv", to_csv(getattr(study, name)))
    _write(folder / "study.json", to_json(study))
    return study


def _files(folder: Path, number: int) -> tuple[Path, Path]:
    stem = folder / "windows" / f"{number:06d}"
    return stem.with_suffix(".safetensors"), stem.with_suffix(".words.json")


def _claim(folder: Path, plan: StudyPlan) -> None:
    """Make the folder this plan's; refuse one that is another's.

    Raises RequestError where it cannot be made or read, too.
    """
    path, mine = folder / "plan.json", json.dumps(asdict(plan), indent=2) + "\n"
    try:
        (folder / "windows").mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size == 0:
            # Left by a process that was killed: it claims nothing.
            path.unlink()
        create(path, mine.encode())
        for kept in (folder, folder / "windows", folder / "tables"):
            drop_stale(kept.glob("*.part"))
        found = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        reason = wrong.strerror if isinstance(wrong, OSError) else "it is not text"
        raise RequestError(f"cannot use {folder} for a study: {reason}") from None
    if found != mine:
        raise RequestError(f"{folder} holds another study (plan.json): name a new folder")


def _write(path: Path, text: str) -> None:
    write(path, text.encode())
