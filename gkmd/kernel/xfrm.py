"""The Linux data plane: SAs and policies in XFRM over netlink.

    dataplane = XfrmDataplane()      # opens the socket: before privileges are dropped
    ...                              # CAP_NET_ADMIN must be kept: the kernel asks at every request
    for line in await dataplane.recover(): ...
    await dataplane.install_policy(policy); await dataplane.install_sa(sa)
    await dataplane.close()

How the kernel's behaviour shapes this is told in ``requests.py`` at the fields; the marks by which
``ip xfrm`` shows what is ours are in ``names.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from typing import Any, Final

from pyroute2.netlink import (
    NETLINK_EXT_ACK,
    NETLINK_XFRM,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    SOL_NETLINK,
)
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nlsocket import AsyncNetlinkSocket

from gkmd.core.errors import DataplaneError
from gkmd.core.esp import EspPolicy, EspSa
from gkmd.kernel.ledger import LedgerDataplane, LeftPolicy, LeftSa, SaKey
from gkmd.kernel.messages import PolicyId, Request, SaId, XfrmMarshal, XfrmMessage
from gkmd.kernel.names import describe_policy, describe_sa
from gkmd.kernel.requests import left_policies, left_sa, new_policies, new_sa, policy_ids, sa_id

# The kernel answers within the system call that asks; loading a cipher's module can take a while.
_REPLY_SECONDS: Final = 20.0
_BUFFER_OCTETS: Final = 1 << 20

_ADVICE: Final = {
    errno.EPERM: "not permitted: gkmd needs CAP_NET_ADMIN, run it as root or grant the capability",
    errno.ENOSYS: "this kernel lacks the algorithm: run `python -m gkmd.kernel.probe`",
    errno.EPROTONOSUPPORT: "this kernel lacks ESP: try `modprobe esp4` and `modprobe esp6`",
}

# At debug level pyroute2 logs every message, and a refused NEWSA comes back with its key.
logging.getLogger("pyroute2").setLevel(logging.INFO)


def open_xfrm_socket() -> socket.socket:
    """A netlink socket for XFRM in the network namespace of this thread; DataplaneError without XFRM."""
    with contextlib.suppress(OSError):
        # A socket of the family loads ipv6 where it is a module; XFRM would only say that it is missing.
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_XFRM)
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            text = "this kernel has no XFRM over netlink: try `modprobe xfrm_user`"
        else:
            text = f"no netlink socket for XFRM: {error.strerror}"
        raise DataplaneError(text, error.errno or 0) from None
    try:
        opened.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        opened.bind((0, 0))
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise DataplaneError(f"netlink socket for XFRM: {error.strerror}", error.errno or 0) from None
    return opened


def explain(what: str, code: int, detail: str = "") -> DataplaneError:
    """One line for a refusal: what was asked, the kernel's own words, what to do."""
    said = detail or os.strerror(code)
    advice = _ADVICE.get(code)
    if code in (errno.EPERM, errno.EPROTONOSUPPORT) and advice:
        return DataplaneError(f"{what}: {advice}", code)
    text = f"{what}: {said} ({errno.errorcode.get(code, code)})"
    return DataplaneError(f"{text}; {advice}" if advice else text, code)


class XfrmDataplane(LedgerDataplane):
    """The Dataplane of a Linux kernel. ``netlink`` is a socket of ``open_xfrm_socket``, taken over."""

    def __init__(self, netlink: socket.socket | None = None) -> None:
        super().__init__()
        self._opened: socket.socket | None = open_xfrm_socket() if netlink is None else netlink
        self._channel: AsyncNetlinkSocket | None = None

    async def close(self) -> None:
        try:
            await super().close()
        finally:
            if self._channel is not None:
                self._channel.close()
                self._channel = None
                # asyncio closes a datagram transport one turn of the loop later.
                await asyncio.sleep(0)
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    async def _ask(self, what: str, message: XfrmMessage, request: Request, flags: int) -> list[Any]:
        """Send one request and collect the answers; DataplaneError with the kernel's reason."""
        channel = self._connected(what)
        try:
            async with asyncio.timeout(_REPLY_SECONDS):
                answers = await channel.nlm_request(message, request, NLM_F_REQUEST | flags)
                return [answer async for answer in answers]
        except NetlinkError as error:
            detail = error.args[1] if len(error.args) > 1 else ""
            raise explain(what, error.code, str(detail)) from None
        except TimeoutError:
            raise DataplaneError(f"{what}: the kernel does not answer", errno.ETIMEDOUT) from None
        except OSError as error:
            raise DataplaneError(f"{what}: netlink: {error.strerror}", error.errno or 0) from None

    def _connected(self, what: str) -> AsyncNetlinkSocket:
        # pyroute2 takes the loop that runs when the first request is made; the socket is older.
        if self._channel is None:
            if self._opened is None:
                raise DataplaneError(f"{what}: the data plane is closed", errno.EBADF)
            self._channel = AsyncNetlinkSocket(
                NETLINK_XFRM,
                fileno=self._opened.detach(),
                ext_ack=True,
                sndbuf=_BUFFER_OCTETS,
                rcvbuf=_BUFFER_OCTETS,
            )
            self._channel.set_marshal(XfrmMarshal())
            self._opened = None
        return self._channel

    async def _put_policy(self, policy: EspPolicy, *, replace: bool) -> None:
        what = describe_policy(policy)
        request = Request.UPDPOLICY if replace else Request.NEWPOLICY
        flags = NLM_F_REPLACE if replace else NLM_F_CREATE | NLM_F_EXCL
        done = 0
        try:
            for message in new_policies(policy):
                await self._ask(what, message, request, NLM_F_ACK | flags)
                done += 1
        except DataplaneError:
            if not replace:
                await self._take_back(policy, done)
            raise

    async def _drop_policy(self, policy: EspPolicy) -> None:
        await self._take_back(policy, len(policy_ids(policy)))

    async def _take_back(self, policy: EspPolicy, count: int) -> None:
        """Delete the first ``count`` messages' worth of it: the exceptions first, the policy itself last."""
        for message in reversed(policy_ids(policy)[:count]):
            await self._delete(describe_policy(policy), message, Request.DELPOLICY, errno.ENOENT)

    async def _put_sa(self, sa: EspSa) -> None:
        flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
        await self._ask(describe_sa(sa), new_sa(sa), Request.NEWSA, flags)

    async def _drop_sa(self, key: SaKey) -> None:
        destination, spi = key
        await self._delete(f"SA 0x{spi:08x} to {destination}", sa_id(key), Request.DELSA, errno.ESRCH)

    async def _delete(self, what: str, message: XfrmMessage, request: Request, gone: int) -> None:
        try:
            await self._ask(what, message, request, NLM_F_ACK)
        except DataplaneError as error:
            if error.errno != gone:  # the lifetime or somebody else was faster
                raise

    def _handle(self, policy: EspPolicy) -> object:
        return tuple(reversed(policy_ids(policy)))

    async def _leftovers(self) -> tuple[list[LeftSa], list[LeftPolicy]]:
        sas = await self._ask("list of SAs", SaId(), Request.GETSA, NLM_F_DUMP)
        policies = await self._ask("list of policies", PolicyId(), Request.GETPOLICY, NLM_F_DUMP)
        return (
            [left for sa in sas if (left := left_sa(sa)) is not None],
            left_policies(policies),
        )

    async def _drop_left_policy(self, policy: LeftPolicy) -> None:
        assert isinstance(policy.handle, tuple)
        for message in policy.handle:
            await self._delete(policy.description, message, Request.DELPOLICY, errno.ENOENT)
