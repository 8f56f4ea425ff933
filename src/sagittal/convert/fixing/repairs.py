"""THE TABLE of repairs: a name, what it looks for, what it does.

A row's `look` says in words what was found in a survey, "" for nothing, and its `sets` what the data set says
afterwards. Only what can be read in one way is repaired; no pixel is made up. Rewriting a file puts its lengths right
by itself (`lengths`), whichever repairs are chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from sagittal.convert.fixing.survey import CHARACTER_SET, PLANAR, SOP_CLASS, SOP_INSTANCE, Survey
from sagittal.dicom import charset
from sagittal.dicom.frameindex import BITS, FRAMES, PHOTOMETRIC, SAMPLES, SUBSAMPLED

Sets = dict[int, tuple[str, str | int]]  # tag → VR and value


def _nothing(found: Survey) -> Sets:
    return {}


class Repair(NamedTuple):
    """One row."""

    finds: str
    does: str
    look: Callable[[Survey], str]
    sets: Callable[[Survey], Sets] = _nothing


def _meta(found: Survey) -> str:
    return ", ".join(found.head_defects)


def _uids(found: Survey) -> str:
    own = found.texts.get(SOP_CLASS, ""), found.texts.get(SOP_INSTANCE, "")
    wrong = [name for name, meta, uid in zip(("class", "instance"), found.meta_uids, own, strict=True)
             if uid and meta and meta != uid]  # fmt: skip
    return f"another SOP {' and '.join(wrong)} UID" if wrong else ""


def _counted(name: str) -> Callable[[Survey], str]:
    def look(found: Survey) -> str:
        count = getattr(found, name)
        return f"{count} elements" if count else ""

    return look


def _character_set(found: Survey) -> str:
    text = found.texts.get(CHARACTER_SET, "")
    return f"{text!r}" if text and "charset-misspelt" in charset.parse(text)[1] else ""


def _terms(found: Survey) -> Sets:
    return {CHARACTER_SET: ("CS", "\\".join(charset.parse(found.texts[CHARACTER_SET])[0]))}


def _counted_frames(found: Survey) -> int:
    """How many frames Pixel Data has, where that is beyond doubt; else 0."""
    if found.pixels is not None and found.pixels.kind == "fragments":
        stills = not found.syntax.video and found.streams == found.fragments
        return found.streams if stills else 0
    length, bits = found.native_length, found.frame_bits
    if not length or not bits or bits % 8 or found.texts.get(PHOTOMETRIC) in SUBSAMPLED:
        return 0
    count, rest = divmod(length, bits // 8)
    return count if rest == 0 or (rest == 1 and not length & 1) else 0


def _frames(found: Survey) -> str:
    count = _counted_frames(found)
    return f"{found.frames} where there are {count}" if count and count != found.frames else ""


def _subsampled(found: Survey) -> str:
    whole = found.frame_bits * found.frames // 8
    told = found.texts.get(PHOTOMETRIC, "")
    full = found.numbers.get(SAMPLES) == 3 and whole and found.native_length - whole in (0, 1)
    return f"{told} with every chrominance value there" if told in SUBSAMPLED and full else ""


def _full(found: Survey) -> Sets:
    return {PHOTOMETRIC: ("CS", found.texts[PHOTOMETRIC].removesuffix("_422").replace("PARTIAL", "FULL"))}


def _planar(found: Survey) -> str:
    samples, planar = found.numbers.get(SAMPLES, 1), found.numbers.get(PLANAR)
    if samples < 2 or found.pixels is None:
        return ""
    if planar is None:
        return "missing"
    whole = found.native_length * 8 >= found.frame_bits * found.frames > 0 and found.numbers.get(BITS) in (8, 16, 32)
    native = found.pixels.kind == "element" and found.syntax.little_endian and whole
    return "by plane" if planar == 1 and (native or _is_stream(found)) else ""


def _is_stream(found: Survey) -> bool:
    """Whether colours lie by pixel whatever the data set says: in code streams (PS3.5 8.2.1 to 8.2.4), not in RLE."""
    return found.pixels is not None and found.pixels.kind == "fragments" and found.streams > 0


REPAIRS: Mapping[str, Repair] = {
    "meta": Repair("no preamble or meta group, or a damaged one (PS3.10 7.1)", "writes one", _meta),
    "uids": Repair("a meta group that names another instance", "takes the UIDs of the data set", _uids),
    "lengths": Repair("values of odd length (PS3.5 7.1.1)", "pads them", _counted("odd")),
    "group-lengths": Repair("wrong group lengths (retired, PS3.5 7.2)", "leaves them out", _counted("group_lengths")),
    "unknown-vr": Repair("UN although PS3.6 has the attribute", "gives it its VR", _counted("unknown")),
    "wrong-vr": Repair(
        "another VR than PS3.6 gives it: US or SS by Pixel Representation, OB or OW by Bits Allocated, OB of fragments,"
        " texts and integers", "gives it its VR; the bytes stay", _counted("wrong"),
    ),
    "character-set": Repair("misspelt Specific Character Set", "writes the defined terms", _character_set, _terms),
    "number-of-frames": Repair(
        "Number of Frames that Pixel Data contradicts", "counts them", _frames,
        lambda found: {FRAMES: ("IS", str(_counted_frames(found)))},
    ),
    "subsampled": Repair(
        "YBR_FULL_422 of native pixels that are not subsampled", "says YBR_FULL", _subsampled, _full
    ),
    "planar-configuration": Repair(
        "colours by plane, or Planar Configuration missing", "puts native pixels in order, says 0", _planar,
        lambda found: {PLANAR: ("US", 0)},
    ),
}  # fmt: skip


def findings(found: Survey, only: frozenset[str] = frozenset()) -> dict[str, str]:
    """Repairs that a file wants → what was found. `only`: of these."""
    told = {name: repair.look(found) for name, repair in REPAIRS.items() if not only or name in only}
    return {name: text for name, text in told.items() if text}
