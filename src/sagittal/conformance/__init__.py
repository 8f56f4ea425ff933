"""The conformance statement: topics and order as in PS3.2, contents from the tables that the program runs on.

`statement()` is the whole of it as Markdown. What is said of SOP classes, transfer syntaxes, keys, statuses, resources,
limits, settings is read from those tables; a test asks a running archive for every SOP class in every transfer syntax.
"""

from __future__ import annotations

from sagittal.conformance import dicomweb, networking, policies


def told(_: object) -> bytes:
    """The statement, as a worker gives it back."""
    return statement().encode()


def statement() -> str:
    """The conformance statement of this version."""
    sections = [*policies.overview(), *networking.sections(), *dicomweb.sections(), *policies.rest()]
    return "# DICOM conformance statement\n\n" + "\n".join(sections)
