"""Record the bundled samples again, after the bundled model has changed.

    python -m benchmarks.bundle            # assets/traces/*.safetensors, words and gate logits
    python -m benchmarks.bundle --dial     # assets/traces/dial alone: the first sample at each
                                           # setting of the model's dial
    python -m benchmarks.bundle --gallery  # assets/traces/gallery alone

The texts, seeds and numbers of new tokens are those of the traces that are there. Traces that knew
what dropping cost know it again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.sample_gates import SAMPLE
from benchmarks.sample_gates import main as write_gates
from dcp.model.registry import OpenModel, open_model
from dcp.runs.recorder import record
from dcp.runs.replay import replay
from dcp.runs.rescore import gates_off
from dcp.trace import Trace
from dcp.ui.explore.examples import EXAMPLES
from dcp.ui.samples import DIAL, FOLDER, load_sample, sample_names, write_words


def again(path: Path) -> Trace:
    """The prompt of the trace at ``path``, read and continued by the bundled model of today."""
    old = Trace.load(path)
    prompt = old.meta.prompt_tokens
    model = open_model("dcp-mini")
    new = record(
        old.meta.text[: int(old.offsets[prompt - 1, 1])],
        model=model,
        new_tokens=old.tokens - prompt,
        seed=old.meta.seed,
        **old.meta.sampling.to_json(),
    )
    return new if old.kl is None else gates_off(model, new)


def write_dial(model: OpenModel) -> None:
    """The first sample's tokens read with the gates off, and at every measured gate shift."""
    trace, _ = load_sample(sample_names()[0])
    DIAL.mkdir(exist_ok=True)
    for path in DIAL.glob("*.safetensors"):
        path.unlink()
    points = sorted(model.info.calibration, key=lambda point: point.sparsity)
    for i, shift in enumerate([None, *dict.fromkeys(point.delta for point in points)]):
        if shift == trace.meta.gate_shift:
            continue
        read = replay(model, trace, gate_shift=shift or 0.0, prune=shift is not None)
        read.save(DIAL / f"{i:02}.safetensors")


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


def write_gallery(model: OpenModel) -> None:
    """Runs to look at, beside the samples that statistics read."""
    folder = FOLDER / "gallery"
    folder.mkdir(exist_ok=True)
    for name, text in TEXTS.items():
        path = folder / f"{name}.safetensors"
        record(text, model=model, new_tokens=64, seed=1).save(path)
        print(write_words(path))


def main() -> None:
    if "--gallery" in sys.argv[1:]:
        write_gallery(open_model("dcp-mini"))
        return
    if "--dial" in sys.argv[1:]:
        write_dial(open_model("dcp-mini"))
        return
    for path in sorted(FOLDER.glob("*.safetensors")):
        again(path).save(path)
        print(write_words(path))
    write_gates(SAMPLE)
    write_dial(open_model("dcp-mini"))
    write_gallery(open_model("dcp-mini"))


if __name__ == "__main__":
    main()
