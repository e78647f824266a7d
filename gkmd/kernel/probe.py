"""What can this kernel do for us? Each answer is one line that says what to do.

``python -m gkmd.kernel.probe`` prints the answers and exits 0 when IPv4 and AES-GCM work, which is what the
lab needs to run natively, else 1. The test of an algorithm is an SA: installed for a moment in the network
namespace of the caller, receive-only, with a random key and SPI, and removed at once. The kernel loads its
modules on the way.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST

from gkmd.core.algorithms import CIPHERS, HMAC_SHA2_256_128, INTEGRITIES, Cipher, Integrity
from gkmd.core.errors import DataplaneError
from gkmd.core.esp import Direction, EspSa, Mode
from gkmd.core.secret import SecretBytes
from gkmd.kernel.ledger import sa_key
from gkmd.kernel.messages import Request, XfrmMessage
from gkmd.kernel.requests import new_sa, sa_id
from gkmd.kernel.xfrm import explain, open_xfrm_socket

# Administratively scoped, not joined by anybody: no packet can hit a trial SA.
_TRIAL_V4: Final = IPv4Address("239.255.255.250")
_TRIAL_V6: Final = IPv6Address("ff15::6b6d")
_REPLY_SECONDS: Final = 20.0
_NLMSG_ERROR: Final = 2
_SYSCTL: Final = Path("/proc/sys/net")


@dataclass(frozen=True, slots=True)
class Answer:
    """One thing asked of the kernel. ``advice`` says what to do, "" when ``works``."""

    name: str
    works: bool
    advice: str = ""

    def __str__(self) -> str:
        return f"{'yes' if self.works else 'no '}  {self.name}{': ' + self.advice if self.advice else ''}"


@dataclass(frozen=True, slots=True)
class EspSupport:
    """``ipv4`` and ``ipv6``: ESP with AES-GCM works, for this process, in this network namespace."""

    ipv4: bool
    ipv6: bool
    answers: tuple[Answer, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(str(answer) for answer in self.answers)

    @property
    def advice(self) -> str:
        """The first thing to do when something does not work, "" when all does."""
        return next((answer.advice for answer in self.answers if not answer.works), "")

    def supports(self, cipher: Cipher, integrity: Integrity | None, version: int) -> bool:
        """Whether ESP with these algorithms works on this IP version."""
        family_works = self.ipv4 if version == 4 else self.ipv6
        return family_works and Answer(_name(cipher, integrity), True) in self.answers


def esp_support() -> EspSupport:
    """Ask the kernel. Takes milliseconds, longer when modules have to be loaded; never raises."""
    try:
        netlink = open_xfrm_socket()
    except DataplaneError as error:
        return EspSupport(False, False, (Answer("XFRM over netlink", False, str(error)),))
    with netlink:
        netlink.settimeout(_REPLY_SECONDS)
        answers = [Answer("XFRM over netlink", True)]
        families = []
        for name, address in (("ESP for IPv4", _TRIAL_V4), ("ESP for IPv6", _TRIAL_V6)):
            answers.append(_try(netlink, name, address, CIPHERS[0], None))
            families.append(answers[-1].works)
        if any(families):
            address = _TRIAL_V4 if families[0] else _TRIAL_V6
            for cipher, integrity in _combinations():
                answers.append(_try(netlink, _name(cipher, integrity), address, cipher, integrity))
    return EspSupport(families[0], families[1], (*answers, *_open_interfaces()))


def _combinations() -> Iterable[tuple[Cipher, Integrity | None]]:
    for cipher in CIPHERS:
        if cipher.aead:
            yield cipher, None
        else:
            yield cipher, HMAC_SHA2_256_128
    for integrity in INTEGRITIES:
        if integrity is not HMAC_SHA2_256_128:
            yield CIPHERS[-1], integrity


def _name(cipher: Cipher, integrity: Integrity | None) -> str:
    return cipher.name if integrity is None else f"{cipher.name} with {integrity.name}"


def _try(
    netlink: socket.socket,
    name: str,
    destination: IPv4Address | IPv6Address,
    cipher: Cipher,
    integrity: Integrity | None,
) -> Answer:
    octets = cipher.key_octets + (integrity.key_octets if integrity else 0)
    sa = EspSa(
        group="probe",
        spi=int.from_bytes(os.urandom(4), "big") | 0x1000,
        source=None,
        destination=destination,
        mode=Mode.TRANSPORT,
        direction=Direction.IN,
        cipher=cipher,
        integrity=integrity,
        key=SecretBytes(os.urandom(octets)),
        reqid=0,
        replay_window=0,
        lifetime=1.0,
    )
    code = _request(netlink, new_sa(sa), Request.NEWSA, NLM_F_CREATE | NLM_F_EXCL)
    if code:
        return Answer(name, False, _advice(name, destination.version, code))
    _request(netlink, sa_id(sa_key(sa)), Request.DELSA, 0)
    return Answer(name, True)


def _request(netlink: socket.socket, message: XfrmMessage, request: Request, flags: int) -> int:
    """Send one request, wait for its acknowledgement; returns the kernel's error number, 0 for none."""
    message["header"]["type"] = request
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | flags
    message.encode()
    try:
        netlink.send(message.data)
        reply = netlink.recv(65536)
    except OSError as error:
        return error.errno or errno.EIO
    _, kind, _, _, _, code = struct.unpack_from("IHHIIi", reply)
    return -code if kind == _NLMSG_ERROR else errno.EPROTO


def _advice(name: str, version: int, code: int) -> str:
    module = "esp4" if version == 4 else "esp6"
    if code == errno.EPROTONOSUPPORT:
        return f"the kernel has no ESP for IPv{version}: try `modprobe {module}`"
    if code in (errno.ENOSYS, errno.ENOENT):
        return (
            f"the kernel has no such cipher for ESP: try `modprobe -a {module} gcm chacha20poly1305 cbc`; "
            "on a kernel built without them use another kernel (the lab: `netns-lab/run --uml`)"
        )
    return str(explain(name, code)).partition(": ")[2]


def _open_interfaces() -> Iterable[Answer]:
    """Interfaces whose settings switch IPsec off: there policies hold nothing back (loopback always so)."""
    for family in ("ipv4", "ipv6"):
        for setting in ("disable_xfrm", "disable_policy"):
            for path in sorted(_SYSCTL.glob(f"{family}/conf/*/{setting}")):
                interface = path.parent.name
                try:
                    off = path.read_text().strip() == "0"
                except OSError:
                    continue
                if interface != "lo" and not off:
                    name = f"net.{family}.conf.{interface}.{setting}"
                    yield Answer(f"{name} is 0", False, f"policies have no effect: `sysctl -w {name}=0`")


def main() -> int:
    """Print every answer; exit status 0 when IPv4 ESP with AES-GCM works."""
    support = esp_support()
    for line in support.lines:
        print(line)
    return 0 if support.ipv4 else 1


if __name__ == "__main__":
    sys.exit(main())
