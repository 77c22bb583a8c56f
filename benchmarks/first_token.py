"""Gates whose dial goes further down: the first token is held on to, in closed form.

    python -m benchmarks.first_token --model smollm2-135m --file train-00.txt.xz --out runs/first

Reads 128 beginnings of 48 tokens and 20 of 512, of documents drawn by seed, and writes an adapter
(`dcp.train.first_token`), its gates in bfloat16; the calibration has to be measured again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from dcp.model.adapter import save_adapter
from dcp.model.checkpoint import GATES
from dcp.model.registry import open_model
from dcp.model.weights import load
from dcp.text.documents import read_documents
from dcp.train.first_token import hold_first_token

_CHARACTERS, _DOCUMENTS = 3_000, 2_000
_SHORT, _LONG = (128, 48), (20, 512)


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
    texts = ("\n".join(each) for each in read_documents(args.file))
    long = list(islice((text for text in texts if len(text) > _CHARACTERS), _DOCUMENTS))
    rng = np.random.default_rng(args.seed)
    windows = []
    for count, length in (_SHORT, _LONG):
        for number in rng.choice(len(long), count, replace=False):
            ids = model.tokenizer.encode(long[number][: 8 * length]).ids[:length]
            if len(ids) == length:
                windows.append(torch.from_numpy(np.asarray(ids, np.int64)))
    # What else the adapter changes stays what it is kept as.
    transformer = load(model.loaded.path, apart=True).transformer
    layers = range(args.first_layer, transformer.config.layers)
    hold_first_token(transformer, windows, args.margin, layers)
    assert model.loaded.gates is not None
    args.out.mkdir(parents=True, exist_ok=True)
    save_adapter(args.out, transformer, replace(model.loaded.gates, calibration=(), shares=None))
    rounded = {name: t.bfloat16() for name, t in load_file(args.out / GATES).items()}
    save_file(rounded, args.out / GATES, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
