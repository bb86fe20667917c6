"""WebShop's search: numbers worked by hand, the grammar of words, a brute-force scorer, and files that are damaged."""

import math
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import HOSTILE, max_examples

from spa_bench.core import UserError
from spa_bench.environments.webshop import analyzer, search
from spa_bench.environments.webshop.analyzer import terms
from spa_bench.environments.webshop.porter import stem
from spa_bench.environments.webshop.search import NAMES, Index, IndexWriter, length_classes, path

WORDS = ["red", "blue", "shoes", "running", "the", "café", "★", "x" * 300, "a_b", "men's"]
DOCUMENTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join), max_size=12)


def build(folder: Path, documents: list[str], block: int = 50_000, asins: list[str] | None = None) -> Index:
    writer = IndexWriter(folder, block)
    for document in documents:
        writer.add(document)
    writer.finish([f"B{row:09}" for row in range(len(documents))] if asins is None else asins)
    return Index.open(folder)


def brute(documents: list[str], query: str, k: int) -> list[tuple[int, float]]:
    """BM25 one document at a time, ASINs in row order."""
    f32 = np.float32
    bags = [Counter(terms(document)) for document in documents]
    lengths = [sum(bag.values()) for bag in bags]
    filled = sum(length > 0 for length in lengths)
    found = []
    for row, bag in enumerate(bags):
        total, hit = 0.0, False
        for term, times in Counter(terms(query)).items():
            if term in bag:
                hit = True
                n = sum(term in other for other in bags)
                weight = f32(times) * f32(math.log(1 + (filled - n + 0.5) / (n + 0.5)))
                squeezed = max(length for length in length_classes() if length <= lengths[row])
                share = f32(0.4) * f32(squeezed) / f32(sum(lengths) / filled)
                inverse = f32(1) / (f32(0.9) * ((f32(1) - f32(0.4)) + share))
                total += float(weight - weight / (f32(1) + f32(bag[term]) * inverse))
        if hit:
            found.append((row, float(f32(total))))
    return sorted(found, key=lambda hit: -hit[1])[:k]


# Stems and terms


@pytest.mark.parametrize(
    ("word", "stemmed"),
    [
        ("caresses", "caress"), ("ponies", "poni"), ("cats", "cat"), ("feed", "feed"), ("agreed", "agre"),
        ("plastered", "plaster"), ("bled", "bled"), ("motoring", "motor"), ("sing", "sing"), ("conflated", "conflat"),
        ("hopping", "hop"), ("falling", "fall"), ("filing", "file"), ("happy", "happi"), ("sky", "sky"),
        ("relational", "relat"), ("possibly", "possibl"), ("biology", "biologi"), ("triplicate", "triplic"),
        ("adoption", "adopt"), ("replacement", "replac"), ("probate", "probat"), ("rate", "rate"),
        ("is", "is"), ("s", "s"), ("", ""), ("yyyed", "yy"), ("𝐀s", "𝐀"), ("1080p", "1080p"),
    ],
)  # fmt: skip
def test_stems(word: str, stemmed: str) -> None:
    assert stem(word) == stemmed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The women's running shoes, size 7.5", ["women", "run", "shoe", "size", "7.5"]),
        ("o'neil's rock'n'roll", ["o'neil", "rock'n'rol"]),
        ("usb-c 1,000mah 3.5mm wi.fi a.1 v:x", ["usb", "c", "1,000mah", "3.5mm", "wi.fi", "1", "v:x"]),
        ("__init__ ___ a_b _1", ["__init__", "a_b", "_1"]),
        ("★★ sale🎄xmas", ["★", "★", "sale", "🎄", "xma"]),
        ("👩🏽‍🚀 🇫🇷🇩🇪 1️⃣ #️⃣ #", ["👩🏽‍🚀", "🇫🇷", "🇩🇪", "1️⃣", "#️⃣"]),
        ("日本 ひら カタカナ ภาษา", ["日", "本", "ひ", "ら", "カタカナ", "ภาษา"]),
        ("café cafe\u0301 ΣΑΣ İ", ["café", "cafe\u0301", "σασ", "i"]),
        ("צה\"ל א'", ['צה"ל', "א'"]),
        ("\ud800 \x00 a\ud800b", ["b"]),
        ("", []),
    ],
)
def test_terms(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_long_tokens_are_cut_where_lucene_sees_no_further() -> None:
    assert list(map(len, terms("b" * 600))) == [255, 255, 90]
    assert list(map(len, terms("𝐛" * 300))) == [127, 127, 46]
    assert terms("b" * 254 + ".bd") == ["b" * 254, "bd"]
    assert terms("_" * 300 + "b") == ["_" * 254 + "b"]


@given(HOSTILE)
def test_any_text_has_terms(text: str) -> None:
    assert all(term and term.encode() for term in terms(text))


@given(st.binary(max_size=200).map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_any_bytes_have_terms(text: str) -> None:
    assert all(term and term.encode() for term in terms(text))


@pytest.mark.parametrize(
    "unit",
    [
        "a", "1", "_", ".", "a.", "a_.", "1,", "'\"", "😀", "😀\u200d", "\u200d", "😀\ufe0f\u200d", "\u0301", "#\u0301",
        'א"', "א'", "\U0001f1e6", "中", "ก", "\ud800", "é‿", "𝐀", "カ_", "\u200d\u0301", "é ", "‿",
    ],
)  # fmt: skip
@pytest.mark.parametrize("frame", ["{}", "a{}", "é{}", "#{}", "{}a", "{}é"])
@pytest.mark.timeout(60)
def test_time_is_linear_in_hostile_text(unit: str, frame: str) -> None:
    """40,000 characters take well below a second; with squares in them they would take minutes."""
    assert len(terms(frame.format(unit * (40_000 // len(unit))))) <= 40_001


# Scores


def test_a_score_worked_by_hand(tmp_path: Path) -> None:
    """Three documents of 2, 2 and 45 terms, 49 / 3 on average; 45 counts as 44, the longest length kept below it."""
    index = build(tmp_path, ["red shoe", "red hat", "blue" + " shoe" * 44])
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    short = idf * (1 - 1 / (1 + 1 / (0.9 * (0.6 + 0.4 * 2 / (49 / 3)))))
    long = idf * (1 - 1 / (1 + 44 / (0.9 * (0.6 + 0.4 * 44 / (49 / 3)))))
    assert length_classes()[44 - 2] == 44 and length_classes()[43] == 46
    assert [row for row, _ in index.scored("shoes")] == [2, 0]
    assert [score for _, score in index.scored("shoes")] == pytest.approx([long, short], rel=1e-6)
    assert [score for _, score in index.scored("shoe shoes")] == pytest.approx([2 * long, 2 * short], rel=1e-6)


def test_ties_go_by_asin_and_k_bounds_them(tmp_path: Path) -> None:
    index = build(tmp_path, ["red", "red", "blue", "red"], asins=["C", "A", "B", "B0"])
    assert index.top("red") == [1, 3, 0]
    assert index.top("red", 2) == [1, 3]
    assert index.top("red", 0) == index.top("the green") == index.top("") == []


def test_lengths_are_kept_as_lucene_keeps_them() -> None:
    classes = length_classes()
    assert classes[:42].tolist() == [*range(41), 42]
    assert (np.diff(classes) > 0).all() and classes[255] == 24 + (15 << 27)


@max_examples(40)
@given(
    documents=DOCUMENTS,
    query=st.lists(st.sampled_from([*WORDS, "green"]), max_size=6).map(" ".join),
    k=st.integers(0, 9),
)
def test_the_best_are_those_of_a_brute_force_scorer(
    tmp_path_factory: pytest.TempPathFactory, documents: list[str], query: str, k: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "GROUP", 2)
        assert build(tmp_path_factory.mktemp("index"), documents).scored(query, k) == brute(documents, query, k)


@max_examples(30)
@given(documents=DOCUMENTS, block=st.integers(1, 5), chunk=st.integers(1, 20))
def test_the_block_does_not_show_in_the_files(
    tmp_path_factory: pytest.TempPathFactory, documents: list[str], block: int, chunk: int
) -> None:
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    build(one, documents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "CHUNK", chunk)
        build(other, documents, block)
    assert sorted(file.name for file in other.iterdir()) == sorted(f"{name}.npy" for name in NAMES)
    assert all(path(one, name).read_bytes() == path(other, name).read_bytes() for name in NAMES)


def test_codes_may_be_wide(tmp_path: Path) -> None:
    """As they are written for more than 65,536 pairs."""
    expected = build(tmp_path, ["red " * n for n in range(1, 9)]).scored("red")
    narrow = np.array(np.load(path(tmp_path, "codes")))
    assert narrow.dtype == np.uint16
    path(tmp_path, "codes").unlink()
    np.save(path(tmp_path, "codes"), narrow.astype(np.uint32))
    assert Index.open(tmp_path).scored("red") == expected


@max_examples(50)
@given(query=HOSTILE)
def test_any_query_has_an_answer(tmp_path_factory: pytest.TempPathFactory, query: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-query"
    index = Index.open(folder) if folder.is_dir() else build(folder, ["red shoe", "", "blue 0 a b c"])
    assert all(0 <= row < 3 for row in index.top(query))


def test_nothing_to_find(tmp_path: Path) -> None:
    assert build(tmp_path / "none", []).top("red") == []
    assert build(tmp_path / "empty", ["", "the", "!"]).top("red the") == []


def test_there_is_one_asin_for_each_document(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 ASINs for 1 documents"):
        build(tmp_path, ["red"], asins=["A", "B"])


def test_where_nothing_can_be_written_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the search index"):
        IndexWriter(tmp_path / "file" / "index")


# Damage


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sound")
    build(folder, ["red shoe", "blue shoe", "red red hat"])
    return {name: path(folder, name).read_bytes() for name in NAMES}


def damaged(folder: Path, files: dict[str, bytes], name: str, data: bytes) -> None:
    for other, content in files.items():
        path(folder, other).write_bytes(data if other == name else content)
    Index.open(folder).top("red shoe hat")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_missing_cut_off_or_longer_is_named(tmp_path: Path, sound: dict[str, bytes], name: str) -> None:
    for data in (
        b"",
        sound[name][:70],
        sound[name][:-1],
        sound[name] + b"\0",
        b"PK\x03\x04" + sound[name],
        b"\0" * 500,
    ):
        with pytest.raises(UserError, match=rf"{name}\.npy.* build the catalogue again"):
            damaged(tmp_path, sound, name, data)
    path(tmp_path, name).unlink()
    with pytest.raises(UserError, match=rf"no file .*{name}\.npy: build the catalogue again"):
        Index.open(tmp_path)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("counts", np.array([9, 9])), ("counts", np.array([0, 0])), ("counts", np.array([-1, 7])),
        ("ranks", np.array([0, 1, 3], "i4")), ("ranks", np.array([0, -1, 2], "i4")), ("ranks", np.array([0, 1, 2])),
        ("term_ends", np.array([0, 9, 4, 7, 14])), ("term_ends", np.array([], int)), ("terms", np.zeros(0, "u1")),
        ("spans", np.array([[0, 2], [2, 4], [4, 5], [5, 99]])), ("spans", np.array([[0, 2], [2, 4], [4, 4], [5, 6]])),
        ("spans", np.asfortranarray(np.array([[0, 2], [2, 4], [4, 5], [5, 6]]))),
        ("documents", np.full(6, 3, "i4")), ("documents", np.full(6, -1, "i4")), ("documents", np.zeros(5, "i4")),
        ("codes", np.full(6, 9, "u2")), ("codes", np.zeros(6, "f2")), ("pairs", np.array([-1, 0])),
        ("pairs", np.array([], int)), ("codes", np.array(["a"] * 6, object)),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_each_other_are_an_error(
    tmp_path: Path, sound: dict[str, bytes], name: str, values: np.ndarray
) -> None:
    np.save(tmp_path / "new", values, allow_pickle=True)
    with pytest.raises(UserError, match="build the catalogue again"):
        damaged(tmp_path, sound, name, (tmp_path / "new.npy").read_bytes())


@max_examples(120)
@given(name=st.sampled_from(NAMES), at=st.integers(0, 1000), value=st.integers(0, 255))
def test_a_changed_byte_gives_an_answer_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, sound: dict[str, bytes], name: str, at: int, value: int
) -> None:
    data = bytearray(sound[name])
    data[at % len(data)] = value
    folder = tmp_path_factory.getbasetemp() / "changed"
    folder.mkdir(exist_ok=True)
    try:
        damaged(folder, sound, name, bytes(data))
    except UserError as error:
        assert "build the catalogue again" in str(error) and "\n" not in str(error)


@given(st.lists(st.sampled_from(["a", "b1", "_", "'", ".", ",", "7"]), min_size=1, max_size=5), st.integers(0, 999))
def test_a_long_word_is_cut_alike_whether_or_not_all_of_the_text_is_ascii(parts: list[str], seed: int) -> None:
    text = "".join(random.Random(seed).choices(parts, k=400))
    assert [*terms(text), *terms("\u00e9")] == terms(f"{text} \u00e9")


class Counted:
    """A pattern, and how many characters it was given."""

    def __init__(self, pattern: Any) -> None:
        self.pattern, self.read = pattern, 0

    def findall(self, text: str, start: int = 0, end: int = sys.maxsize) -> list[str]:
        self.read += min(end, len(text)) - start
        return self.pattern.findall(text, start, end)

    def match(self, text: str, start: int, end: int) -> Any:
        self.read += min(end, len(text)) - start
        return self.pattern.match(text, start, end)

    def search(self, text: str, start: int, end: int = sys.maxsize) -> Any:
        found = self.pattern.search(text, start, end)
        self.read += (found.end() if found else min(end, len(text))) - start
        return found


@pytest.mark.parametrize(
    ("word", "pieces", "times"),
    [
        ("a1", 118, 2),
        ("ab", 118, 2),
        ("\u00e9", 118, 2),
        ("a1\u00e9", 118, 2),
        ("_", 0, 1),
        ("a" + "\u0301" * 299, 100, 4),
    ],
)
def test_a_word_of_any_length_is_read_a_few_times_and_by_the_fast_pattern_where_it_can(
    word: str, pieces: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, slow = Counted(analyzer._ASCII), Counted(analyzer._UNICODE)
    monkeypatch.setattr(analyzer, "_ASCII", fast)
    monkeypatch.setattr(analyzer, "_UNICODE", slow)
    text = word * (30_000 // len(word))
    assert len(terms(text)) == pieces
    assert fast.read + slow.read <= times * len(text)
    assert (slow.read == 0) == text.isascii()


@pytest.mark.parametrize("word", ["a", "\u00e9"])
def test_connectors_alone_beside_a_long_word_are_no_term(word: str) -> None:
    """They ended the search, and with it the run."""
    assert terms(f"{word * 300} _ \u203f cat") == [word * 255, word * 45, "cat"]
