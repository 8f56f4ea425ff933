"""Person names in matching: folding, words and codes (PS3.5 6.2.1; PS3.4 C.2.2.2.1: PN may ignore case and accents).

Fuzzy matching compares the words of a name, whatever component they stand in. Two words are alike when they are equal,
when one letter at the most has to be left out of each to make them equal, or when they sound the same. The sound is a
Soundex (US patent 1,261,167; four consonant classes and a half) of a spelling made plain first, so that names of
Spanish, English and German origin meet: a silent h goes, v is b, z and soft c are s, hard c and qu are k, soft g is j,
ll is y, ph is f. Scripts without Latin letters have words but no sound.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from sagittal.limits import NAME_FOLDED_CHARACTERS_KEPT, NAME_WORD_CHARACTERS_MAX, NAME_WORDS_MAX

_WORD = re.compile(r"\w+")
_KEY_WORD = re.compile(r"[\w*?]+")
# Letters of Latin script that Unicode does not take apart: two in one, with a stroke, without a dot.
_LETTERS = str.maketrans(
    {"æ": "ae", "œ": "oe", "þ": "th"} | dict(zip("øłđðħŧ\u0131ŋɓɗɖƙƴɛɔə", "olddhtinbddkyeoe", strict=True))
)
_SILENT = str.maketrans("", "", "'\u2019`\u00b4.\0")
_SPELLINGS = [
    (re.compile(pattern), plain)
    for pattern, plain in (
        ("ph", "f"),
        ("sch", "s"),
        ("ch", "x"),
        ("sh", "x"),
        ("h", ""),
        ("qu", "k"),
        ("q", "k"),
        ("ck", "k"),
        ("c(?=[eiy])", "s"),
        ("c", "k"),
        ("gu(?=[ei])", "g"),
        ("g(?=[ei])", "j"),
        ("ll", "y"),
        ("v|w", "b"),
        ("z", "s"),
        ("y|j(?=[aeiou]?$)", "i"),
    )
]
_CLASSES = str.maketrans("bfpkgqxjsdtlmnr", "111222222334556")
_SOUND_CHARACTERS = 6
_TAKEN_APART = 256  # characters at one time
_LETTERS_MIN = 4  # of a word from which a letter may be left out


def fold_name(name: str) -> str:
    """Case, accents, strokes and padding away: "Müller^Łukasz^^ " folds to "muller^lukasz". Several names: each."""
    return _known(name) if len(name) <= NAME_FOLDED_CHARACTERS_KEPT else _folded(name)


def _folded(name: str) -> str:
    if "\\" in name:
        return "\\".join(map(fold_name, name.split("\\")))
    if not name.isascii():
        name = "".join(map(_apart, _batches(name.casefold())))
        name = name.translate(_LETTERS)
    groups = [
        "^".join(component.strip() for component in group.split("^")).rstrip("^")
        for group in name.casefold().split("=")[:3]  # more mean nothing (PS3.5 6.2.1.2), nor has the JSON Model them
    ]
    return "=".join(groups).rstrip("=")


def _batches(text: str) -> Iterator[str]:
    """Marks are sorted when letters are taken apart, in time that grows with the square of how many there are in a row.
    As they are left out, it is all the same where they are parted.
    """
    return (text[at : at + _TAKEN_APART] for at in range(0, len(text), _TAKEN_APART))


def _apart(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


_known = lru_cache(maxsize=4096)(_folded)


def words(name: str) -> frozenset[str]:
    """The folded words of a stored name, the first so many of one that is none."""
    found = _WORD.finditer(fold_name(name).translate(_SILENT))
    return frozenset(word[0] for word in islice(found, NAME_WORDS_MAX))


def key_words(text: str) -> tuple[str, ...]:
    """The folded words of a key, wildcards kept; () matches every name."""
    found = _KEY_WORD.findall(fold_name(text).translate(_SILENT))
    return tuple(dict.fromkeys(word for word in found if word.strip("*")))


@lru_cache(maxsize=4096)
def codes(word: str) -> frozenset[str]:
    """What two words have in common when they are alike: spellings with a letter left out, and the sound.

    A word that is longer than a component of a name may be is like itself alone: it would have as many spellings as
    letters, each as long.
    """
    if len(word) > NAME_WORD_CHARACTERS_MAX:
        return frozenset({word})
    found = {word}
    if len(word) >= _LETTERS_MIN:
        found.update(word[:at] + word[at + 1 :] for at in range(len(word)))
    if sound := sound_of(word):
        found.add(f"~{sound}")
    return frozenset(found)


def sound_of(word: str) -> str:
    """How a folded word sounds; "" when it has no sound or one that says too little."""
    if not (word.isascii() and word.isalpha()):
        return ""
    for pattern, plain in _SPELLINGS:
        word = pattern.sub(plain, word)
    if not word:
        return ""
    classes = re.sub(r"(.)\1+", r"\1", word.translate(_CLASSES))
    sound = word[0] + "".join(c for c in classes[1:] if c.isdigit())
    return sound[:_SOUND_CHARACTERS] if len(sound) > 1 else ""
