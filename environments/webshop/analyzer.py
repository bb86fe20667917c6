"""Text to search terms, as Lucene's English analysis under Anserini does it (`DefaultEnglishAnalyzer`, Porter).

Words by the rules of UAX #29 (unicode.org/reports/tr29) with emoji by UTS #51, without a possessive 's, in lower case,
without stop words, stemmed. Separate from the search: documents and queries must go through the same steps.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate

import regex  # type: ignore[import-untyped]

from spa_bench.environments.webshop.porter import stem

_STOP_WORDS = """
    a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to
    was will with
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Lucene's `EnglishAnalyzer.ENGLISH_STOP_WORDS_SET`."""

LONGEST = 255
"""UTF-16 units that Lucene's tokenizer sees of a token (`StandardTokenizer.MAX_TOKEN_LENGTH_DEFAULT`); the rest of a
longer one is read as if it began there."""

KEPT = 1 << 17
"""Tokens whose terms are remembered: about 25 MB when full, and the product words of most queries."""

_POSSESSIVE = tuple(quote + s for quote in "'\u2019\uff07" for s in "sS")

_PICTOGRAPHS = """
    a9 ae 203c 2049 2122 2139 2194-2199 21a9-21aa 231a-231b 2328 2388 23cf 23e9-23f3 23f8-23fa 24c2 25aa-25ab 25b6
    25c0 25fb-25fe 2600-2605 2607-2612 2614-2685 2690-2705 2708-2712 2714 2716 271d 2721 2728 2733-2734 2744 2747
    274c 274e 2753-2755 2757 2763-2767 2795-2797 27a1 27b0 27bf 2934-2935 2b05-2b07 2b1b-2b1c 2b50 2b55 3030 303d
    3297 3299 1f000-1f0ff 1f10d-1f10f 1f12f 1f16c-1f171 1f17e-1f17f 1f18e 1f191-1f19a 1f1ad-1f1e5 1f201-1f20f 1f21a
    1f22f 1f232-1f23a 1f23c-1f23f 1f249-1f3fa 1f400-1f53d 1f546-1f64f 1f680-1f6ff 1f774-1f77f 1f7d5-1f7ff
    1f80c-1f80f 1f848-1f84f 1f85a-1f85f 1f888-1f88f 1f8ae-1f8ff 1f90c-1f93a 1f93c-1f945 1f947-1fffd
"""
"""Code points with the property Extended_Pictographic in Unicode 12, Lucene's version, without the five skin tones.
Frozen, because later versions took some of them away, U+2605 for one, which product titles are full of."""

_IGNORED = r"[\p{WB=Format}\p{WB=Extend}\p{WB=ZWJ}]*+"
"""What follows a character without changing where words end (rule 4)."""

_CONNECTOR = rf"[_\u202f\u203f\u2040\u2054\ufe33\ufe34\ufe4d-\ufe4f\uff3f]{_IGNORED}"
"""The class ExtendNumLet."""


def terms(text: str) -> list[str]:
    """The terms of a text in order, repetitions kept; no more of them than characters.

    Takes time linear in the length of any text. Never raises: lone surrogates belong to no word.
    """
    return [term for term in map(_term, _tokens(text)) if term]


@lru_cache(KEPT)
def _term(token: str) -> str:
    """Possessive off, lower case, stop words out (as ""), stem."""
    if token.endswith(_POSSESSIVE):
        token = token[:-2]
    # Java lowers letter by letter: no final sigma, no dot left over from the Turkish capital I.
    word = token.lower() if token.isascii() else "".join(letter.lower()[0] for letter in token)
    return "" if word in STOP_WORDS else stem(word)


def _tokens(text: str) -> list[str]:
    """The words of a text; an empty string stands for connectors that join nothing."""
    tokens: list[str] = []
    position = 0
    while odd := _NOT_ASCII.search(text, position):  # no token contains a space
        start = text.rfind(" ", position, odd.start()) + 1 or position
        end = text.find(" ", start)
        end = len(text) if end < 0 else end
        tokens += _ASCII.findall(text, position, start)
        tokens += _UNICODE.findall(text, start, end)
        position = end
    tokens += _ASCII.findall(text, position)
    if 2 * max(map(len, tokens), default=0) <= LONGEST:  # whatever their characters are
        return tokens
    return [piece for token in tokens for piece in (_pieces(token) if 2 * len(token) > LONGEST else (token,))]


def _pieces(token: str) -> Iterator[str]:
    """What a long token is cut into."""
    pattern = _ASCII if token.isascii() else _UNICODE
    position = 0
    while position < len(token):
        piece = pattern.match(token, position, position + _visible(token, position))
        if piece is not None and piece[1]:
            yield piece[1]
            position = piece.end()
        else:
            position = _next(token, position)


def _visible(text: str, position: int) -> int:
    """How many characters from `position` on fit in what the tokenizer sees."""
    ahead = text[position : position + LONGEST]
    if ahead.isascii() or max(ahead) <= "\uffff":
        return LONGEST
    units = list(accumulate(1 + (char > "\uffff") for char in ahead))
    return bisect_right(units, LONGEST)


def _next(token: str, position: int) -> int:
    """Where to go on when no token begins at `position`, which the cut left in front of marks or connectors.

    A token with connectors in front begins as early as its first letter still lets it.
    """
    if connectors := _CONNECTORS.match(token, position):
        return max(position + 1, int(connectors.end()) - LONGEST + 1)
    found = _UNICODE.search(token, position + 1, position + LONGEST)
    return found.start() if found else position + LONGEST


def _sequence(unit: str, connector: str, middle: str) -> str:
    """Letters or digits, also across connectors or one middle mark between two of them (rules 5-8, 11-13)."""
    return rf"(?:{unit})++(?:(?:(?:{connector})*+|(?:{middle}))(?:{unit})++)*+"


def _token_or_connectors(core: str, connector: str, *others: str) -> str:
    """Group 1 is a token: cores joined by connectors (rules 13a and 13b), or another kind.

    Connectors that join nothing match without it, so that a long row of them is read once.
    """
    core, some, many = f"(?:{core})", f"(?:{connector})*+", f"(?:{connector})++"
    word = f"{some}{core}(?:{many}{core})*+{some}"
    return f"({'|'.join([word, *others])})|{many}"


def _ascii_pattern() -> str:
    """What `_unicode_pattern` comes to where all text is ASCII, as most is: several times faster."""
    letters, digits = _sequence("[A-Za-z]", "_", "[:.']"), _sequence("[0-9]", "_", "[,;.']")
    return _token_or_connectors(f"(?:{letters}|{digits})++", "_")


def _unicode_pattern() -> str:
    """The whole grammar. No part can be matched in two ways, so that nothing is ever read again and again.

    The small classes are spelled out, because they too change between versions of Unicode.
    """
    hebrew = rf"\p{{WB=Hebrew_Letter}}{_IGNORED}"
    letter = rf"[\p{{WB=ALetter}}\p{{WB=Hebrew_Letter}}]{_IGNORED}"
    digit = rf"[\p{{WB=Numeric}}\uff10-\uff19]{_IGNORED}"
    either = r".'\u2018\u2019\u2024\ufe52\uff07\uff0e"
    in_words = rf"[{either}:\xb7\u0387\u055f\u05f4\u2027\ufe13\ufe55\uff1a]{_IGNORED}"
    in_numbers = (
        rf"[{either},;\u037e\u0589\u060c\u060d\u066c\u07f8\u2044\ufe10\ufe14\ufe50\ufe54\uff0c\uff1b]{_IGNORED}"
    )
    after_hebrew = rf"""(?:(?<=\p{{WB=Hebrew_Letter}}{_IGNORED})(?:'{_IGNORED}|"{_IGNORED}{hebrew}))?+"""  # rules 7a-7c
    letters = _sequence(letter, _CONNECTOR, in_words) + after_hebrew
    katakana = rf"(?:\p{{WB=Katakana}}{_IGNORED})"
    core = (
        rf"{katakana}++(?:(?:{_CONNECTOR})++{katakana}++)*+|(?:{letters}|{_sequence(digit, _CONNECTOR, in_numbers)})++"
    )
    alone = rf"[\p{{Script=Han}}\p{{Script=Hiragana}}]{_IGNORED}"
    unsplit = rf"(?:\p{{LB=Complex_Context}}{_IGNORED})++"  # Thai and its neighbours, which need a dictionary
    # The longest match wins in Lucene: words go first, because a letter that is an emoji too may begin a longer word.
    return _token_or_connectors(core, _CONNECTOR, _emoji(), alone, unsplit)


def _emoji() -> str:
    """Emoji with what modifies them, glued by zero-width joiners; flags; key caps of `#` and `*`.

    Those of digits are numbers, and emoji that are letters are words, to the grammar above.
    """
    pictograph = f"[{''.join(map(_range, _PICTOGRAPHS.split()))}]"
    marks = r"[[\p{WB=Format}\p{WB=Extend}\p{WB=ZWJ}]--[\ufe0e\ufe0f]]*"
    tone = rf"[\U0001f3fb-\U0001f3ff]{marks}+"
    unit = rf"(?:\p{{Emoji_Modifier_Base}}{marks}+{tone}|{pictograph}{marks}+\ufe0f?+|{tone})"
    glued = rf"(?:(?:(?<=\u200d)|\u200d++){unit})*+"
    return (
        rf"(?:(?<!\u200d)\u200d++)?+{unit}{glued}"
        rf"|(?:[\U0001f1e6-\U0001f1ff]{_IGNORED}){{2}}"
        rf"|[#*]{marks}\ufe0f?\u20e3{marks}+"
    )


def _range(code_points: str) -> str:
    first, _, last = code_points.partition("-")
    return f"{chr(int(first, 16))}-{chr(int(last or first, 16))}"


_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_ASCII = re.compile(_ascii_pattern())
_UNICODE = regex.compile(_unicode_pattern(), regex.V1)
_CONNECTORS = regex.compile(f"(?:{_CONNECTOR})++", regex.V1)
