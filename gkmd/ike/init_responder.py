"""The key server's answer to IKE_SA_INIT: cookie, another group, refusal, or a half-open SA (RFC 7296 1.2,
2.6, 2.7).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gkmd.core.address import Path
from gkmd.core.effect import Effect, Send, Tell
from gkmd.core.errors import PeerError
from gkmd.core.rng import Rng
from gkmd.crypto.exchange import generate
from gkmd.ike import initial
from gkmd.ike.authenticate import HASHES_NOTIFY, Authenticator
from gkmd.ike.dropped import dropped
from gkmd.ike.gcks_settings import GcksSettings
from gkmd.ike.half_open import HalfOpen, HalfOpenTable, source_of
from gkmd.ike.proposal import Choice, IkePolicy, choose
from gkmd.ike.rate import Rates
from wire.errors import WireError
from wire.header import Header
from wire.ikev2 import Sa
from wire.message import parse_untrusted
from wire.registry import FLAG_RESPONSE, NotifyType

_MOST_CHOICES: Final = 64
_QUIET_SECONDS: Final = 1.0
_MOST_OCTETS: Final = 4096  # of a request, which is kept; one with every algorithm and a cookie has some 700


class InitResponder:
    """Keeps no state for an initiator that has not shown, when asked, that it receives what we send."""

    __slots__ = (
        "_authenticator",
        "_choices",
        "_cookies",
        "_policy",
        "_rates",
        "_refusal_told",
        "_rng",
        "_settings",
        "_taken",
        "_templates",
        "table",
    )

    def __init__(
        self,
        authenticator: Authenticator,
        policy: IkePolicy,
        settings: GcksSettings,
        rng: Rng,
        taken: Callable[[bytes], bool],
    ) -> None:
        """``taken`` tells whether a responder SPI is in use."""
        self._authenticator = authenticator
        self._templates: dict[tuple[int, bool], initial.ReplyTemplate] = {}
        self.table: Final = HalfOpenTable(settings.half_open_lifetime)
        self._cookies: Final = initial.Cookies(rng, settings.cookie_lifetime)
        self._policy: Final = policy
        self._choices: dict[tuple[int, int], tuple[Sa, Choice | None]] = {}
        self._settings: Final = settings
        self._rates: Final = Rates(settings.init_rate, settings.init_burst)
        self._rng: Final = rng
        self._taken: Final = taken
        self._refusal_told = float("-inf")

    def receive_untrusted(self, data: bytes, header: Header, path: Path, now: float) -> list[Effect]:
        """Effects for one IKE_SA_INIT message. Raises WireError."""
        table = self.table
        if len(data) > _MOST_OCTETS:
            raise WireError("too-long", f"{len(data)} octets of IKE_SA_INIT")
        # RFC 7296 2.1: a retransmission gets the same reply, without a new key exchange; once GSA_AUTH has
        # come it gets none.
        half = table.repeated_untrusted(data)
        if half is not None:
            if half.login is not None or (half.sa is not None and half.sa.peer is not None):
                return [dropped("repeated", path)]
            return [Send(half.reply, path)]
        if table.settled_untrusted(data, now):
            return [dropped("repeated", path)]
        message = parse_untrusted(data, header)
        if header.flags & FLAG_RESPONSE:
            raise WireError("unexpected-reply", "a key server starts no IKE SA")
        asked = initial.read_untrusted(message)
        if len(table) >= self._settings.cookie_threshold and not (
            asked.cookie is not None
            and initial.is_cookie_first(message)
            and self._cookies.good(asked.cookie, asked.nonce, path.remote, header.spi_i, now)
        ):
            cookie = self._cookies.make(asked.nonce, path.remote, header.spi_i, now)
            return [
                Send(initial.build_refusal(header.spi_i, NotifyType.COOKIE, cookie), path),
                Tell("cookie-asked", "debug", {"from": str(path), "half-open": len(table)}),
            ]
        if len(table) >= self._settings.half_open_limit:
            return [dropped("half-open-limit", path)]
        if len(table) >= self._settings.cookie_threshold and (
            table.of_source(path) >= self._settings.half_open_per_source
        ):
            # A cookie proves an address; one address alone must not keep the others out.
            return [dropped("half-open-source-limit", path)]
        return self._set_up(data, header, asked, path, now)

    def _set_up(
        self, data: bytes, header: Header, asked: initial.InitMessage, path: Path, now: float
    ) -> list[Effect]:
        choice = self._choice(asked)
        if choice is None:
            return [
                Send(initial.build_refusal(header.spi_i, NotifyType.NO_PROPOSAL_CHOSEN), path),
                Tell("proposal-refused", self._loudness(now), {"from": str(path)}),
            ]
        suite = choice.suite
        wanted = suite.key_exchange
        if asked.ke.group != wanted.transform_id:
            data_octets = initial.wrong_group(wanted)
            return [
                Send(initial.build_refusal(header.spi_i, NotifyType.INVALID_KE_PAYLOAD, data_octets), path),
                Tell("key-exchange-asked", "debug", {"from": str(path), "group": wanted.name}),
            ]
        if len(asked.ke.data) != wanted.public_octets:
            raise WireError("ke-length", f"{len(asked.ke.data)} octets for {wanted.name}")
        if len(asked.nonce) * 2 < suite.prf.octets:
            raise WireError("nonce", "shorter than half the key of the prf")  # RFC 7296 2.10
        # From here on it costs a key exchange. An address that is not proved can be made to lose its share by
        # whoever forges it, but then there are soon so many half-open SAs that all are asked for a cookie.
        if not self._rates.take(source_of(path), now):
            return [dropped("init-rate", path)]
        spi_r = self._new_spi()
        nonce_r = self._rng(initial.NONCE_OCTETS)
        pair = generate(wanted, self._rng)
        template = self._template(
            choice, bool(asked.hashes), header, spi_r, path if asked.nat_detection else None
        )
        reply = template.build(header.spi_i, spi_r, pair.public, nonce_r)
        self.table.add(
            HalfOpen(
                spi_i=header.spi_i,
                spi_r=spi_r,
                request=data,
                reply=reply,
                pair=pair,
                peer_public=asked.ke.data,
                nonce_i=asked.nonce,
                nonce_r=nonce_r,
                suite=suite,
                hashes=asked.hashes,
                path=path,
                expires=now + self._settings.half_open_lifetime,
            )
        )
        return [Send(reply, path)]

    def _loudness(self, now: float) -> str:
        """A line a second: any address can be written on such a request, and the log is on a disk."""
        if now - self._refusal_told < _QUIET_SECONDS:
            return "debug"
        self._refusal_told = now
        return "info"

    def _choice(self, asked: initial.InitMessage) -> Choice | None:
        """What we choose, None when nothing fits; worked out once for proposals that come again and again."""
        # The codec gives the same record for the same octets, and as long as it is held here no other has
        # its id.
        key = (id(asked.sa), asked.ke.group)
        known = self._choices.get(key)
        if known is None:
            try:
                choice = choose(self._policy, asked.sa, asked.ke.group)
            except PeerError:
                choice = None
            if len(self._choices) >= _MOST_CHOICES:
                self._choices.clear()
                self._templates.clear()
            known = self._choices[key] = (asked.sa, choice)
        return known[1]

    def _template(
        self, choice: Choice, hashes: bool, header: Header, spi_r: bytes, path: Path | None
    ) -> initial.ReplyTemplate:
        """``path`` is given when the peer wants to know of a NAT; such an answer is for it alone."""
        key = (id(choice), hashes)
        template = self._templates.get(key) if path is None else None
        if template is None:
            extra = list(self._authenticator.certificate_requests)
            if hashes:
                extra.append(HASHES_NOTIFY)
            if path is not None:
                extra += initial.nat_detection(header, spi_r, path)
            template = initial.ReplyTemplate(choice.reply, choice.suite.key_exchange, extra)
            if path is None:
                self._templates[key] = template
        return template

    def use(self, authenticator: Authenticator) -> None:
        """New credentials, from now on."""
        self._authenticator = authenticator
        self._templates.clear()

    def _new_spi(self) -> bytes:
        """RFC 7296 2.6: unique among our SAs, and not zero."""
        while True:
            spi = self._rng(initial.SPI_OCTETS)
            if spi != initial.NO_SPI and not self._taken(spi):
                return spi
