"""pynetdicom, made to begin an operation only when its reactor has gone on from the last one.

Else the reactor, which a busy machine may not have let go on yet, takes an answer of the new operation for itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def patient_associations() -> Iterator[None]:
    from pynetdicom.association import Association

    def patient(send: Any) -> Any:
        def sent(association: Any, *words: Any, **more: Any) -> Any:
            while association.is_established and association._is_paused:
                threading.Event().wait(0.001)
            return send(association, *words, **more)

        return sent

    with pytest.MonkeyPatch.context() as patch:
        for name in ("send_c_find", "send_c_get", "send_c_move", "send_c_store", "send_c_echo"):
            patch.setattr(Association, name, patient(getattr(Association, name)))
        yield
