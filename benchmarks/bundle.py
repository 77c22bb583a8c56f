"""Record the bundled samples again, after a bundled model has changed.

    python -m benchmarks.bundle              # all of dcp-mini: traces, words, gate logits, dial
    python -m benchmarks.bundle --dial       # its first sample at each setting of the dial alone
    python -m benchmarks.bundle --gallery    # assets/traces/gallery alone
    python -m benchmarks.bundle --model smollm2-135m    # assets/traces/smollm2-135m: fewer of each
    python -m benchmarks.bundle --model smollm2-135m --untimed   # on a machine that is at work

The texts, seeds and numbers of new tokens are those of dcp-mini's traces that are there. Traces
that knew what dropping cost know it again. Seconds taken while others use the same cores say
nothing of the model: ``--untimed`` leaves them out, and the pages say that no speed is known.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sample_gates import SAMPLE
from benchmarks.sample_gates import main as write_gates
from dcp.model.gate_config import measured_at
from dcp.model.registry import OpenModel, open_model
from dcp.runs.recorder import record
from dcp.runs.replay import replay
from dcp.runs.rescore import gates_off
from dcp.text.chat import Message, render
from dcp.trace import Trace
from dcp.ui.explore.examples import EXAMPLES
from dcp.ui.samples import FOLDER, folder_of, load_sample, sample_names, write_words

OWN = "dcp-mini"
OTHERS = ("sample", "heldout-1", "heldout-2")
"""What is recorded of another model beside a gallery: a trace of thirty layers is large."""
SETTINGS = 12
"""Most settings of another model's dial, gates off included."""
TEMPERATURE = 0.5
"""Of another model's runs: one that writes sense does so below 1."""
QUESTION = (
    "Why do lighthouses stand on rocks, and what does a lighthouse keeper do all day? Explain it "
    "to a child in four or five sentences."
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


def again(model: OpenModel, path: Path, **changes: Any) -> Trace:
    """The prompt of the trace at ``path``, read and continued by ``model`` of today; ``changes`` to
    how tokens are drawn."""
    old = Trace.load(path)
    prompt = old.meta.prompt_tokens
    new = record(
        old.meta.text[: int(old.offsets[prompt - 1, 1])],
        model=model,
        new_tokens=old.tokens - prompt,
        seed=old.meta.seed,
        **{**old.meta.sampling.to_json(), **changes},
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
    shifts = [None, *(point.delta for point in measured_at(model.info.calibration))]
    kept = np.linspace(0, len(shifts) - 1, min(most or len(shifts), len(shifts))).round()
    for i in kept.astype(int).tolist():
        shift = shifts[i]
        if shift == trace.meta.gate_shift:
            continue
        read = replay(model, trace, gate_shift=shift or 0.0, prune=shift is not None)
        read.save(folder / f"{i:02}.safetensors")


def write_gallery(
    model: OpenModel, names: tuple[str, ...] = tuple(TEXTS), temperature: float = 0.8
) -> None:
    """Runs to look at, beside the samples that statistics read."""
    folder = folder_of(model.info.name) / "gallery"
    folder.mkdir(exist_ok=True)
    for name in names:
        path = folder / f"{name}.safetensors"
        record(TEXTS[name], model=model, new_tokens=64, seed=1, temperature=temperature).save(path)
        print(write_words(path))
    if model.chat_template is not None:
        path = folder / "chat.safetensors"
        asked = render(model.chat_template, [Message("user", QUESTION)])
        record(
            asked, model=model, new_tokens=160, seed=1, temperature=temperature, stop_at_eos=True
        ).save(path)
        print(write_words(path))


def untimed(path: Path) -> None:
    """Leave out how long the run at ``path`` took."""
    trace = Trace.load(path)
    meta = replace(
        trace.meta, prompt_seconds=None, time_to_first_token_s=None, tokens_per_second=None
    )
    unknown = np.full_like(trace.step_seconds, np.nan)
    replace(trace, step_seconds=unknown, meta=meta).save(path)


def write_other(name: str, *, timed: bool) -> None:
    """The samples of another model, of the same texts."""
    model = open_model(name)
    folder = FOLDER / name
    folder.mkdir(exist_ok=True)
    for sample in OTHERS:
        path = folder / f"{sample}.safetensors"
        again(model, FOLDER / f"{sample}.safetensors", temperature=TEMPERATURE).save(path)
        print(write_words(path))
    write_dial(model, SETTINGS)
    write_gallery(model, ("biography", "conversation", "list"), TEMPERATURE)
    if not timed:
        for path in folder.rglob("*.safetensors"):
            untimed(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Record the bundled samples again.")
    parser.add_argument("--model", default=OWN)
    parser.add_argument("--dial", action="store_true")
    parser.add_argument("--gallery", action="store_true")
    parser.add_argument("--untimed", action="store_true")
    asked = parser.parse_args()
    if asked.model != OWN:
        write_other(asked.model, timed=not asked.untimed)
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
