"""Gates that drop more early in a text and less late, in closed form, before they learn further.

    python -m benchmarks.early_steps --model smollm2-135m --file train-01.txt.xz --out runs/early

Reads up to 24 beginnings of 1,024 tokens, of documents drawn by seed, pruned at three gate shifts
in turn, and writes an adapter (`dcp.train.early_steps`), its gates in bfloat16; the calibration has
to be measured again. Four minutes of a core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.closed_form import beginnings, changeable, save
from dcp.model.registry import open_model
from dcp.train.early_steps import lean_on_early_steps

_CHARACTERS = 6_000
_WINDOWS, _LENGTH = 24, 1024
_SHIFTS = (-1.0, -2.5, -3.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--slope", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model = open_model(args.model)
    drawn = beginnings(model, args.file, _CHARACTERS, [(_WINDOWS, _LENGTH)], args.seed)
    transformer = changeable(model)
    lean_on_early_steps(transformer, list(drawn), args.slope, _LENGTH, _SHIFTS)
    save(model, transformer, args.out)


if __name__ == "__main__":
    main()
