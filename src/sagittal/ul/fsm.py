"""The upper layer state machine of PS3.8 section 9.2, as data.

TRANSITIONS is Table 9-10 and ACTIONS are Tables 9-6 to 9-9, in the order the Standard prints them, so that a reviewer
can lay the page beside the file.

Rule 1: everything that moves the machine is in these two tables, or in the two exceptions named in `step` (AE-6, AR-8).
Rule 2: this file knows no sockets, clocks or bytes. It answers an event with the effects to carry out, in order;
        `association` carries them out.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal, cast


class Event(IntEnum):
    """The rows of Table 9-10: primitives of the local user, PDUs and conditions of the transport."""

    ASSOCIATE_REQUEST = 1
    TRANSPORT_CONFIRMED = 2
    ASSOCIATE_AC = 3
    ASSOCIATE_RJ = 4
    TRANSPORT_INDICATED = 5
    ASSOCIATE_RQ = 6
    ASSOCIATE_ACCEPT = 7
    ASSOCIATE_REJECT = 8
    DATA_REQUEST = 9
    DATA = 10
    RELEASE_REQUEST = 11
    RELEASE_RQ = 12
    RELEASE_RP = 13
    RELEASE_RESPONSE = 14
    ABORT_REQUEST = 15
    ABORT = 16
    TRANSPORT_CLOSED = 17
    ARTIM_EXPIRED = 18
    INVALID_PDU = 19


# Sta1 idle; 2 transport open, awaiting A-ASSOCIATE-RQ; 3 awaiting the local answer; 4 awaiting the transport;
# 5 awaiting A-ASSOCIATE-AC or -RJ; 6 established; 7 awaiting A-RELEASE-RP; 8 awaiting the local release response;
# 9 to 12 release collision: 9 (requestor) and 12 (acceptor) awaiting the local release response, 10 (acceptor) and
# 11 (requestor) awaiting A-RELEASE-RP; 13 awaiting the transport's close.
STATES = range(1, 14)

TRANSITIONS = """
#    1    2    3    4    5    6    7    8    9    10    11   12   13
 1   AE-1 .    .    .    .    .    .    .    .    .     .    .    .
 2   .    .    .    AE-2 .    .    .    .    .    .     .    .    .
 3   .    AA-1 AA-8 .    AE-3 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
 4   .    AA-1 AA-8 .    AE-4 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
 5   AE-5 .    .    .    .    .    .    .    .    .     .    .    .
 6   .    AE-6 AA-8 .    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
 7   .    .    AE-7 .    .    .    .    .    .    .     .    .    .
 8   .    .    AE-8 .    .    .    .    .    .    .     .    .    .
 9   .    .    .    .    .    DT-1 .    AR-7 .    .     .    .    .
10   .    AA-1 AA-8 .    AA-8 DT-2 AR-6 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
11   .    .    .    .    .    AR-1 .    .    .    .     .    .    .
12   .    AA-1 AA-8 .    AA-8 AR-2 AR-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
13   .    AA-1 AA-8 .    AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3 AA-8 AA-6
14   .    .    .    .    .    .    .    AR-4 AR-9 .     .    AR-4 .
15   .    .    AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1  AA-1 AA-1 .
16   .    AA-2 AA-3 .    AA-3 AA-3 AA-3 AA-3 AA-3 AA-3  AA-3 AA-3 AA-2
17   .    AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4  AA-4 AA-4 AR-5
18   .    AA-2 .    .    .    .    .    .    .    .     .    .    AA-2
19   .    AA-1 AA-8 .    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
"""

# Effects: `send` the PDU the action names; `tell` the local user; `start` and `stop` ARTIM; `connect` and `close` the
# transport; `abort` sends A-ABORT as service user, `p-abort` as service provider.
ACTIONS = """
AE-1   4 connect
AE-2   5 send
AE-3   6 tell
AE-4   1 tell close
AE-5   2 start
AE-6   3 stop tell
AE-7   6 send
AE-8  13 send start
DT-1   6 send
DT-2   6 tell
AR-1   7 send
AR-2   8 tell
AR-3   1 tell close
AR-4  13 send start
AR-5   1 stop
AR-6   7 tell
AR-7   8 send
AR-8   9 tell
AR-9  11 send
AR-10 12 tell
AA-1  13 abort start
AA-2   1 stop close
AA-3   1 tell close
AA-4   1 tell
AA-5   1 stop
AA-6  13
AA-7  13 p-abort
AA-8  13 p-abort tell start
"""

Effect = Literal["send", "tell", "start", "stop", "connect", "close", "abort", "p-abort"]


def _read_transitions() -> dict[tuple[int, int], str]:
    table = {}
    for line in TRANSITIONS.strip().splitlines()[1:]:
        event, *cells = line.split()
        table.update({(int(event), state): cell for state, cell in zip(STATES, cells, strict=True) if cell != "."})
    return table


def _read_actions() -> dict[str, tuple[int, tuple[Effect, ...]]]:
    rows = (line.split() for line in ACTIONS.strip().splitlines())
    return {name: (int(state), tuple(cast(list[Effect], effects))) for name, state, *effects in rows}


TRANSITION = _read_transitions()
ACTION = _read_actions()


class NotPossible(Exception):
    """A blank cell of Table 9-10: the event cannot occur in this state. A mistake of the caller, never of the peer."""


def step(
    state: int, event: Event, *, requestor: bool = True, acceptable: bool = True
) -> tuple[int, str, tuple[Effect, ...]]:
    """The next state, the action's name and its effects."""
    action = TRANSITION.get((event, state))
    if action is None:
        raise NotPossible(f"{event.name} in Sta{state}")
    if action == "AE-6" and not acceptable:  # the provider rejects by itself (protocol version)
        return 13, action, ("stop", "send", "start")
    if action == "AR-8" and not requestor:
        return 10, action, ("tell",)
    return (ACTION[action][0], action, ACTION[action][1])
