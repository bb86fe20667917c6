"""The shop's search engine: BM25 with the very scores and order of Lucene under Anserini's defaults.

An index is a folder of arrays that processes share by mapping them: documents in rows, their terms in posting lists.
Contributions of terms are float32, their sum is float64 and rounded to float32 once, ties go by ASIN.

Formulas: S. Robertson, H. Zaragoza, "The Probabilistic Relevance Framework", 2009, as in Lucene's `BM25Similarity`; the
constants are Anserini's defaults, which upstream never changes; lengths as in Lucene's `SmallFloat.intToByte4`.
Separate from the catalogue, which knows products and no terms.
"""

from __future__ import annotations

import math
import shutil
import tokenize
import zipfile
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa_bench.core import UserError
from spa_bench.environments.webshop.analyzer import terms
from spa_bench.files import TEMPORARY

K1 = np.float32(0.9)
"""How soon repetitions of a term stop counting."""
B = np.float32(0.4)
"""How much a long document is marked down."""

FIX = "build the catalogue again"

BYTE = 256
"""Values of a document's length class."""
GROUP = 256
"""Rows of which the best score is looked at, to find a bound below which no row can be among the best."""
FAINTEST = 1e-300
"""Stands for a contribution that float32 rounds to nothing: the document is found, and its score does not change."""

CHUNK = 1 << 22
"""Postings that a writer holds at once, or one document's or term's when these are more."""

_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    OverflowError,
    EOFError,
    SyntaxError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,
    zipfile.BadZipFile,
)
"""What NumPy raises over files that are missing, cut off, or no arrays."""

Array = NDArray[Any]
Check = Callable[[str, int, int], None]


def length_classes() -> NDArray[np.float32]:
    """The 256 lengths that Lucene tells apart, `(256,)`, rising: a document has the longest that is not beyond its own.

    Up to 40 every length is kept, then only three bits behind the first.
    """
    exact = 24  # 255 - 231, where 231 classes of the form below reach 2**31
    rough = [c if c < 8 else (8 | c & 7) << (c >> 3) - 1 for c in range(BYTE - exact)]
    return np.array([*range(exact), *(exact + length for length in rough)], np.float32)


@dataclass(frozen=True)
class Files:
    """The arrays of an index. N documents, T terms, P postings, L bytes of text, C codes."""

    counts: Array
    """int64 `(2,)`: documents with at least one term, and terms in all documents."""
    ranks: Array
    """int32 `(N,)`: place of each row in the order of ASINs."""
    terms: Array
    """uint8 `(L,)`: the terms in UTF-8, sorted, with nothing between them."""
    term_ends: Array
    """int64 `(T + 1,)`: where each term begins in `terms`, and the end of the last."""
    spans: Array
    """int64 `(T, 2)`: first posting of each term and the one behind its last; lists lie in order of first mention."""
    documents: Array
    """int32 `(P,)`: rows, rising within a list."""
    codes: Array
    """uint16 `(P,)`, or uint32 where that is too small: entry of `pairs` for each posting."""
    pairs: Array
    """int64 `(C,)`: 256 x how often the term occurs in the document + the document's length class; rising."""


NAMES = tuple(Files.__dataclass_fields__)
LISTS = ("documents", "codes")
"""What has an entry for each posting."""
_KINDS = {
    "counts": ("<i8", (2,)),
    "ranks": ("<i4", (None,)),
    "terms": ("|u1", (None,)),
    "term_ends": ("<i8", (None,)),
    "spans": ("<i8", (None, 2)),
    "documents": ("<i4", (None,)),
    "codes": ("<u2 <u4", (None,)),
    "pairs": ("<i8", (None,)),
}
"""dtypes and shapes by name of file."""


class Index:
    """A searchable index. Opening reads a few megabytes; postings are read where a query needs them."""

    def __init__(self, folder: Path, files: Files, check: Check | None = None) -> None:
        self.folder = folder
        self._files = files
        self._check = check
        self._heads = {name: path(folder, name).stat().st_size - getattr(files, name).nbytes for name in LISTS}
        self._texts = _Texts(files)
        with_terms, total = map(int, files.counts)
        average = np.float32(total / max(with_terms, 1))
        self._found_in = with_terms
        # 1 + tf / (k1 (1 - b + b length / average)) of each code, in Lucene's own order of float32 operations.
        one = np.float32(1)
        inverse = one / (K1 * ((one - B) + B * length_classes() / max(average, one)))
        times, length_class = np.divmod(np.asarray(files.pairs), BYTE)
        self._saturation = one + times.astype(np.float32) * inverse[length_class]

    @classmethod
    def open(cls, folder: Path, check: Check | None = None) -> Index:
        """Map the index in `folder`. Raises UserError naming the file that is missing or damaged.

        `check` is called before a posting list is read, with the name of the file and its first byte and the end.
        """
        _check(folder, files := Files(**{name: _load(folder, name) for name in NAMES}))
        return cls(folder, files, check)

    def top(self, query: str, k: int = 50) -> list[int]:
        """Rows of the best `k` documents with any term of `query`, best first. Raises UserError over a damaged file."""
        return [row for row, _ in self.scored(query, k)]

    def scored(self, query: str, k: int = 50) -> list[tuple[int, float]]:
        """As `top`, with scores, which are float32."""
        if k <= 0:
            return []
        scores = np.zeros(len(self._files.ranks), np.float64)
        for term, times in Counter(terms(query)).items():
            place = self._texts.find(term.encode())
            if place is not None:
                self._add(scores, place, times)
        return self._best(scores, k)

    def _add(self, scores: NDArray[np.float64], place: int, times: int) -> None:
        """Add the contributions of one term that occurs `times` times in the query."""
        first, end = map(int, self._files.spans[place])
        documents, codes = (self._list(name, first, end) for name in LISTS)
        rarity = math.log(1 + (self._found_in - len(documents) + 0.5) / (len(documents) + 0.5))
        weight = np.float32(times) * np.float32(rarity)
        contribution = np.maximum((weight - weight / self._saturation).astype(np.float64), FAINTEST)
        if documents.min() < 0 or documents.max() >= len(scores):
            raise _damaged(self.folder, "documents")
        if codes.max() >= len(contribution):
            raise _damaged(self.folder, "codes")
        np.add.at(scores, documents, contribution[codes])  # faster than reading, adding and writing back

    def _list(self, name: str, first: int, end: int) -> Array:
        values: Array = getattr(self._files, name)
        if self._check is not None:
            self._check(f"{name}.npy", *(self._heads[name] + place * values.itemsize for place in (first, end)))
        return values[first:end]

    def _best(self, scores: NDArray[np.float64], k: int) -> list[tuple[int, float]]:
        rows = np.flatnonzero(scores > _bound(scores, k))
        final = scores[rows].astype(np.float32)
        order = np.lexsort((self._files.ranks[rows], -final))[:k]
        return list(zip(rows[order].tolist(), final[order].tolist(), strict=True))


def _bound(scores: NDArray[np.float64], k: int) -> float:
    """A score that each of the best k rows exceeds even before rounding; most other rows do not.

    If k groups of rows have a best score of at least x, so have k rows. Sorting all scores takes ten times as long.
    """
    groups = len(scores) // GROUP
    if groups < k:
        return 0.0
    best = scores[: groups * GROUP].reshape(groups, GROUP).max(axis=1)
    kth = np.float32(np.partition(best, groups - k)[groups - k])
    return max(float(np.nextafter(kth, np.float32(0))), 0.0)  # rows that round to the same score are ties


@dataclass(frozen=True)
class _Run:
    """Postings of some documents on the disk, by term, then row: int32 pairs of row and number of occurrences."""

    file: Path
    lists: Array
    """Rising numbers of the terms that occur, by first mention in the whole index, `(U,)`."""
    starts: Array
    """Where the postings of each begin, and the end, `(U + 1,)`."""


class IndexWriter:
    """Builds an index from documents in row order, with memory for `block` documents and the vocabulary.

    Equal documents in equal order give equal bytes, whatever `block` is. Raises UserError where it cannot write.
    """

    def __init__(self, folder: Path, block: int = 50_000) -> None:
        self.folder = folder
        self.block = block
        self._temporary = folder / f"{TEMPORARY}runs"
        self._runs: list[_Run] = []
        self._numbers: defaultdict[str, int] = defaultdict()
        self._numbers.default_factory = self._numbers.__len__
        self._pairs = np.empty(0, np.int64)
        self._classes = array("B")
        self._total = self._with_terms = 0
        self._clear()
        with _writing(folder):
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary.mkdir(parents=True)

    def _clear(self) -> None:
        self._unique, self._lists, self._times = array("i"), array("i"), array("i")
        self._lengths = array("q")

    def add(self, text: str) -> None:
        """Add the next row."""
        found = terms(text)
        counts = Counter(found)
        self._lists.extend(map(self._numbers.__getitem__, counts))
        self._times.extend(counts.values())
        self._unique.append(len(counts))
        self._lengths.append(len(found))
        if len(self._lengths) >= self.block or len(self._lists) >= CHUNK:
            self._flush()

    def finish(self, asins: Sequence[str]) -> None:
        """Write the index; `asins` are those of the rows. Raises ValueError unless there is one for each."""
        self._flush()
        if len(asins) != len(self._classes):
            raise ValueError(f"{len(asins)} ASINs for {len(self._classes)} documents")
        ranks = np.empty(len(asins), "<i4")
        ranks[sorted(range(len(asins)), key=asins.__getitem__)] = np.arange(len(asins))
        sizes = np.zeros(len(self._numbers), np.int64)
        for run in self._runs:
            sizes[run.lists] += np.diff(run.starts)
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype("<i8")
        vocabulary = sorted(self._numbers)  # by code point, which is the order of UTF-8 too
        numbers = np.fromiter(map(self._numbers.__getitem__, vocabulary), np.int64, len(vocabulary))
        texts = [term.encode() for term in vocabulary]
        arrays = {
            "counts": np.array([self._with_terms, self._total], "<i8"),
            "ranks": ranks,
            "terms": np.frombuffer(b"".join(texts), "u1"),
            "term_ends": np.cumsum([0, *map(len, texts)], dtype="<i8"),
            "spans": np.stack([starts[numbers], starts[numbers + 1]], axis=1),
            "pairs": self._pairs.astype("<i8"),
        }
        with _writing(self.folder):
            for name, values in arrays.items():
                np.save(path(self.folder, name), values, allow_pickle=False)
            self._write_postings(starts)
            shutil.rmtree(self._temporary)

    def _flush(self) -> None:
        """Write a run of what was added since the last."""
        first, lengths = len(self._classes), np.frombuffer(self._lengths, np.int64)
        classes = np.searchsorted(length_classes(), lengths, side="right") - 1
        self._classes.frombytes(classes.astype(np.uint8).tobytes())
        self._total += int(lengths.sum())
        self._with_terms += int(np.count_nonzero(lengths))
        lists, times = np.frombuffer(self._lists, np.int32), np.frombuffer(self._times, np.int32)
        if len(lists):
            place = np.repeat(np.arange(len(lengths)), self._unique)
            self._pairs = np.union1d(self._pairs, times.astype(np.int64) * BYTE + classes[place])
            # Sorting number and place in one is stable and much faster than a stable argsort.
            keys = np.sort(lists.astype(np.int64) << 32 | np.arange(len(lists)))
            order, numbers = keys & 0xFFFFFFFF, keys >> 32
            starts = np.flatnonzero(np.diff(numbers, prepend=-1))
            file = self._temporary / str(len(self._runs))
            with _writing(self.folder):
                np.stack([(first + place)[order], times[order]], axis=1).astype("<i4").tofile(file)
            self._runs.append(_Run(file, numbers[starts].astype(np.int32), np.append(starts, len(lists))))
        self._clear()

    def _write_postings(self, starts: Array) -> None:
        """Merge the runs, as many lists at a time as fit in a chunk."""
        classes = np.frombuffer(self._classes, np.uint8)
        kind = np.dtype("<u2" if len(self._pairs) <= 1 << 16 else "<u4")
        with path(self.folder, "documents").open("wb") as documents, path(self.folder, "codes").open("wb") as codes:
            for file, dtype in ((documents, np.dtype("<i4")), (codes, kind)):
                header = {"descr": dtype.str, "fortran_order": False, "shape": (int(starts[-1]),)}
                np.lib.format.write_array_header_1_0(file, header)
            first = 0
            while first < len(starts) - 1:
                end = max(first + 1, int(np.searchsorted(starts, starts[first] + CHUNK, side="right")) - 1)
                merged = self._merge(starts, first, end)
                pairs = merged[:, 1].astype(np.int64) * BYTE + classes[merged[:, 0]]
                documents.write(merged[:, 0].tobytes())
                codes.write(np.searchsorted(self._pairs, pairs).astype(kind).tobytes())
                first = end

    def _merge(self, starts: Array, first: int, end: int) -> Array:
        """Postings of the lists from `first` to before `end`, `(P, 2)`; runs are in row order, so lists are too."""
        merged = np.empty((int(starts[end] - starts[first]), 2), "<i4")
        free = starts[first:end] - starts[first]
        for run in self._runs:
            low, high = np.searchsorted(run.lists, [first, end])
            begin, stop = int(run.starts[low]), int(run.starts[high])
            part = np.fromfile(run.file, "<i4", 2 * (stop - begin), offset=8 * begin).reshape(-1, 2)
            lists, sizes = run.lists[low:high] - first, np.diff(run.starts[low : high + 1])
            merged[np.repeat(free[lists] - (run.starts[low:high] - begin), sizes) + np.arange(len(part))] = part
            free[lists] += sizes
        return merged


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write the search index {folder}: {error.strerror or error}") from None


class _Texts(Sequence[bytes]):
    """The sorted terms, where they lie in the file: a dict of a million terms would be every process's own."""

    def __init__(self, files: Files) -> None:
        self._text, self._ends = files.terms, files.term_ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: Any) -> Any:
        return self._text[self._ends[place] : self._ends[place + 1]].tobytes()

    def find(self, term: bytes) -> int | None:
        place = bisect_left(self, term)
        return place if place < len(self) and self[place] == term else None


def path(folder: Path, name: str) -> Path:
    """Where an array of an index lies."""
    return folder / f"{name}.npy"


def _load(folder: Path, name: str) -> Array:
    file = path(folder, name)
    if not file.is_file():
        raise UserError(f"no file {file}: {FIX}")
    try:
        mapped = np.load(file, mmap_mode="r", allow_pickle=False)
        size = file.stat().st_size
    except _UNREADABLE:
        raise _damaged(folder, name) from None
    kinds, shape = _KINDS[name]
    if not isinstance(mapped, np.memmap) or mapped.dtype.str not in kinds.split() or mapped.ndim != len(shape):
        raise _damaged(folder, name)
    fits = all(wanted in (None, found) for wanted, found in zip(shape, mapped.shape, strict=True))
    if not (fits and mapped.flags.c_contiguous and mapped.offset + mapped.nbytes == size):
        raise _damaged(folder, name)
    return mapped.view(np.ndarray)


def _check(folder: Path, files: Files) -> None:
    """Compare the files with each other, as far as that needs no posting."""
    with_terms, total = map(int, files.counts)
    documents, postings, starts, ends = len(files.ranks), len(files.documents), files.spans[:, 0], files.spans[:, 1]
    sound = {
        "counts": 0 <= with_terms <= documents and with_terms <= total and (with_terms > 0 or postings == 0),
        "ranks": _within(files.ranks, 0, documents - 1),
        "term_ends": len(files.term_ends) > 0
        and int(files.term_ends[0]) == 0
        and int(files.term_ends[-1]) == len(files.terms)
        and bool((files.term_ends[1:] >= files.term_ends[:-1]).all()),
        "spans": len(files.spans) == len(files.term_ends) - 1
        and _within(starts, 0, postings - 1)
        and _within(ends, 1, postings)
        and _within(ends - starts, 1, with_terms),
        "codes": len(files.codes) == postings,
        "pairs": _within(files.pairs, BYTE, np.iinfo(np.int64).max),
    }
    for name, good in sound.items():
        if not good:
            raise _damaged(folder, name)


def _within(values: Array, least: int, most: int) -> bool:
    return len(values) == 0 or bool(values.min() >= least and values.max() <= most)


def _damaged(folder: Path, name: str) -> UserError:
    return UserError(f"{path(folder, name)} is damaged or does not fit the files beside it: {FIX}")
