"""The AE table at work: who may open an association, as whom, and where C-MOVE may send to.

On loopback every AE title may echo, store, find, get and ask for moves; beyond it only those who call us by our title,
by a name of the table and from its address. User identity (PS3.7 D.3.3.7) is verified against the bearer tokens: a
name with a passcode is the name of a token with its secret, a JSON Web Token is a secret alone. Who is verified has the
rights of the token, may echo, and is confirmed if wanted; any other user is noted beside the AE title, never confirmed,
and rejected where the configuration requires identities. Kerberos and SAML can't be verified here.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import socket
import ssl
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from sagittal.archive import DuplicatePolicy, nodes
from sagittal.archive.access import Principal, authorize, enter, one_line
from sagittal.archive.index import MAIN_STORE
from sagittal.archive.index.upkeep.stores import number_of
from sagittal.archive.nodes import NODE_VERBS, NOTHING_ASSUMED, Assumed, Node, check_node
from sagittal.dimse.address import parse_peer
from sagittal.errors import NotAuthorized, UsageError
from sagittal.net.admission import Accept, Admission, AssociateInfo, Reject
from sagittal.net.client import Peer
from sagittal.services.site import Sender
from sagittal.ul.pdu import NAME, NAME_AND_PASSCODE, WEB_TOKEN, UserIdentity

if TYPE_CHECKING:
    from sagittal.archive.archive import Archive

CALLING_UNKNOWN, CALLED_UNKNOWN = 3, 7  # PS3.8 Table 9-21
_RESOLVE_SECONDS = 60.0


class NodeTable:
    """The nodes of one archive: those it keeps, and fixed ones from the configuration."""

    def __init__(
        self,
        archive: Archive,
        kept: Iterable[Node],
        fixed: Iterable[Node],
        aets: Collection[str],
        open_house: bool,
        *,
        users: Mapping[str, Principal] | None = None,
        identity_required: bool = False,
        duplicates: DuplicatePolicy = "keep-first",
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        called: Mapping[str, str] = MappingProxyType({}),
        assumed: Assumed = NOTHING_ASSUMED,
    ) -> None:
        """`called`: called AE title → the name of the store that it stands for; `assumed`: of those who say nothing."""
        self._archive, self._aets, self._open_house = archive, {*aets, *called}, open_house
        self._called = called
        self._users = users if users is not None else {}  # SHA-256 of a secret → who shows it
        self._identity_required = identity_required
        self._tls = tls  # for connections to nodes that want it
        self._stranger = Sender(duplicates, "", *assumed)
        self._kept = {node.aet: node for node in kept}
        self._fixed = {node.aet: check_node(node) for node in fixed}
        self._senders = {node.aet: self._sender(node) for node in (*self._kept.values(), *self._fixed.values())}
        self._addresses: dict[str, tuple[float, frozenset[str]]] = {}  # by host: that of a node may change meanwhile

    def __len__(self) -> int:
        return len(self._kept.keys() | self._fixed.keys())

    def node(self, aet: str) -> Node | None:
        """The node of this title; what the configuration fixes goes first."""
        return self._fixed.get(aet) or self._kept.get(aet)

    def destination(self, aet: str) -> Peer | None:
        """Where C-MOVE sends to for this title."""
        node = self.node(aet)
        return None if node is None else Peer(node.aet, node.host, node.port, self._tls() if node.tls else None)

    def sender(self, aet: str) -> Sender:
        """What is assumed of the objects that come from this title."""
        return self._senders.get(aet, self._stranger)

    def charsets(self, aet: str) -> tuple[str, ...]:
        """The character set of what comes from this title without one."""
        terms = self.sender(aet).character_set
        return tuple(terms.split("\\")) if terms else ()  # the first may be empty: the default repertoire

    def _sender(self, node: Node) -> Sender:
        policy = cast(DuplicatePolicy, node.duplicates or self._stranger.duplicates)
        otherwise = self._stranger
        character_set = node.character_set or otherwise.character_set
        return Sender(policy, node.issuer_of_patient_id, character_set, node.timezone or otherwise.timezone)

    def list(self) -> Sequence[Mapping[str, Any]]:
        """Every node as `/api/nodes` and `sagittal nodes list` show it."""
        rows = {**self._kept, **self._fixed}
        return [row_of(rows[aet]) | {"fixed": aet in self._fixed} for aet in sorted(rows)]

    async def add(self, principal: Principal, peer: str, **more: Any) -> None:
        """Add a node, or change the one of this title; in force at once, for open associations too."""
        with self._archive.audited(principal, "admin"):
            authorize(principal, "admin")
            node = check_node(Node(*parse_peer(peer), **more))
            self._check_free(node.aet)
            await nodes.put_node(self._archive.act, principal, node)
        self._kept[node.aet] = node
        self._senders[node.aet] = self._sender(node)
        self._addresses.pop(node.host, None)

    async def remove(self, principal: Principal, aet: str) -> None:
        """Remove a node. NotFound."""
        with self._archive.audited(principal, "admin"):
            authorize(principal, "admin")
            self._check_free(aet)
            await nodes.remove_node(self._archive.act, principal, aet)
        self._kept.pop(aet, None)
        self._senders.pop(aet, None)

    def _check_free(self, aet: str) -> None:
        if aet in self._fixed:
            raise UsageError(f"{aet} is fixed by the configuration")

    async def admit(self, info: AssociateInfo) -> Admission:
        """PS3.8 9.3.4: in, or why not."""
        node = self.node(info.calling_aet)
        if not self._open_house:
            if info.called_aet not in self._aets:
                return Reject(reason=CALLED_UNKNOWN, text=f"called AE title is not {' or '.join(sorted(self._aets))}")
            if node is None:
                return Reject(reason=CALLING_UNKNOWN, text="calling AE title is not in the AE table")
            if not await self._comes_from(node, info.peer_address) or self.node(node.aet) != node:  # any more
                return Reject(reason=CALLING_UNKNOWN, text=f"address is not that of {node.aet} in the AE table")
        try:
            principal = self._principal(info)
        except NotAuthorized as error:
            return Reject(text=error.text)
        order = node.syntax_order if node is not None and node.syntax_order else None
        response = b"" if principal.kind == "token" else None  # PS3.7 Table D.3-15: empty for all that is verified here
        return Accept(principal, order, response, partial(self._stands, info, principal, _origin(node)))

    def _principal(self, info: AssociateInfo) -> Principal:
        """As whom, by the tables as they are now. NotAuthorized."""
        node, user = self.node(info.calling_aet), self._verified(info.user_identity)
        if node is None and not self._open_house:
            raise NotAuthorized("calling AE title is not in the AE table")
        store = self._store(node, info.called_aet)
        if user is not None:
            with self._archive.audited(user, "enter"):
                return user if store is None else enter(user, store)
        if self._identity_required:
            raise NotAuthorized("no user identity that could be verified")
        verbs = node.verbs if node is not None else NODE_VERBS
        return Principal(_name(info), "node", verbs, MAIN_STORE if store is None else store)

    def _stands(self, info: AssociateInfo, principal: Principal, origin: object) -> bool:
        """Whether it would still be let in as this principal: nodes and tokens go, get other rights or move."""
        if not self._open_house and _origin(self.node(info.calling_aet)) != origin:
            return False
        try:
            return self._principal(info) == principal
        except NotAuthorized:
            return False

    def _store(self, node: Node | None, called_aet: str) -> int | None:
        """The store that a node works in: its own, or that of the title it calls; None: nobody says."""
        name = node.store if node is not None and node.store else self._called.get(called_aet)
        return None if name is None else number_of(self._archive.stores, name)

    def _verified(self, identity: UserIdentity | None) -> Principal | None:
        """Whose secret was shown."""
        if identity is None or identity.kind not in (NAME_AND_PASSCODE, WEB_TOKEN):
            return None
        secret = identity.secondary if identity.kind == NAME_AND_PASSCODE else identity.primary
        user = self._users.get(hashlib.sha256(secret).hexdigest())
        if user is None or user.kind != "token":  # the operator's own token is for commands on this machine
            return None
        named = identity.kind == WEB_TOKEN or hmac.compare_digest(identity.primary, user.name.encode())
        return replace(user, verbs=user.verbs | {"echo"}) if named else None

    async def _comes_from(self, node: Node, address: str) -> bool:
        address = _plain(address)
        if node.addresses:
            return _within(address, node.addresses)
        now = asyncio.get_running_loop().time()
        resolved_at, addresses = self._addresses.get(node.host, (-_RESOLVE_SECONDS, frozenset()))
        if address not in addresses and now - resolved_at >= _RESOLVE_SECONDS:
            addresses = await _resolve(node.host)
            self._addresses[node.host] = now, addresses
        return address in addresses


def row_of(node: Node) -> dict[str, Any]:
    """A node for a person or a program."""
    row = node._asdict() | {"verbs": sorted(node.verbs), "syntax_order": list(node.syntax_order)}
    return row | {"addresses": list(node.addresses), "peer": str(node)}


def _origin(node: Node | None) -> tuple[str, tuple[str, ...]] | None:
    """Where a node calls from."""
    return None if node is None else (node.host, node.addresses)


def _within(address: str, networks: Iterable[str]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # not of the internet
        return False
    return any(parsed in ipaddress.ip_network(network) for network in networks)


async def _resolve(host: str) -> frozenset[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return frozenset()
    return frozenset(_plain(str(address[0])) for *_, address in found)


def _plain(address: str) -> str:
    """The usual form: IPv4 in IPv6 unwrapped, no zone."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _name(info: AssociateInfo) -> str:
    """The AE title, and the user that the peer claims."""
    identity = info.user_identity
    user = _user(identity) if identity is not None else ""
    return one_line(f"{info.calling_aet} ({user}, unverified)" if user else info.calling_aet)


def _user(identity: UserIdentity) -> str:
    if identity.kind not in (NAME, NAME_AND_PASSCODE):  # the others are tickets and tokens, which belong in no log
        return ""
    return identity.primary.decode("utf-8", "replace")[:64]
