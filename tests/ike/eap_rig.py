"""Members that log in with a name and a password, and a server that can be made to lie to them."""

from __future__ import annotations

from endpoint_rig import NEWS, SERVER_ID, Datagram, Host, World, id_payloads, inside, seal, turned
from porter import Porter
from test_ike_suites import authority, by_certificate

from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.crypto.certificates import TrustAnchors
from gkmd.ike.authenticate import Authenticator
from gkmd.ike.credentials import Credentials
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.half_open import HalfOpen
from gkmd.ike.sa import IkeSa
from wire.eap import EapMessage, parse_eap_untrusted
from wire.ikev2 import Auth, Eap
from wire.message import Payload, first
from wire.registry import AuthMethod, ExchangeType, PayloadType

ANN = Identity.parse("email:ann@example.org")
BOB = Identity.parse("keyid:bob")
PASSWORD = b"correct horse battery"
SETTINGS = GcksSettings(passwords=True)
SERVER = by_certificate("ed25519", SERVER_ID)
AUTH_LIE = Payload(PayloadType.AUTH, Auth(AuthMethod.SHARED_KEY, bytes(32)))


def login(
    name: Identity = ANN, password: bytes = PASSWORD, anchors: str = "ed25519", **more: object
) -> Credentials:
    """A member's credentials: a name, a password, and an authority that it believes."""
    trusted = TrustAnchors.load(authority(anchors).certificate_pem)
    return Credentials(name, trust_anchors=trusted, password=SecretBytes(password), **more)  # type: ignore[arg-type]


def porter(**more: object) -> Porter:
    return Porter(passwords={ANN: PASSWORD, BOB: PASSWORD}, **more)  # type: ignore[arg-type]


def login_world(**more: object) -> World:
    """A server that takes passwords."""
    given: dict[str, object] = {"settings": SETTINGS, "credentials": SERVER, "doorkeeper": porter()}
    return World(**(given | more))  # type: ignore[arg-type]


def doorkeeper(world: World) -> Porter:
    assert world.doorkeeper is not None
    return world.doorkeeper


class Ladder:
    """One login, whose datagrams are carried by hand."""

    def __init__(self, world: World | None = None, credentials: Credentials | None = None) -> None:
        self.world = world or login_world()
        self.held: list[Datagram] = []
        self.past: list[Datagram] = []
        self.world.put = self.held.append  # type: ignore[method-assign]
        credentials = credentials or login()
        self.host: Host = self.world.add(0, credentials=credentials, identity=credentials.identity)

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            datagram = self.held.pop(0)
            self.past.append(datagram)
            self.world.now += 0.01
            self.world.deliver(datagram)

    @property
    def half(self) -> HalfOpen:
        (half,) = self.world.server._init.table._by_spi.values()
        return half

    @property
    def sas(self) -> tuple[IkeSa, IkeSa]:
        """The member's end and the server's, of the only candidate."""
        attempt = self.host.endpoint._connector._attempt
        assert attempt is not None
        ours = attempt._candidates[0].sa
        return ours, self.half.keyed(self.world.rng, self.world.now)

    def read(self, datagram: Datagram) -> list[Payload]:
        """What a datagram that waits says, to whomever it is."""
        ours, theirs = self.sas
        return inside(theirs if datagram.to_server else ours, datagram.data)

    def lie(self, payloads: list[Payload], message_id: int = 1) -> None:
        """The server answers this instead."""
        _, theirs = self.sas
        self.held.clear()
        data = seal(theirs, ExchangeType.GSA_AUTH, message_id, payloads, response=True)
        self.world.to_member(self.host, data, self.host.path)

    def ask(self, payloads: list[Payload], message_id: int) -> list[Payload]:
        """The member asks this instead; what the server replies."""
        ours, _ = self.sas
        self.held.clear()
        data = seal(ours, ExchangeType.GSA_AUTH, message_id, payloads)
        self.world.to_server(data, turned(self.host.path))
        return [payload for datagram in self.held for payload in inside(ours, datagram.data)]

    def proof(self, server: Credentials = SERVER) -> list[Payload]:
        """IDr, CERT and AUTH as ``server`` would send them on this SA."""
        authenticator = Authenticator(server)
        _, theirs = self.sas
        signed = authenticator.sign(self.half.our_proof(theirs), self.half.hashes)
        return [Payload(PayloadType.ID_R, authenticator.id_payload), *signed]

    def events(self, name: str) -> list[dict[str, object]]:
        return [dict(tell.fields) for tell in self.host.tells if tell.event == name]


def eap(data: bytes) -> Payload:
    return Payload(PayloadType.EAP, Eap(data))


def eap_of(payloads: list[Payload]) -> EapMessage:
    body = first(payloads, PayloadType.EAP)
    assert isinstance(body, Eap)
    return parse_eap_untrusted(body.data)


def password_sent(ladder: Ladder) -> bool:
    """Whether the password has left the member, on an IKE SA that its server holds half-open."""
    halves = {half.spi_r: half for half in ladder.world.server._init.table}
    assert halves
    for datagram in (*ladder.past, *ladder.held):
        half = halves.get(datagram.data[8:16])
        if half is not None and datagram.to_server:
            payloads = inside(half.keyed(ladder.world.rng, ladder.world.now), datagram.data)
            body = first(payloads, PayloadType.EAP)
            if body is not None and PASSWORD in body.data:
                return True
    return False


def begin_payloads(name: Identity) -> list[Payload]:
    """The request without AUTH."""
    host = Host(0, name, None, None)  # type: ignore[arg-type]
    return [p for p in id_payloads(host, NEWS) if p.type != PayloadType.AUTH]
