"""What people do with ``generate()``: it works, or one line says why it cannot."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoTokenizer,
    DynamicCache,
    StaticCache,
    TextIteratorStreamer,
    pipeline,
)

import dcp.hf
from dcp.errors import DcpError, ModelError, RequestError
from dcp.hf.layers import rows_of
from tests.helpers.hf_runs import NEW, PROMPTS, batch_of, greedy, model_of

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}<assistant>{% endif %}"
IDS = torch.tensor([PROMPTS[0]])


@pytest.fixture
def folder(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("llama", drop=0.3)


@pytest.fixture
def model(folder: Path) -> Any:
    return dcp.hf.prune(model_of(folder), folder)


@pytest.fixture
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder, pad_token="<|endoftext|>", padding_side="left")


def test_a_pipeline_chats_and_reads_batches(model: Any, tokenizer: Any) -> None:
    tokenizer.chat_template = TEMPLATE
    write = pipeline("text-generation", model=model, tokenizer=tokenizer, device="cpu")
    options = {"max_new_tokens": NEW, "do_sample": False, "return_full_text": False}
    chat = [{"role": "user", "content": "Who built the museum?"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
    expected = model.generate(**ids, max_new_tokens=NEW, do_sample=False)
    said = tokenizer.decode(expected[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    assert write(chat, **options)[0]["generated_text"] == said
    texts = ["The museum opened in 1901.", "Snow"]
    together = write(texts, batch_size=2, **options)
    alone = [write(text, **options)[0] for text in texts]
    assert [found[0] for found in together] == alone


def test_turns_of_a_chat_go_on_from_their_cache(model: Any, tokenizer: Any) -> None:
    tokenizer.chat_template = TEMPLATE
    made, chat = dcp.hf.cache(model), []
    for question in ("Who built it?", "When?", "Why there?"):
        chat.append({"role": "user", "content": question})
        inputs = tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_tensors="pt"
        )
        out = model.generate(**inputs, max_new_tokens=NEW, do_sample=False, past_key_values=made)
        # Tokens of the answer do not read back as themselves, so the template is given text.
        answer = tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert made.get_seq_length() == out.shape[1] - 1
        rows: Any = rows_of(made)
        assert rows is not None
        assert rows.ids[0] == out[0, :-1].tolist()
        fresh = dcp.hf.cache(model)
        logits = model(out, past_key_values=fresh).logits[:, -1]
        assert torch.allclose(
            model(out[:, -1:], past_key_values=copy.deepcopy(made)).logits[:, -1], logits, atol=1e-4
        )
        if any(token > 127 for token in out[0].tolist()):
            break
        chat.append({"role": "assistant", "content": answer})


def test_streams_in_threads_of_their_own(model: Any, tokenizer: Any) -> None:
    inputs = tokenizer("The museum opened", return_tensors="pt")
    options = {**inputs, "max_new_tokens": NEW, "do_sample": False}
    expected = tokenizer.decode(model.generate(**options)[0])
    said: dict[int, str] = {}

    def listen(name: int) -> None:
        streamer = TextIteratorStreamer(tokenizer)
        writer = threading.Thread(target=model.generate, kwargs={**options, "streamer": streamer})
        writer.start()
        said[name] = "".join(streamer)
        writer.join()

    listeners = [threading.Thread(target=listen, args=(i,)) for i in range(3)]
    for thread in listeners:
        thread.start()
    for thread in listeners:
        thread.join()
    assert list(said.values()) == [expected] * 3


def test_beams_sampling_and_several_sequences(folder: Path, model: Any) -> None:
    dense = model_of(folder)
    options = {"num_beams": 3, "num_return_sequences": 2}
    inputs = batch_of(PROMPTS[:2])
    given = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0, **options}
    dcp.hf.prune(model, folder, gate_shift=100.0)
    # Nothing is dropped at this shift: the beams are those of the dense model.
    assert torch.equal(model.generate(**inputs, **given), dense.generate(**inputs, **given))
    dcp.hf.prune(model, folder)
    torch.manual_seed(0)
    out = model.generate(**inputs, max_new_tokens=NEW, do_sample=True, pad_token_id=0, **options)
    assert out.shape[0] == 4
    # A beam's logits are those of its own tokens read alone, whatever beams it came from.
    made = dcp.hf.cache(model)
    best = model.generate(IDS, past_key_values=made, **given)[:1]
    rows: Any = rows_of(made)
    assert rows is not None
    for beam, ids in enumerate(rows.ids):
        alone = model(torch.tensor([ids])).logits[0, -1]
        assert rows.last is not None
        assert torch.allclose(rows.last[beam], alone, atol=1e-4)
    assert best.shape[1] == IDS.shape[1] + NEW


def test_a_prompt_read_once_is_continued_in_several_ways(model: Any) -> None:
    made = dcp.hf.cache(model)
    model(IDS[:, :20], past_key_values=made)
    for seed in range(3):
        more = torch.randint(0, 256, (1, 7), generator=torch.Generator().manual_seed(seed))
        ids = torch.cat([IDS[:, :20], more], dim=1)
        fresh = model(ids).logits[:, -1]
        copied = copy.deepcopy(made)
        again = model(more, past_key_values=copied).logits[:, -1]
        assert torch.allclose(again, fresh, atol=1e-4)
    assert made.get_seq_length() == 20
    made.batch_repeat_interleave(2)
    assert model(IDS[:, 20:].repeat(2, 1), past_key_values=made).logits.shape[0] == 2
    made.reset()
    assert made.get_seq_length() == 0
    assert torch.equal(model(IDS, past_key_values=made).logits, model(IDS).logits)


def test_a_copy_of_a_model_is_pruned_and_restored_by_itself(folder: Path, model: Any) -> None:
    dense = greedy(model_of(folder), PROMPTS)
    other = copy.deepcopy(model)
    assert greedy(other, PROMPTS) == greedy(model, PROMPTS) != dense
    assert greedy(dcp.hf.restore(other), PROMPTS) == dense
    assert greedy(model, PROMPTS) != dense


def test_pruned_gives_back_what_was_there(folder: Path, model: Any) -> None:
    before = greedy(model, PROMPTS)
    with dcp.hf.pruned(model, policy="window", budget=3):
        assert greedy(model, PROMPTS) != before
    assert greedy(model, PROMPTS) == before
    with pytest.raises(RuntimeError, match="mine"), dcp.hf.pruned(model, folder, gate_shift=9.0):
        raise RuntimeError("mine")
    assert greedy(model, PROMPTS) == before
    dense = greedy(model_of(folder), PROMPTS)
    assert greedy(dcp.hf.restore(model), PROMPTS) == dense


def test_the_model_may_change_its_dtype(model: Any) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        model(IDS)
    made = dcp.hf.cache(model.to(torch.bfloat16))
    model(IDS, past_key_values=made)
    rows: Any = rows_of(made)
    assert rows is not None
    assert rows.dtype == torch.bfloat16
    assert [slots.dtype for slots in rows.cache.rows(0)] == [torch.bfloat16] * 3
    # Half the bytes: what a trace says of memory goes with it.
    assert rows.cache.memory(0).live == sum(s.count * s.entry_bytes for s in rows.cache.rows(0))


def test_a_cut_off_call_leaves_no_cache_that_lies(model: Any, monkeypatch: Any) -> None:
    made = dcp.hf.cache(model)
    model(IDS[:, :5], past_key_values=made)

    def cut(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(model.lm_head, "forward", cut)
    with pytest.raises(KeyboardInterrupt):
        model(IDS[:, 5:], past_key_values=made)
    monkeypatch.undo()
    with pytest.raises(RequestError, match="cut off"):
        model(IDS[:, 5:], past_key_values=made)
    with pytest.raises(RequestError, match="cut off"):
        dcp.hf.save_cache(model, made, "nowhere")
    with pytest.raises(RequestError, match="cut off"):
        dcp.hf.trace(model, None)
    assert model(IDS).logits.isfinite().all()


def test_right_padding_is_no_row_either(model: Any) -> None:
    ids = torch.tensor([PROMPTS[1] + [0] * 4, PROMPTS[0][:15]])
    mask = (torch.arange(15) < torch.tensor([[11], [15]])).long()
    made = dcp.hf.cache(model)
    logits = model(ids, attention_mask=mask, past_key_values=made).logits
    alone = model(torch.tensor([PROMPTS[1]])).logits
    assert torch.allclose(logits[:1, :11], alone, atol=1e-4)
    rows: Any = rows_of(made)
    assert rows is not None
    assert [len(row) for row in rows.ids] == [11, 15]
    assert rows.last is not None
    assert torch.allclose(rows.last[0], alone[0, -1], atol=1e-4)


def test_what_cannot_work_is_refused_before_it_goes_wrong(folder: Path, model: Any) -> None:
    plain, old = model_of(folder), dcp.hf.cache(model)
    model(IDS, past_key_values=old)
    dcp.hf.prune(model, folder)
    filled = DynamicCache()
    plain(IDS, past_key_values=filled)
    compiled = copy.deepcopy(plain)
    compiled.compile(backend="eager")
    made = dcp.hf.cache(model)
    model(IDS, past_key_values=made)
    static = StaticCache(config=model.config, max_cache_len=64)

    def generate(**options: Any) -> Callable[[], Any]:
        given = {"max_new_tokens": NEW, "do_sample": False, **options}
        return lambda: model.generate(IDS, **given)

    def read(ids: Any = IDS, **options: Any) -> Callable[[], Any]:
        return lambda: model(ids, **options)

    prune = dcp.hf.prune
    refused: list[tuple[type[DcpError], str, Callable[[], Any]]] = [
        (RequestError, "not pruned", lambda: dcp.hf.cache(plain)),
        (RequestError, "needs a checkpoint", lambda: prune(plain)),
        (RequestError, "needs a budget", lambda: prune(plain, policy="h2o")),
        (RequestError, "at least 5", lambda: prune(plain, policy="sink", budget=2)),
        (RequestError, "1 entry", lambda: prune(plain, policy="tova", budget=0)),
        (RequestError, "whole number", lambda: prune(plain, policy="tova", budget="9")),
        (RequestError, "unknown policy", lambda: prune(plain, policy="best", budget=2)),
        (RequestError, "instruction", lambda: prune(plain, policy="citrus-shared", budget=20)),
        (RequestError, "finite number", lambda: prune(plain, folder, gate_shift=float("nan"))),
        (RequestError, "finite number", lambda: prune(plain, folder, sparsity="most")),
        (RequestError, "not both", lambda: prune(plain, folder, sparsity=0.5, gate_shift=1.0)),
        (RequestError, "no calibration", lambda: prune(plain, folder, sparsity=0.5)),
        (RequestError, "transformers model", lambda: prune(None, folder)),
        (RequestError, "transformers model", lambda: prune("gpt2", folder)),
        (RequestError, "compiled", lambda: prune(torch.compile(plain, backend="eager"), folder)),
        (RequestError, "compiled", lambda: prune(compiled, folder)),
        (ModelError, "not for this model", lambda: prune(plain, "dcp-mini")),
        (ModelError, "no model", lambda: prune(plain, "nowhere")),
        (RequestError, "no run to trace", lambda: dcp.hf.trace(plain, None)),
        (RequestError, "fast tokenizer", lambda: dcp.hf.trace(model, None)),
        (RequestError, "no sequence 5", lambda: dcp.hf.trace(model, None, row=5)),
        (RequestError, "assisted decoding", generate(prompt_lookup_num_tokens=3)),
        (RequestError, "assisted decoding", generate(assistant_model=plain)),
        (RequestError, "cache_implementation", generate(cache_implementation="static")),
        (RequestError, "cache_implementation", generate(cache_implementation="offloaded")),
        (RequestError, "StaticCache", generate(past_key_values=static)),
        (RequestError, "not pruned", read(past_key_values=filled)),
        (RequestError, "other settings", read(past_key_values=old)),
        (RequestError, "holds 1 sequences", read(IDS.repeat(2, 1), past_key_values=made)),
        (RequestError, "do not fit", read(torch.ones(1, 300, dtype=torch.long))),
        (RequestError, "mask of padding", read(attention_mask=torch.ones(1, 1, 9, 9))),
        (RequestError, "no attention weights", read(output_attentions=True)),
        (RequestError, "not embeddings", lambda: model(inputs_embeds=torch.zeros(1, 3, 32))),
        (RequestError, "a part", lambda: model.model(IDS)),
        (RequestError, "cannot be trained", lambda: model(IDS, labels=IDS).loss.backward()),
        (RequestError, "this model is not pruned", lambda: plain(IDS, past_key_values=made)),
    ]
    for kind, message, call in refused:
        with pytest.raises(kind, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    # None of this has spoilt anything.
    assert made.get_seq_length() == IDS.shape[1]
    assert model(IDS[:, :3], past_key_values=made).logits.isfinite().all()
    model.compile(backend="eager")
    with pytest.raises(RequestError, match="compiled"):
        generate()()
