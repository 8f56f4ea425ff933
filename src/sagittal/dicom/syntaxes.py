"""THE TABLE of transfer syntaxes: PS3.6 Table A-1 (2026b), retired ones included, with what PS3.5 Annex A says of each.

One line a row. A syntax that is not here (private, or newer than this table) is handled as Explicit VR Little Endian
whose Pixel Data may be encapsulated (`unknown_syntax`): so are all since 1993, and the bytes are kept. This table doesn't
say which syntaxes can be decoded: that is `pixels.codecs`.
"""

# ruff: noqa: E501  (one line a row)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# How frames lie in the Pixel Data element (PS3.5 A.4):
#   native     one after another, no items                  fragments  each frame in one or more fragments
#   fragment   each frame in exactly one fragment           stream     all frames in one bit stream
#   none       no frames to find (deflated data set, referenced pixels, live flows)
FrameLayout = Literal["native", "fragment", "fragments", "stream", "none"]

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"
DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """One row: how the data set is encoded and how its pixel data lies in it."""

    uid: str
    keyword: str
    name: str
    frames: FrameLayout = "fragments"
    lossless: bool | None = None  # None: may be either, or not a matter of the syntax
    implicit: bool = False
    little_endian: bool = True
    deflated: bool = False  # the data set after the meta group is a raw deflate stream (PS3.5 A.5)
    encapsulated: bool = True  # Pixel Data is a sequence of fragments of undefined length
    retired: bool = False
    video: bool = False
    written: bool = True  # False: another standard says how (MIME, XML), or another program's alone; kept as it came
    storable: bool = True  # False: no self-contained data set (live flows; pixels at a JPIP server), refused by default

    @property
    def native(self) -> bool:
        """Whether the whole data set can be rewritten in another uncompressed syntax (`dicom.reencode`)."""
        return not self.encapsulated and self.storable

    @property
    def plain(self) -> bool:
        """Whether such data sets can be put into it."""
        return self.native and self.written


def _plain(uid: str, keyword: str, name: str, implicit: bool = False, little_endian: bool = True,
           deflated: bool = False, retired: bool = False, written: bool = True) -> TransferSyntax:  # fmt: skip
    return TransferSyntax(uid, keyword, name, "none" if deflated else "native", True, implicit, little_endian, deflated,
                          encapsulated=False, retired=retired, written=written)  # fmt: skip


def _jpeg(uid: str, keyword: str, name: str, lossless: bool | None, retired: bool = False) -> TransferSyntax:
    return TransferSyntax(uid, keyword, name, "fragments", lossless, retired=retired)


def _frame(uid: str, keyword: str, name: str) -> TransferSyntax:
    return TransferSyntax(uid, keyword, name, "fragment", True)


def _video(uid: str, keyword: str, name: str) -> TransferSyntax:
    return TransferSyntax(uid, keyword, name, "stream", False, video=True)


def _jpip(uid: str, keyword: str, name: str, deflated: bool) -> TransferSyntax:
    return TransferSyntax(uid, keyword, name, "none", deflated=deflated, encapsulated=False, storable=False)


def _flow(uid: str, keyword: str, name: str, video: bool) -> TransferSyntax:
    return TransferSyntax(uid, keyword, name, "none", True, encapsulated=False, video=video, storable=False)


_P = "1.2.840.10008.1.2"
# fmt: off
_ROWS = (
    _plain(_P, "ImplicitVRLittleEndian", "Implicit VR Little Endian", implicit=True),
    _plain(_P + ".1", "ExplicitVRLittleEndian", "Explicit VR Little Endian"),
    _frame(_P + ".1.98", "EncapsulatedUncompressedExplicitVRLittleEndian", "Encapsulated Uncompressed Explicit VR Little Endian"),
    _plain(_P + ".1.99", "DeflatedExplicitVRLittleEndian", "Deflated Explicit VR Little Endian", deflated=True),
    _plain(_P + ".2", "ExplicitVRBigEndian", "Explicit VR Big Endian", little_endian=False, retired=True),
    _jpeg(_P + ".4.50", "JPEGBaseline8Bit", "JPEG Baseline (Process 1)", False),
    _jpeg(_P + ".4.51", "JPEGExtended12Bit", "JPEG Extended (Process 2 and 4)", False),
    _jpeg(_P + ".4.52", "JPEGExtended35", "JPEG Extended (Process 3 and 5)", False, retired=True),
    _jpeg(_P + ".4.53", "JPEGSpectralSelectionNonHierarchical68", "JPEG Spectral Selection, Non-Hierarchical (Process 6 and 8)", False, retired=True),
    _jpeg(_P + ".4.54", "JPEGSpectralSelectionNonHierarchical79", "JPEG Spectral Selection, Non-Hierarchical (Process 7 and 9)", False, retired=True),
    _jpeg(_P + ".4.55", "JPEGFullProgressionNonHierarchical1012", "JPEG Full Progression, Non-Hierarchical (Process 10 and 12)", False, retired=True),
    _jpeg(_P + ".4.56", "JPEGFullProgressionNonHierarchical1113", "JPEG Full Progression, Non-Hierarchical (Process 11 and 13)", False, retired=True),
    _jpeg(_P + ".4.57", "JPEGLossless", "JPEG Lossless, Non-Hierarchical (Process 14)", True),
    _jpeg(_P + ".4.58", "JPEGLosslessNonHierarchical15", "JPEG Lossless, Non-Hierarchical (Process 15)", True, retired=True),
    _jpeg(_P + ".4.59", "JPEGExtendedHierarchical1618", "JPEG Extended, Hierarchical (Process 16 and 18)", False, retired=True),
    _jpeg(_P + ".4.60", "JPEGExtendedHierarchical1719", "JPEG Extended, Hierarchical (Process 17 and 19)", False, retired=True),
    _jpeg(_P + ".4.61", "JPEGSpectralSelectionHierarchical2022", "JPEG Spectral Selection, Hierarchical (Process 20 and 22)", False, retired=True),
    _jpeg(_P + ".4.62", "JPEGSpectralSelectionHierarchical2123", "JPEG Spectral Selection, Hierarchical (Process 21 and 23)", False, retired=True),
    _jpeg(_P + ".4.63", "JPEGFullProgressionHierarchical2426", "JPEG Full Progression, Hierarchical (Process 24 and 26)", False, retired=True),
    _jpeg(_P + ".4.64", "JPEGFullProgressionHierarchical2527", "JPEG Full Progression, Hierarchical (Process 25 and 27)", False, retired=True),
    _jpeg(_P + ".4.65", "JPEGLosslessHierarchical28", "JPEG Lossless, Hierarchical (Process 28)", True, retired=True),
    _jpeg(_P + ".4.66", "JPEGLosslessHierarchical29", "JPEG Lossless, Hierarchical (Process 29)", True, retired=True),
    _jpeg(_P + ".4.70", "JPEGLosslessSV1", "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])", True),
    _jpeg(_P + ".4.80", "JPEGLSLossless", "JPEG-LS Lossless Image Compression", True),
    _jpeg(_P + ".4.81", "JPEGLSNearLossless", "JPEG-LS Lossy (Near-Lossless) Image Compression", False),
    _jpeg(_P + ".4.90", "JPEG2000Lossless", "JPEG 2000 Image Compression (Lossless Only)", True),
    _jpeg(_P + ".4.91", "JPEG2000", "JPEG 2000 Image Compression", None),
    _jpeg(_P + ".4.92", "JPEG2000MCLossless", "JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)", True),
    _jpeg(_P + ".4.93", "JPEG2000MC", "JPEG 2000 Part 2 Multi-component Image Compression", None),
    _jpip(_P + ".4.94", "JPIPReferenced", "JPIP Referenced", deflated=False),
    _jpip(_P + ".4.95", "JPIPReferencedDeflate", "JPIP Referenced Deflate", deflated=True),
    _video(_P + ".4.100", "MPEG2MPML", "MPEG2 Main Profile / Main Level"),
    _video(_P + ".4.100.1", "MPEG2MPMLF", "Fragmentable MPEG2 Main Profile / Main Level"),
    _video(_P + ".4.101", "MPEG2MPHL", "MPEG2 Main Profile / High Level"),
    _video(_P + ".4.101.1", "MPEG2MPHLF", "Fragmentable MPEG2 Main Profile / High Level"),
    _video(_P + ".4.102", "MPEG4HP41", "MPEG-4 AVC/H.264 High Profile / Level 4.1"),
    _video(_P + ".4.102.1", "MPEG4HP41F", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1"),
    _video(_P + ".4.103", "MPEG4HP41BD", "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1"),
    _video(_P + ".4.103.1", "MPEG4HP41BDF", "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1"),
    _video(_P + ".4.104", "MPEG4HP422D", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video"),
    _video(_P + ".4.104.1", "MPEG4HP422DF", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video"),
    _video(_P + ".4.105", "MPEG4HP423D", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video"),
    _video(_P + ".4.105.1", "MPEG4HP423DF", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video"),
    _video(_P + ".4.106", "MPEG4HP42STEREO", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2"),
    _video(_P + ".4.106.1", "MPEG4HP42STEREOF", "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2"),
    _video(_P + ".4.107", "HEVCMP51", "HEVC/H.265 Main Profile / Level 5.1"),
    _video(_P + ".4.108", "HEVCM10P51", "HEVC/H.265 Main 10 Profile / Level 5.1"),
    _jpeg(_P + ".4.110", "JPEGXLLossless", "JPEG XL Lossless", True),
    _jpeg(_P + ".4.111", "JPEGXLJPEGRecompression", "JPEG XL JPEG Recompression", False),
    _jpeg(_P + ".4.112", "JPEGXL", "JPEG XL", None),
    _jpeg(_P + ".4.201", "HTJ2KLossless", "High-Throughput JPEG 2000 Image Compression (Lossless Only)", True),
    _jpeg(_P + ".4.202", "HTJ2KLosslessRPCL", "High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)", True),
    _jpeg(_P + ".4.203", "HTJ2K", "High-Throughput JPEG 2000 Image Compression", None),
    _jpip(_P + ".4.204", "JPIPHTJ2KReferenced", "JPIP HTJ2K Referenced", deflated=False),
    _jpip(_P + ".4.205", "JPIPHTJ2KReferencedDeflate", "JPIP HTJ2K Referenced Deflate", deflated=True),
    _frame(_P + ".5", "RLELossless", "RLE Lossless"),
    _plain(_P + ".6.1", "RFC2557MIMEEncapsulation", "RFC 2557 MIME encapsulation", retired=True, written=False),
    _plain(_P + ".6.2", "XMLEncoding", "XML Encoding", retired=True, written=False),
    _flow(_P + ".7.1", "SMPTEST211020UncompressedProgressiveActiveVideo", "SMPTE ST 2110-20 Uncompressed Progressive Active Video", video=True),
    _flow(_P + ".7.2", "SMPTEST211020UncompressedInterlacedActiveVideo", "SMPTE ST 2110-20 Uncompressed Interlaced Active Video", video=True),
    _flow(_P + ".7.3", "SMPTEST211030PCMDigitalAudio", "SMPTE ST 2110-30 PCM Digital Audio", video=False),
    _frame(_P + ".8.1", "DeflatedImageFrameCompression", "Deflated Image Frame Compression"),
    _plain("1.2.840.10008.1.20", "Papyrus3ImplicitVRLittleEndian", "Papyrus 3 Implicit VR Little Endian", implicit=True, retired=True, written=False),
)
# fmt: on

SYNTAXES: Mapping[str, TransferSyntax] = {row.uid: row for row in _ROWS}


def unknown_syntax(uid: str) -> TransferSyntax:
    """How a syntax that the table doesn't know is read: Explicit VR Little Endian, encapsulated or not, kept as bytes."""
    return TransferSyntax(uid, "", "Unknown transfer syntax", "fragments", None)


def syntax(uid: str) -> TransferSyntax:
    """The row of `uid`, or `unknown_syntax(uid)`."""
    return SYNTAXES.get(uid) or unknown_syntax(uid)
