"""Gates whose dial goes further down: the first token is held on to, in closed form.

    python -m benchmarks.first_token --model smollm2-135m --file train-00.txt.xz --out runs/first

Reads 128 beginnings of 48 tokens and 20 of 512, of documents drawn by seed, and writes an adapter
(`dcp.train.first_token`), its gates in bfloat16; the calibration has to be measured again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.closed_form import beginnings, changeable, save
from dcp.model.registry import open_model
from dcp.train.first_token import hold_first_token

_CHARACTERS = 3_000
_SIZES = [(128, 48), (20, 512)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--margin", type=float, default=9.0)
    parser.add_argument("--first-layer", type=int, default=2, help="below it nothing is changed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model = open_model(args.model)
    windows = list(beginnings(model, args.file, _CHARACTERS, _SIZES, args.seed))
    transformer = changeable(model)
    layers = range(args.first_layer, transformer.config.layers)
    hold_first_token(transformer, windows, args.margin, layers)
    save(model, transformer, args.out)


if __name__ == "__main__":
    main()
