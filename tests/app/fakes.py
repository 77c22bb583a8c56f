"""A recording without a model, and a model folder without weights: what the app's tests run on."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from dcp.runs.request import TextRequest
from dcp.trace import ALIVE, Meta, Trace
from dcp.ui.explore.examples import EXAMPLES

LAYERS = 4
CONTEXT = 512
_ROW = 320


@dataclass(frozen=True)
class FakeCounters:
    """The counters of `dcp.record.Counters`."""

    tokens: int
    new_tokens: int
    tokens_per_second_now: float | None
    tokens_per_second_mean: float | None
    time_to_first_token_s: float | None
    kv_bytes_live: int
    kv_bytes_held: int
    kv_bytes_dense: int
    process_bytes: int


class FakeRecording:
    """Reads the text as tokens of at most six characters, then repeats it, dropping by seed."""

    def __init__(self, request: TextRequest, leave: Callable[[], bool], pause: float = 0.0) -> None:
        self._leave, self._pause = leave, pause
        self._pieces = re.findall(r"\s*\S{1,6}|\s+$", request.text)
        self._prompt = len(self._pieces)
        written = [" and", " then", " the", " river", ",", " slowly", " rose", "."]
        self._all = self._pieces + [written[i % 8] for i in range(request.new_tokens)]
        self._seed, self._request, self._done = request.seed, request, 0
        rng = np.random.default_rng(request.seed)
        age = rng.geometric(np.geomspace(0.02, 0.3, LAYERS)[:, None], (LAYERS, len(self._all)))
        self._death = np.arange(len(self._all)) + age
        self._margin = -rng.exponential(1.0, self._death.shape).astype(np.float32)

    def __iter__(self) -> Iterator[int]:
        for n in range(self._prompt, len(self._all) + 1):
            if self._leave():
                return
            time.sleep(self._pause)
            self._done = n
            yield n

    def trace(self) -> Trace:
        n = self._done
        queries = max(n - (n > self._prompt), 1)
        text = "".join(self._all[:n])
        ends = np.cumsum([len(piece) for piece in self._all[:n]])
        offsets = np.stack([np.r_[0, ends[:-1]], ends], 1).astype(np.int32)
        death = self._death[:, :n]
        dead = (death < queries) & (np.arange(n) < queries - 1)
        rate = np.full(n, np.nan, np.float32)
        rate[self._prompt :] = 0.01
        logprob = np.full(n, -2.0, np.float32)
        logprob[0] = np.nan
        margin = np.where(dead, self._margin[:, :n], -self._margin[:, :n])
        margin[:, queries - 1 :] = np.nan
        meta = Meta.from_json(
            {
                "format": 1,
                "text": text,
                "prompt_tokens": self._prompt,
                "n_queries": queries,
                "model": "tiny",
                "weights_sha256": "0" * 64,
                "gate_shift": self._request.gate_shift,
                "seed": self._seed,
                "sampling": {"temperature": self._request.temperature, "top_k": 0, "top_p": 1.0},
                "dtype": "float32",
                "device": "cpu",
                "impl": "reference",
                "versions": {"dcp": "0"},
                "memory": self._memory(int((dead == 0).sum()), n),
                **self._who(),
            }
        )
        return Trace(
            token_ids=np.arange(n, dtype=np.int32),
            offsets=offsets,
            death=np.where(dead, death, ALIVE).astype(np.int32),
            margin=margin.astype(np.float32),
            logprob=logprob,
            step_seconds=rate,
            meta=meta,
        )

    def _who(self) -> dict[str, Any]:
        """Who is said to have dropped: the drops are drawn by the seed all the same."""
        asked = self._request
        if asked.policy == "gates" and asked.budget is None:
            return {}
        settings = dict(asked.policy_settings or {})
        return {"policy": asked.policy, "budget": asked.budget, "policy_settings": settings}

    def _memory(self, live: int, n: int) -> dict[str, int]:
        return {
            "kv_bytes_live": live * _ROW,
            "kv_bytes_held": live * _ROW + 1024,
            "kv_bytes_peak": live * _ROW + 2048,
            "kv_bytes_dense": LAYERS * n * 256,
            "row_bytes": _ROW,
            "kv_bytes_per_entry": 256,
        }

    def counters(self) -> FakeCounters:
        memory = self._memory(100, self._done)
        return FakeCounters(
            tokens=self._done,
            new_tokens=self._done - self._prompt,
            tokens_per_second_now=123.0,
            tokens_per_second_mean=111.0,
            time_to_first_token_s=0.042,
            kv_bytes_live=memory["kv_bytes_live"],
            kv_bytes_held=memory["kv_bytes_held"],
            kv_bytes_dense=memory["kv_bytes_dense"],
            process_bytes=300 * 2**20,
        )


def tiny_model(folder: Path) -> Path:
    """A bundled-models folder with one model called "tiny": it can be listed, not opened."""
    home = folder / "tiny"
    home.mkdir(parents=True)
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 400,
        "hidden_size": 32,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "intermediate_size": 64,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
    }
    points = [(-1.5, 0.4), (-0.7, 0.6), (0.0, 0.75), (0.8, 0.9)]
    gates = {
        "format": 1,
        "interaction": 8,
        "delay": 0,
        "calibration": [
            {"delta": d, "context": CONTEXT, "sparsity": s, "perplexity_ratio": 1 + s / 5}
            for d, s in points
        ],
        "shares": {
            "tokens": [2, CONTEXT // 2, CONTEXT],
            "rows": [[d, 0, (1 - d) / 10, (1 - d) / 5] for d, _ in points],
        },
    }
    (home / "config.json").write_text(json.dumps(config))
    embeddings = {"model.embed_tokens.weight": np.zeros((400, 32), np.float32)}
    save_file(embeddings, home / "model.safetensors")
    save_file({"layers.0.beta": np.zeros(1, np.float32)}, home / "dcp.safetensors")
    (home / "dcp_config.json").write_text(json.dumps(gates))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(EXAMPLES.values(), trainer)
    tokenizer.save(str(home / "tokenizer.json"))
    return folder
