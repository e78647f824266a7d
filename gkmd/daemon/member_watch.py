"""The shell around ``Wishes``: the kernel's memberships, looked at twice a second, and its ACQUIREs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from gkmd.core.errors import DataplaneError, LocalError
from gkmd.daemon.listening import Listening
from gkmd.daemon.process import Process
from gkmd.daemon.wishes import Wishes
from gkmd.ike.member_settings import Leave, Register
from gkmd.kernel.acquire import drain_acquires, open_acquires
from gkmd.kernel.multicast_users import Joined, joined

LOOK_SECONDS: Final = 0.5
_REST: Final = 9.0  # times as long as the look took
_LONGEST_REST: Final = 10.0


class MemberWatch:
    """``carry_out`` is called with what follows from what was seen."""

    def __init__(
        self,
        wishes: Wishes,
        listening: Listening,
        carry_out: Callable[[Register | Leave], None],
        process: Process,
    ) -> None:
        self._wishes = wishes
        self._listening = listening
        self._carry_out = carry_out
        self._process = process
        self._netlink: socket.socket | None = None
        self._listens = False
        self._told = ""

    def listen(self) -> None:
        """From now on the kernel's ACQUIREs are heard, as soon as a sender's group waits."""
        self._listens = True

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            begun = self._process.clock.now()
            if self._wishes.receivers:
                await self._look()
            if self._listens and self._netlink is None and self._wishes.senders:
                self._open()
            # Long tables are looked at less often: who fills them does not get a whole processor.
            took = self._process.clock.now() - begun
            await asyncio.sleep(max(LOOK_SECONDS, min(_REST * took, _LONGEST_REST)))

    def close(self) -> None:
        if self._netlink is not None:
            asyncio.get_running_loop().remove_reader(self._netlink)
            self._netlink.close()
            self._netlink = None
        self._listens = False

    async def _look(self) -> None:
        own = Joined.own(self._listening.held)
        try:
            seen = await asyncio.to_thread(joined, self._wishes.addresses)
        except DataplaneError as error:
            self._complain(str(error))
            return
        if not seen.whole:
            self._complain("programs have joined more groups than can be looked through; some are not seen")
        if own == Joined.own(self._listening.held):  # else it cannot be told which of them are ours
            self._do(self._wishes.observe(seen, own, self._process.clock.now()))

    def _open(self) -> None:
        # Not before it is needed: while somebody listens the kernel makes larval SAs.
        try:
            self._netlink = open_acquires()
        except DataplaneError as error:
            self._listens = False
            self._complain(f"{error}; senders are registered by `gkmd ctl register` only")
            return
        asyncio.get_running_loop().add_reader(self._netlink, self._heard)

    def _heard(self) -> None:
        if self._netlink is not None:
            for acquire in drain_acquires(self._netlink):
                self._do(self._wishes.met(acquire))

    def _do(self, commands: list[Register] | list[Register | Leave]) -> None:
        for command in commands:
            wish = self._wishes.wish(command.group)
            self._process.events.tell(
                "group-wanted" if isinstance(command, Register) else "group-not-wanted",
                "info",
                {"group": command.group, "by": wish.value},
            )
            try:
                self._carry_out(command)
            except LocalError as error:
                self._complain(str(error))

    def _complain(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._process.events.tell("watch", "warning", {"error": text})
