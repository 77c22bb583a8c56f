"""The bundled runs that the page shows before any model is loaded.

``assets/traces/NAME.safetensors`` is a trace; ``NAME.words.json`` beside it holds its words, so
that the first picture needs no tagger. Make that file with ``python -m dcp.ui.samples TRACE``.
Names that begin with ``heldout-`` are runs of texts drawn from held-out data; the text of any other
was typed for the app.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from dcp.errors import TraceError
from dcp.resources import asset
from dcp.speech.words import Word
from dcp.trace import Trace

__all__ = ["FOLDER", "held_out", "load_sample", "sample_names", "write_words"]

FOLDER = asset("traces")


def sample_names() -> list[str]:
    """The bundled samples, typed ones before held-out ones; the first is shown at the start."""
    names = (path.stem for path in FOLDER.glob("*.safetensors"))
    return sorted(names, key=lambda name: (held_out(name), name))


def held_out(name: str) -> bool:
    """Whether the text of this sample was drawn from held-out data."""
    return name.startswith("heldout-")


def load_sample(name: str) -> tuple[Trace, list[Word]]:
    """A bundled trace and its words (none where they were not written). Raises TraceError."""
    if name not in sample_names():
        raise TraceError(f"no sample {name!r}: there are {', '.join(sample_names()) or 'none'}")
    words = FOLDER / f"{name}.words.json"
    rows = json.loads(words.read_text(encoding="utf-8")) if words.exists() else []
    return Trace.load(FOLDER / f"{name}.safetensors"), [Word(**row) for row in rows]


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
