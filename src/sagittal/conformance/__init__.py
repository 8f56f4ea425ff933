"""The conformance statement: sections and their order as PS3.2 N has them, contents from the tables that the program
runs on.

`statement()` is the whole of it as Markdown. What is said of SOP classes, transfer syntaxes, keys, statuses, resources,
limits, settings is read from those tables; a test asks a running archive for every SOP class in every transfer syntax.
"""

from __future__ import annotations

from sagittal.conformance import dicomweb, networking, policies
from sagittal.conformance.markdown import numbered, section


def told(_: object) -> bytes:
    """The statement, as a worker gives it back."""
    return statement().encode()


def statement() -> str:
    """The conformance statement of this version."""
    sections = [
        *policies.overview(),
        *networking.content(),
        *policies.overview_of_services(),
        section("Table of contents", "{contents}"),
        *policies.introduction(),
        *policies.model(),
        section("Service and interoperability description"),
        *networking.services_described(),
        *dicomweb.services_described(),
        *policies.media(),
        *policies.configuration(),
        section("Network and media communication details"),
        *networking.communication(),
        *dicomweb.communication(),
        *policies.security(),
    ]
    return "# DICOM conformance statement\n\n" + numbered("\n".join(sections))
