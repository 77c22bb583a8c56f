"""The bundled runs that the page shows before any model is loaded.

``assets/traces/NAME.safetensors`` is a trace; ``NAME.words.json`` beside it holds its words, so
that the first picture needs no tagger. Make that file with ``python -m dcp.ui.samples TRACE``.
``gallery/`` holds runs to look at that no statistics read, ``dial/`` the first sample's tokens read
at every setting of its model's dial. Names that begin with ``heldout-`` are runs of texts drawn
from held-out data; the text of any other was typed for the app.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np

from dcp.errors import TraceError
from dcp.resources import asset
from dcp.speech.words import Word
from dcp.trace import Trace

__all__ = ["DIAL", "FOLDER", "held_out", "load_dial", "load_sample", "sample_names", "write_words"]

FOLDER = asset("traces")
DIAL = FOLDER / "dial"
"""The first sample's tokens read at every setting of its model's dial; a trace a setting."""


def sample_names() -> list[str]:
    """The bundled samples, typed ones before held-out ones; the first is shown at the start."""
    names = (path.stem for path in FOLDER.glob("*.safetensors"))
    return sorted(names, key=lambda name: (held_out(name), name))


def held_out(name: str) -> bool:
    """Whether the text of this sample was drawn from held-out data."""
    return name.startswith("heldout-")


def load_sample(name: str) -> tuple[Trace, list[Word]]:
    """A bundled trace and its words (none where they were not written). Raises TraceError.

    ``gallery/NAME`` is a run of the gallery, which no statistics read.
    """
    gallery = [f"gallery/{path.stem}" for path in (FOLDER / "gallery").glob("*.safetensors")]
    if name not in (*sample_names(), *gallery):
        raise TraceError(f"no sample {name!r}: there are {', '.join(sample_names()) or 'none'}")
    words = FOLDER / f"{name}.words.json"
    rows = json.loads(words.read_text(encoding="utf-8")) if words.exists() else []
    return Trace.load(FOLDER / f"{name}.safetensors"), [Word(**row) for row in rows]


@cache
def _dial() -> tuple[Trace, ...]:
    return tuple(Trace.load(path) for path in sorted(DIAL.glob("*.safetensors")))


def load_dial(trace: Trace) -> dict[float | None, Trace]:
    """Gate shift (None: gates off) -> the tokens of a sample read with it; empty for other runs."""
    return {
        None if read.meta.gates_off else read.meta.gate_shift: read
        for read in _dial()
        if np.array_equal(read.token_ids, trace.token_ids)
        and read.meta.weights_sha256 == trace.meta.weights_sha256
    }


def write_words(path: Path) -> Path:
    """Tag the trace at ``path`` and write its words beside it; gives the file written."""
    from dcp.speech.tagger import load_tagger
    from dcp.speech.words import words_of

    found = words_of(Trace.load(path), load_tagger())
    target = path.with_suffix(".words.json")
    rows = [json.dumps(asdict(word), ensure_ascii=False) for word in found]
    target.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")
    return target


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(write_words(Path(argument)))
