"""How far numbers of a written text move with the seed it is written by; same prompt and weights.

    python -m benchmarks.generation_seeds --seeds 12 --out docs/generation_seeds.json

One training run cannot tell what another would give; this tells how much of a number belongs to the
draw of the text alone. A row for each seed: what was dropped, and how soon words of both classes
were (`dcp.stats.drop_table`, words that the model wrote, all layers).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

import dcp
from dcp.model.registry import open_model
from dcp.speech.tagger import load_tagger
from dcp.speech.words import words_of
from dcp.stats import drop_table

PROMPT = (
    "The museum opened in 1901. It was built by a merchant who had made his money in tea, and who "
    "wanted the town to remember him. For the first ten years nobody came."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=None)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--new-tokens", type=int, default=200)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model, tagger = open_model(args.model), load_tagger()
    rows = []
    for seed in range(args.seeds):
        run = dcp.record(PROMPT, model=model, new_tokens=args.new_tokens, seed=seed)
        sample = [(run, words_of(run, tagger))]
        classes = drop_table(sample, "class", source="generated", n_boot=1, pieces="all")
        rows.append(
            {
                "seed": seed,
                "sparsity": run.sparsity_mean_steps(),
                "sparsity_at_end": run.sparsity_at_end(),
                **{f"drop_rate_{name}": _rate(classes, name) for name in _CLASSES},
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    found = {
        "model": model.info.name,
        "weights_sha256": model.loaded.weights_sha256,
        "prompt": PROMPT,
        "new_tokens": args.new_tokens,
        "seeds": rows,
    }
    args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


_CLASSES = ("function", "content")


def _rate(table: pd.DataFrame, group: str) -> float | None:
    (value,) = table[table["group"] == group]["drop_rate"]
    return None if np.isnan(value) else round(float(value), 4)


if __name__ == "__main__":
    main()
