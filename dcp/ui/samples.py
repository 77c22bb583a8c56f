"""The bundled runs that the page shows before any model is loaded.

``assets/traces/NAME.safetensors`` is a trace; ``NAME.words.json`` beside it holds its words, so
that the first picture needs no tagger. Make that file with ``python -m dcp.ui.samples TRACE``.
``gallery/`` holds runs to look at that no statistics read, ``dial/`` the first sample's tokens read
at every setting of its model's dial. Names that begin with ``heldout-`` are runs of texts drawn
from held-out data; the text of any other was typed for the app.

These are of the model that is whole. A folder of another model's name holds the same for it.
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

__all__ = [
    *("FOLDER", "folder_of", "held_out", "load_dial", "load_sample", "sample_names"),
    "write_words",
]

FOLDER = asset("traces")
_PARTS = ("dial", "gallery")


def folder_of(model: str | None) -> Path:
    """The folder of a model's samples, ``dial`` and ``gallery`` in it: its own if it has one."""
    own = {path.name: path for path in FOLDER.glob("*/") if path.name not in _PARTS}
    return own.get(model or "", FOLDER)


def sample_names(model: str | None = None) -> list[str]:
    """A model's samples, typed ones before held-out ones; the first is shown at the start.

    A model that has none of its own has those of the model that is whole.
    """
    names = map(_name, folder_of(model).glob("*.safetensors"))
    return sorted(names, key=lambda name: (held_out(name), name))


def _name(path: Path) -> str:
    return path.relative_to(FOLDER).with_suffix("").as_posix()


def held_out(name: str) -> bool:
    """Whether the text of this sample was drawn from held-out data."""
    return name.rpartition("/")[2].startswith("heldout-")


def load_sample(name: str) -> tuple[Trace, list[Word]]:
    """A bundled trace and its words (none where they were not written). Raises TraceError.

    ``gallery/NAME`` is a run of the gallery, which no statistics read; ``MODEL/NAME`` and
    ``MODEL/gallery/NAME`` are another model's.
    """
    if name not in {_name(path) for path in FOLDER.rglob("*.safetensors")}:
        raise TraceError(f"no sample {name!r}: there are {', '.join(sample_names()) or 'none'}")
    words = FOLDER / f"{name}.words.json"
    rows = json.loads(words.read_text(encoding="utf-8")) if words.exists() else []
    return Trace.load(FOLDER / f"{name}.safetensors"), [Word(**row) for row in rows]


@cache
def _dial(folder: Path) -> tuple[Trace, ...]:
    return tuple(Trace.load(path) for path in sorted(folder.glob("*.safetensors")))


def load_dial(trace: Trace) -> dict[float | None, Trace]:
    """Gate shift (None: gates off) -> the tokens of a sample read with it; empty for other runs."""
    return {
        None if read.meta.gates_off else read.meta.gate_shift: read
        for read in _dial(folder_of(trace.meta.model) / "dial")
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
