"""The test traffic, a program: ``python -m lab.traffic send`` and ``receive``, run inside a host.

The sender keeps an absolute schedule: packet n is due at start + n / rate, however late the one before was.
Both write a JSON report now and then, on SIGUSR1, and when they end (SIGTERM or SIGINT), each time as a
whole; its ``asked`` counts the SIGUSR1 that it answers.
Only cheap imports: a guest kernel takes its time to start Python.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import struct
import time

from lab.accounts import HEADER, MARKER, Account

SO_MEMINFO = 55  # asm-generic/socket.h; the ninth word counts datagrams dropped at this socket
REPORT_EVERY = 0.5  # seconds


def write_report(path: str, report: dict[str, object]) -> None:
    with open(path + ".new", "w", encoding="ascii") as file:
        json.dump(report, file)
    os.replace(path + ".new", path)


def open_socket(group: str, interface: str) -> tuple[socket.socket, int]:
    """A UDP socket of the group's family, and the interface's index."""
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    return socket.socket(family, socket.SOCK_DGRAM), socket.if_nametoindex(interface)


class Signals:
    """What the lab has told us: to stop, and how often to report."""

    def __init__(self) -> None:
        self.stop = False
        self.asked = 0
        self.answered = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGUSR1, self._on_ask)

    def _on_stop(self, *_: object) -> None:
        self.stop = True

    def _on_ask(self, *_: object) -> None:
        self.asked += 1


def send(options: argparse.Namespace, signals: Signals) -> None:
    sender, index = open_socket(options.group, options.interface)
    if sender.family == socket.AF_INET6:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, options.ttl)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    else:
        mreqn = struct.pack("@4s4si", bytes(4), bytes(4), index)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, mreqn)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, options.ttl)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    if options.source:
        sender.bind((options.source, 0))
    padding = (MARKER * (options.size // len(MARKER) + 1))[: max(0, options.size - HEADER.size)]
    errors: dict[str, int] = {}
    sent = 0
    worst_late = 0.0

    def report(final: bool) -> None:
        signals.answered = signals.asked
        fields = {"sent": sent, "errors": errors, "worst_late_ms": round(worst_late * 1e3, 1)}
        fields |= {"seconds": time.monotonic() - start, "asked": signals.answered, "final": final}
        write_report(options.report, fields)

    start = time.monotonic()
    report(final=False)
    next_report = start + REPORT_EVERY
    while not signals.stop and (options.count == 0 or sent < options.count):
        due = start + sent / options.rate
        now = time.monotonic()
        if due > now:
            time.sleep(due - now)
            now = time.monotonic()
        worst_late = max(worst_late, now - due)
        packet = HEADER.pack(MARKER, options.stream, sent, time.monotonic_ns()) + padding
        try:
            sender.sendto(packet, (options.group, options.port))
        except OSError as error:  # counted, and its number is lost: the receivers' accounts will say so
            errors[error.strerror or str(error)] = errors.get(error.strerror or str(error), 0) + 1
        sent += 1
        if now >= next_report or signals.asked != signals.answered:
            report(final=False)
            next_report = now + REPORT_EVERY
    report(final=True)


def receive(options: argparse.Namespace, signals: Signals) -> None:
    receiver, index = open_socket(options.group, options.interface)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for option in (socket.SO_RCVBUF, 33):  # 33: SO_RCVBUFFORCE, beyond the limit where we may
        try:
            receiver.setsockopt(socket.SOL_SOCKET, option, 8 << 20)
        except PermissionError:
            break
    receiver.bind((options.group, options.port))
    join(receiver, options.group, index, options.source)
    receiver.setblocking(False)
    poll = select.poll()
    poll.register(receiver, select.POLLIN)
    accounts: dict[int, Account] = {}
    foreign = 0

    def report(final: bool) -> None:
        signals.answered = signals.asked
        drops = struct.unpack("9I", receiver.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))[8]
        streams = {str(number): account.report() for number, account in accounts.items()}
        fields = {"streams": streams, "foreign": foreign, "socket_drops": drops}
        write_report(options.report, {**fields, "asked": signals.answered, "final": final})

    report(final=False)
    next_report = time.monotonic() + REPORT_EVERY
    while not signals.stop:
        poll.poll(50)  # milliseconds: a signal does not end it, so this is how late an answer may be
        for _ in range(256):
            try:
                packet = receiver.recv(65535)
            except BlockingIOError:
                break
            now = time.monotonic_ns()
            if len(packet) < HEADER.size or not packet.startswith(MARKER):
                foreign += 1
                continue
            _, stream, sequence, sent = HEADER.unpack_from(packet)
            accounts.setdefault(stream, Account()).add(sequence, sent, now)
        if time.monotonic() >= next_report or signals.asked != signals.answered:
            report(final=False)
            next_report = time.monotonic() + REPORT_EVERY
    report(final=True)


def join(receiver: socket.socket, group: str, index: int, source: str) -> None:
    """Become a member of the group, from one source only when it is given (MCAST_JOIN_SOURCE_GROUP)."""
    if source:
        level = socket.IPPROTO_IPV6 if ":" in group else socket.IPPROTO_IP
        request = struct.pack("@I4x", index) + sockaddr(group) + sockaddr(source)
        receiver.setsockopt(level, 46, request)
    elif ":" in group:
        request = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)
        receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    else:
        request = struct.pack("@4s4si", socket.inet_aton(group), bytes(4), index)
        receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)


def sockaddr(address: str) -> bytes:
    """A struct sockaddr_storage with this address and no port."""
    if ":" in address:
        head = struct.pack("@HHI", socket.AF_INET6, 0, 0) + socket.inet_pton(socket.AF_INET6, address)
    else:
        head = struct.pack("@HH", socket.AF_INET, 0) + socket.inet_aton(address)
    return head.ljust(128, b"\0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, function in (("send", send), ("receive", receive)):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        command.add_argument("group")
        command.add_argument("port", type=int)
        command.add_argument("--interface", default="eth0")
        command.add_argument(
            "--source", default="", help="sender: address to send from; receiver: only from it"
        )
        command.add_argument("--report", required=True, help="JSON file")
        if function is send:
            command.add_argument("--rate", type=float, default=100.0, help="packets per second")
            command.add_argument("--count", type=int, default=0, help="stop after so many (0: until SIGTERM)")
            command.add_argument("--size", type=int, default=200, help="octets of UDP payload")
            command.add_argument("--stream", type=int, default=1)
            command.add_argument("--ttl", type=int, default=4)
    options = parser.parse_args()
    options.function(options, Signals())


if __name__ == "__main__":
    main()
