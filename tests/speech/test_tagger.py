"""The bundled tagger: as good as it says, small, and unmoved by awkward text."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dcp.errors import DataError, RequestError
from dcp.speech.tagger import (
    BUNDLED,
    GROUPS,
    UPOS,
    Tagger,
    available_taggers,
    group_of,
    load_tagger,
)
from dcp.speech.training import tagger as training
from dcp.speech.training.treebank import documents, read_conllu
from dcp.speech.words import words_of
from tests.helpers.traces import design_trace

ASSETS = Path(__file__).parents[2] / "assets" / "pos"

CONLLU = """# newdoc id = a
# text = I don't know.
1\tI\tI\tPRON\t_\t_\t0\t_\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\t_\t_\t0\t_\t_\t_
3\tn't\tnot\tPART\t_\t_\t0\t_\t_\t_
4\tknow\tknow\tVERB\t_\t_\t0\t_\t_\tSpaceAfter=No
4.1\tghost\tghost\tVERB\t_\t_\t0\t_\t_\t_
5\t.\t.\tPUNCT\t_\t_\t0\t_\t_\t_

# text = Go home
1\tGo\tgo\tVERB\t_\t_\t0\t_\t_\t_
2\thome\thome\tADV\t_\t_\t0\t_\t_\t_
"""


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return load_tagger()


def test_a_long_stretch_without_white_space_is_cut_and_keeps_its_words() -> None:
    # spaCy alone takes time that grows with the square of it: 74 s for 20,000.
    tagger = load_tagger()
    found = tagger.tag(f"The (old) man {'[' * 1000} slept. {'x' * 1200} isn't.")
    brackets = [(start, end) for start, end, pos in found if pos == "PUNCT"][2:1002]
    assert brackets == [(14 + i, 15 + i) for i in range(1000)]
    assert found[:3] == tagger.tag("The (old) man [ slept.")[:3]
    ends = [end - start for start, end, _ in found[-6:]]
    assert ends == [500, 500, 200, 2, 3, 1]


def test_the_stated_accuracy_meets_the_aim_and_the_folder_the_limit(tagger: Tagger) -> None:
    assert tagger.accuracy is not None
    assert tagger.accuracy >= 0.94
    sizes = [path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()]
    assert max(sizes) <= 9e6
    assert sum(sizes) <= 7e6


def test_a_plain_sentence_gets_the_tags_of_the_textbook(tagger: Tagger) -> None:
    text = "The old man didn't buy 3 small books in Paris, and she laughed."
    words = [(text[a:b], pos) for a, b, pos in tagger.tag(text)]
    assert words == [
        *(("The", "DET"), ("old", "ADJ"), ("man", "NOUN"), ("did", "AUX"), ("n't", "PART")),
        *(("buy", "VERB"), ("3", "NUM"), ("small", "ADJ"), ("books", "NOUN"), ("in", "ADP")),
        *(("Paris", "PROPN"), (",", "PUNCT"), ("and", "CCONJ")),
        *(("she", "PRON"), ("laughed", "VERB"), (".", "PUNCT")),
    ]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "\n\n\t ",
            "🙂",
            "👩\u200d👩\u200d👧 naïve café\u0301",
            "a\u00a0b",
            "x" * 50_000,
        ),
        *("<script>alert(1)</script>", "Don’t “quote” me — ok…", "\ufffd\ufffd", "中文字"),
        *("a  b\n\n\nc", "\x00\x01"),
    ],
)
def test_offsets_are_sorted_inside_the_text_and_never_white_space(
    tagger: Tagger, text: str
) -> None:
    spans = tagger.tag(text)
    end = 0
    for start, stop, pos in spans:
        assert end <= start < stop <= len(text)
        assert text[start:stop].strip()
        assert pos in UPOS
        end = stop
    visible = "".join(text[a:b] for a, b, _ in spans)
    assert visible == "".join(text.split())


def test_pretokenized_words_get_one_tag_each_blank_ones_too(tagger: Tagger) -> None:
    words = ["She", "", "reads", "a", "don't-know", "\t", "book", "."]
    tags = tagger.tag_pretokenized(words)
    assert len(tags) == len(words)
    assert (tags[1], tags[5]) == ("X", "X")
    assert [tags[i] for i in (0, 2, 6, 7)] == ["PRON", "VERB", "NOUN", "PUNCT"]
    assert tagger.tag_pretokenized([]) == []
    assert tagger.tag_pretokenized(["", " "]) == ["X", "X"]


def test_blank_words_do_not_change_the_tags_of_the_others(tagger: Tagger) -> None:
    with_blanks = tagger.tag_pretokenized(["She", "", "reads", " ", "books"])
    assert [with_blanks[i] for i in (0, 2, 4)] == tagger.tag_pretokenized(["She", "reads", "books"])


def test_threads_sharing_a_tagger_get_what_one_thread_gets(tagger: Tagger) -> None:
    texts = [f"Text {i} is about rivers and {i} boats." for i in range(12)]
    expected = [tagger.tag(text) for text in texts]
    found: dict[int, object] = {}

    def work(i: int) -> None:
        found[i] = tagger.tag(texts[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(len(texts))] == expected


def test_the_words_of_the_real_trace_are_tagged_as_english(tagger: Tagger) -> None:
    words = words_of(design_trace(), tagger)
    tags = {word.text: word.pos for word in words if word.complete}
    assert (tags["Nintendo"], tags["the"], tags["18"]) == ("PROPN", "DET", "NUM")
    assert not words[-1].complete


def test_an_unknown_tagger_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match=r"en_core_web_none.*dcp-ewt"):
        load_tagger("en_core_web_none")


def test_the_bundled_tagger_comes_first_and_loads_once() -> None:
    assert available_taggers()[0] == BUNDLED
    assert load_tagger() is load_tagger(BUNDLED)


def test_the_five_groups_share_out_the_seventeen_tags() -> None:
    assert sorted(tag for tags in GROUPS.values() for tag in tags) == sorted(UPOS)
    assert len(UPOS) == 17
    assert group_of("VERB") == "verbal"
    assert group_of("SPACE") == "number-other"


def test_the_pipeline_loads_and_tags_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from dcp.speech.tagger import load_tagger;"
        "assert load_tagger().tag('It rains.')[0] == (0, 2, 'PRON')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- training


@pytest.fixture
def treebank(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.conllu"
    path.write_text((CONLLU + "\n") * 8, encoding="utf-8")
    return path


def test_multiword_tokens_count_as_their_words(treebank: Path) -> None:
    first = read_conllu(treebank)[0]
    assert first.words == ("I", "do", "n't", "know", ".")
    assert first.pos == ("PRON", "AUX", "PART", "VERB", "PUNCT")
    spelled = "".join(w + " " * s for w, s in zip(first.words, first.spaces, strict=True))
    assert spelled.strip() == first.text
    assert [len(run) for run in documents(read_conllu(treebank))] == [2] * 8


def test_training_is_deterministic_and_learns_the_treebank(treebank: Path, tmp_path: Path) -> None:
    command = ["--train", str(treebank), "--dev", str(treebank), "--epochs", "12"]
    for name in ("a", "b"):
        assert training.main([*command, "--out", str(tmp_path / name)]) == 0
    models = [(tmp_path / name / "morphologizer" / "model").read_bytes() for name in ("a", "b")]
    assert models[0] == models[1]
    meta = json.loads((tmp_path / "a" / "meta.json").read_text())
    assert meta["performance"]["pos_acc"] == 1.0
    assert training.main([*command, "--seed", "1", "--out", str(tmp_path / "c")]) == 0
    assert (tmp_path / "c" / "morphologizer" / "model").read_bytes() != models[0]


@pytest.mark.parametrize("content", [b"", b"not\tconllu\n", b"\xff\xfe", None])
def test_a_bad_treebank_is_refused_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "bad.conllu"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_conllu(path)
    assert "\n" not in str(error.value)
