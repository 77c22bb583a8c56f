"""Record the bundled samples again, after a bundled model has changed.

    python -m benchmarks.bundle              # all of dcp-mini: traces, words, gate logits, dial
    python -m benchmarks.bundle --dial       # its first sample at each setting of the dial alone
    python -m benchmarks.bundle --gallery    # assets/traces/gallery alone
    python -m benchmarks.bundle --model smollm2-135m    # assets/traces/smollm2-135m: fewer of each

The texts, seeds and numbers of new tokens are those of dcp-mini's traces that are there. Traces
that knew what dropping cost know it again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.sample_gates import SAMPLE
from benchmarks.sample_gates import main as write_gates
from dcp.model.registry import OpenModel, open_model
from dcp.runs.recorder import record
from dcp.runs.replay import replay
from dcp.runs.rescore import gates_off
from dcp.text.chat import Message, render
from dcp.trace import Trace
from dcp.ui.explore.examples import EXAMPLES
from dcp.ui.samples import FOLDER, folder_of, load_sample, sample_names, write_words

OWN = "dcp-mini"
OTHERS = ("sample", "heldout-1")
"""What is recorded of another model beside a gallery: a trace of thirty layers is large."""
SETTINGS = 9
"""Most settings of another model's dial, gates off included."""
QUESTION = (
    "A train leaves Jena at 9:15 and reaches Leipzig at 10:27. Emilia has a meeting in Leipzig at "
    "11:00, twenty minutes from the station. Is she in time?"
)
TEXTS = {
    "biography": EXAMPLES["A short biography"],
    "news": EXAMPLES["Local news"],
    "conversation": EXAMPLES["A conversation"],
    "recipe": EXAMPLES["A recipe"],
    "list": (
        "Monday: bread, milk, eggs. Tuesday: bread, butter, two lemons. Wednesday: bread, rice, "
        "beans. Thursday: bread, milk, apples. Friday: bread, fish, potatoes. Saturday: bread, "
        "cheese, wine. Sunday: bread,"
    ),
}
"""The gallery's own runs: name of the file -> text."""


def again(model: OpenModel, path: Path) -> Trace:
    """The prompt of the trace at ``path``, read and continued by ``model`` of today."""
    old = Trace.load(path)
    prompt = old.meta.prompt_tokens
    new = record(
        old.meta.text[: int(old.offsets[prompt - 1, 1])],
        model=model,
        new_tokens=old.tokens - prompt,
        seed=old.meta.seed,
        **old.meta.sampling.to_json(),
    )
    return new if old.kl is None else gates_off(model, new)


def write_dial(model: OpenModel, most: int | None = None) -> None:
    """The first sample's tokens read with the gates off, and at every measured gate shift, or at
    ``most`` settings in all, evenly among them."""
    trace, _ = load_sample(sample_names(model.info.name)[0])
    folder = folder_of(model.info.name) / "dial"
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    points = sorted(model.info.calibration, key=lambda point: point.sparsity)
    shifts = [None, *dict.fromkeys(point.delta for point in points)]
    kept = np.linspace(0, len(shifts) - 1, min(most or len(shifts), len(shifts))).round()
    for i in kept.astype(int).tolist():
        shift = shifts[i]
        if shift == trace.meta.gate_shift:
            continue
        read = replay(model, trace, gate_shift=shift or 0.0, prune=shift is not None)
        read.save(folder / f"{i:02}.safetensors")


def write_gallery(model: OpenModel, names: tuple[str, ...] = tuple(TEXTS)) -> None:
    """Runs to look at, beside the samples that statistics read."""
    folder = folder_of(model.info.name) / "gallery"
    folder.mkdir(exist_ok=True)
    for name in names:
        path = folder / f"{name}.safetensors"
        record(TEXTS[name], model=model, new_tokens=64, seed=1).save(path)
        print(write_words(path))
    if model.chat_template is not None:
        path = folder / "chat.safetensors"
        asked = render(model.chat_template, [Message("user", QUESTION)])
        record(asked, model=model, new_tokens=160, seed=1, stop_at_eos=True).save(path)
        print(write_words(path))


def write_other(name: str) -> None:
    """The samples of another model, of the same texts."""
    model = open_model(name)
    folder = FOLDER / name
    folder.mkdir(exist_ok=True)
    for sample in OTHERS:
        path = folder / f"{sample}.safetensors"
        again(model, FOLDER / f"{sample}.safetensors").save(path)
        print(write_words(path))
    write_dial(model, SETTINGS)
    write_gallery(model, ("biography", "conversation", "list"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Record the bundled samples again.")
    parser.add_argument("--model", default=OWN)
    parser.add_argument("--dial", action="store_true")
    parser.add_argument("--gallery", action="store_true")
    asked = parser.parse_args()
    if asked.model != OWN:
        write_other(asked.model)
        return
    model = open_model(OWN)
    if not asked.dial and not asked.gallery:
        for path in sorted(FOLDER.glob("*.safetensors")):
            again(model, path).save(path)
            print(write_words(path))
        write_gates(SAMPLE)
    if not asked.gallery:
        write_dial(model)
    if not asked.dial:
        write_gallery(model)


if __name__ == "__main__":
    main()
