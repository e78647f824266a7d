"""Paying by a provider: the payment that the key server has noted is begun there, and the payer is sent to
its page.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

from gkmd.api.problem import Problem
from gkmd.api.results import Nothing, PaymentView
from gkmd.web.client import Caller, Daemon, ask
from gkmd.web.config import PortalConfig
from gkmd.web.providers import Order, Providers

BEGUN: Final = "begun"
FAILED: Final = "failed"


class Checkout:
    """One for pages and REST API: both know the same of providers that fail."""

    def __init__(
        self, config: PortalConfig, daemon: Daemon, providers: Providers, now: Callable[[], float]
    ) -> None:
        self._config = config
        self._daemon = daemon
        self._providers = providers
        self._now = now
        self._failing: set[str] = set()  # providers that took no payment when they were asked last

    @property
    def names(self) -> tuple[str, ...]:
        """The providers that this portal knows how to reach."""
        return self._providers.names

    async def begin(self, payment: PaymentView, caller: Caller) -> str:
        """The page of the provider on which this is paid. Problem when there is none; the key server knows it
        then, and has given the payment up.
        """
        origin = self._config.origin
        order = Order(
            payment.id,
            payment.amount,
            f"{origin}/payments/{payment.id}",
            f"{origin}/api/v1/providers/{payment.provider}",
            f"{self._config.title}: payment {payment.id}",  # whose it is the provider need not know
        )
        try:
            begun = await self._providers.begin(payment.provider, order, self._now())
        except Problem as problem:
            self._failing.add(payment.provider)
            await self._report(payment, problem.reason, caller)
            raise
        started = {"id": payment.id, "external": begun.external}
        try:
            await ask(self._daemon, "payment-started", started, caller, PaymentView)
        except Problem as problem:
            if problem.code == "conflict":
                self._failing.add(payment.provider)
                await self._report(payment, "other-id", caller)
            raise
        if payment.provider in self._failing:
            self._failing.discard(payment.provider)
            await self._report(payment, "works", caller)
        return begun.url

    async def _report(self, payment: PaymentView, found: str, caller: Caller) -> None:
        """The daemon keeps the audit log, and gives up a payment that its provider has not taken."""
        with contextlib.suppress(Problem):
            await ask(self._daemon, "provider-report", {"id": payment.id, "found": found}, caller, Nothing)
