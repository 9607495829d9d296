"""Full text: which words a message holds, and what a person who looks for words means.

SQLite's FTS5 (``unicode61``) does this by itself; for PostgreSQL it is done here in the same way, so that the same
search has the same answer on both: a word is a run of letters and digits of any script, upper and lower case are one,
Latin letters count without their accents. What a person writes as one word is found as a phrase where it is several
(``foo-bar``), and the last may be only the beginning of one.

A tsvector is bounded: words longer than `MAX_WORD` are cut, of very long messages only the beginning is indexed, and
phrases are found among the first 16,383 words of a message.
"""

import re
import unicodedata
from collections.abc import Iterable

# Private use counts as letters, as it does there.
_WORD = re.compile("(?:[^\\W_]|[\ue000-\uf8ff])+")
_ACCENTS = re.compile("[\u0300-\u0331]+")
#: Characters of one word, at most (PostgreSQL: 2,046 bytes).
MAX_WORD = 500
#: Bytes of all words with their places, at most (PostgreSQL: 1 MiB).
MAX_BYTES = 1_000_000
MAX_PLACE = 16_383
#: Places of one word, at most.
MAX_PLACES = 255


def fts5(words: str) -> str:
    """What to look for, in the language of FTS5; there must be something."""
    # Quoted, a word is a word and never an operator.
    return " ".join(f'"{word}"' for word in words.replace('"', " ").replace("\0", " ").split()) + "*"


def tsquery(words: str) -> str:
    """What to look for, as a tsquery; empty (which finds nothing) if no word holds a letter or digit."""
    phrases = [
        phrase for each in words.replace('"', " ").replace("\0", " ").split() if (phrase := split(each))
    ]
    if not phrases:
        return ""
    rendered = [[f"'{word}'" for word in phrase] for phrase in phrases]
    rendered[-1][-1] += ":*"
    return " & ".join(f"({' <-> '.join(phrase)})" for phrase in rendered)


def lexemes(subject: str | None, body: str) -> str:
    """The words of a message with their places, as the text of a tsvector."""
    places: dict[str, list[int]] = {}
    size = place = 0
    for text in (subject or "", body):
        for word in split(text):
            place += 1
            known = places.get(word)
            if known is None:
                # the word itself, and room for its number of places
                size += len(word.encode()) + 4
                known = places[word] = []
            if len(known) < MAX_PLACES:
                size += 2
                known.append(min(place, MAX_PLACE))
            if size > MAX_BYTES:
                return _rendered(places)
        place += 1  # a phrase does not reach from the subject into the body
    return _rendered(places)


def split(text: str) -> list[str]:
    """The words of a text, as they are compared."""
    return [word[:MAX_WORD] for word in _WORD.findall(_folded(text))]


def _folded(text: str) -> str:
    lowered = text.lower()
    if lowered.isascii():
        return lowered
    return "".join(_bare(letter) for letter in _ACCENTS.sub("", lowered))


def _bare(letter: str) -> str:
    parts = unicodedata.normalize("NFD", letter)
    return parts[0] if len(parts) > 1 and "a" <= parts[0] <= "z" else letter


def _rendered(places: dict[str, Iterable[int]] | dict[str, list[int]]) -> str:
    # No word holds a quote, a backslash or white space: all of its characters are letters and digits.
    return " ".join(f"'{word}':{','.join(map(str, dict.fromkeys(where)))}" for word, where in places.items())
