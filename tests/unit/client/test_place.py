"""Who we are to a peer and to a server."""

from __future__ import annotations

import pytest

from sagittal.client.place import Access
from sagittal.errors import UsageError


def test_an_identity_fits_into_its_item() -> None:
    identity = Access(token="t" * 0x8000).identity()
    assert identity is not None and len(identity.primary) == 0x8000
    with pytest.raises(UsageError, match="at most 32768 bytes"):
        Access(token="t" * 0x8001).identity()


def test_the_user_of_a_url_goes_before_a_token() -> None:
    access = Access(token="secret")
    assert access.authorization() == {"authorization": "Bearer secret"}
    assert access.authorization("jane:doe") == {"authorization": "Basic amFuZTpkb2U="}
