"""The platform within the key server's process: what it is made of, and how it is doing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.core.change import Journalled
from gkmd.core.identity import Identity
from gkmd.core.rng import Rng
from gkmd.crypto import passkeys
from gkmd.daemon.control import StructuredCommand
from gkmd.daemon.events import Events
from gkmd.daemon.metrics import Measured, Takings, text_of
from gkmd.daemon.password_pool import PasswordPool
from gkmd.daemon.platform_config import PlatformConfig
from gkmd.daemon.platform_service import Archive, PlatformService
from gkmd.daemon.server_driver import Passwords, ServerDriver
from gkmd.group.model import GroupPolicy
from gkmd.group.platform import schedule
from gkmd.group.platform.platform import Platform
from gkmd.group.platform.records import ARCHIVED, Reservation
from gkmd.group.platform.work import Work
from gkmd.ike.gcks_settings import Apply

_STATES: Final = (schedule.COMING, schedule.OPEN, schedule.ON, schedule.OVER, schedule.CANCELLED)
_LAST_LOOK: Final = 900.0  # seconds in which a collector comes once more after an end
_ARCHIVED: Final = frozenset(kind.KIND for kind in ARCHIVED)


class ServerPlatform:
    """Made before the directory, which asks it; ``join`` takes the driver, made after both. ``measure`` gives
    the metrics as a whole.
    """

    def __init__(
        self,
        config: PlatformConfig,
        journalled: Journalled,
        rng: Rng,
        now: float,
        measure: Callable[[], Measured],
    ) -> None:
        self._config = config
        self._measure: Final = measure
        self._driver: ServerDriver | None = None
        self._now: Callable[[], float] | None = None
        self._service: PlatformService | None = None
        kept = tuple(fact for fact in journalled.facts if fact.KIND not in _ARCHIVED)
        newest = tuple(fact for fact in journalled.facts if fact.KIND in _ARCHIVED)
        own = {"health": self._health, "metrics": self._metrics}
        self.platform: Final = Platform(config.settings, kept, newest, rng, now, own)
        self._pool: Final = PasswordPool(config.password_workers, config.password_queue)
        self.passwords: Final = Passwords(self.platform.password_of, self._pool)
        self.policies: Final[tuple[GroupPolicy, ...]] = self.platform.reservations.policies(now)

    def join(self, driver: ServerDriver, archive: Archive, events: Events, now: Callable[[], float]) -> None:
        self._driver, self._now = driver, now
        asyncio.get_running_loop().run_in_executor(None, passkeys.load)
        self._service = PlatformService(self.platform, driver, archive, self._pool, events, now, Apply)

    def commands(self, *, portal: bool) -> dict[str, StructuredCommand]:
        assert self._service is not None
        service = self._service
        return {"platform": service.portals_command() if portal else service.operators_command()}

    def noted(self, action: str, user: int, arguments: Mapping[str, str]) -> None:
        """One line of the audit log about what the Unix user ``user`` did beside the API."""
        assert self._driver is not None
        assert self._now is not None
        group, identity = arguments.get("group", ""), arguments.get("identity", "")
        who = Identity.parse(identity) if identity else None
        self._driver.command(Apply(self.platform.noted(f"unix:{user}", action, group, who, self._now())))

    def adopt(self, config: PlatformConfig) -> None:
        """The settings of a new configuration; socket and threads stay until a restart."""
        self._config = config
        self.platform.adopt(config.settings)

    async def close(self) -> None:
        self._pool.close()
        if self._service is not None:
            await asyncio.to_thread(self._service.close)

    # -- how it is doing ---------------------------------------------------------------------------------

    def measured(self, now: float) -> dict[str, Any]:
        """The platform's part of ``Measured``."""
        platform = self.platform
        found = Counter(schedule.state(one, now) for one in platform.facts.all(Reservation))
        states = {state: found[state] for state in _STATES}
        return {
            "passwords_waiting": self._pool.waiting,
            "reservations": states,
            "takings": self._takings(),
            "ledger_balanced": platform.ledger.balanced(),
            "audit_lines": platform.audit.lines,
            "requests_refused": dict(platform.refusals.counts),
            "transmissions": tuple(
                platform.statistics.of(one, now)
                for one in platform.facts.all(Reservation)
                if schedule.opens(one) <= now < schedule.ends(one) + _LAST_LOOK
            ),
        }

    def _takings(self) -> dict[str, Takings]:
        gross: Counter[str] = Counter()
        fees: Counter[str] = Counter()
        for balance in self.platform.ledger.accounts():
            form = balance.account.partition(":")[0]
            if form in ("earned", "fees"):
                gross[balance.currency] -= balance.amount
            if form == "fees":
                fees[balance.currency] -= balance.amount
        return {currency: Takings(amount, fees[currency]) for currency, amount in gross.items()}

    def _health(self, request: q.Nothing, work: Work) -> r.Health:
        measured, settings = self._measure(), self._config.settings
        assert self._driver is not None
        return r.Health(
            version=measured.version,
            uptime=measured.uptime,
            identity=settings.server_identity,
            groups=len(measured.groups),
            members=sum(group.members for group in measured.groups),
            ike_sas=measured.ike_sas,
            half_open=measured.half_open,
            passwords_waiting=measured.passwords_waiting,
            journal_error=self._driver.store_error,
            ledger_balanced=measured.ledger_balanced,
            audit_lines=measured.audit_lines,
            reservations=sum(measured.reservations.values()),
            sign_up=settings.sign_up,
            currency=settings.currency,
        )

    def _metrics(self, request: q.Nothing, work: Work) -> r.Metrics:
        return r.Metrics(text_of(self._measure()))
