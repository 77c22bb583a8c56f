"""Record the bundled samples again, after the bundled model has changed.

    python -m benchmarks.bundle            # assets/traces/*.safetensors, words and gate logits

The texts, seeds and numbers of new tokens are those of the traces that are there. Traces that knew
what dropping cost know it again.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.sample_gates import SAMPLE
from benchmarks.sample_gates import main as write_gates
from dcp.model.registry import open_model
from dcp.runs.recorder import record
from dcp.runs.rescore import gates_off
from dcp.trace import Trace
from dcp.ui.samples import FOLDER, write_words


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


def main() -> None:
    for path in sorted(FOLDER.glob("*.safetensors")):
        again(path).save(path)
        print(write_words(path))
    write_gates(SAMPLE)


if __name__ == "__main__":
    main()
