"""As documented: the set-up of the README, line by line, makes a group that works."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from lab.keying import START_SECONDS
from lab.processes import Process
from lab.scenario import Lab
from lab.topology import Network

from gkmd.daemon.control_client import ControlClient

SECONDS = 360
GROUP, PORT = "239.10.0.1", 5004
SERVER_ADDRESS = "192.0.2.1"  # what the README calls it
PACKETS = 200


def documented(readme: Path) -> list[tuple[str, list[str]]]:
    """(host, words) of each line of the README's block of ``host$ command`` lines."""
    lines = re.findall(r"^(gcks|tx|rx)\$ (.+)$", readme.read_text(), re.MULTILINE)
    return [(host, shlex.split(command)) for host, command in lines]


class Hosts:
    """Carries out the README's lines. Every host has /etc/gkmd, state and socket in a folder of its own."""

    def __init__(self, lab: Lab, net: Network) -> None:
        self.lab = lab
        self.net = net
        self.gkmd = str(Path(sys.executable).parent / "gkmd")
        self.daemons: dict[str, Process] = {}

    def etc(self, host: str) -> Path:
        return self.net[host].run / "etc"

    def place(self, host: str, word: str) -> str:
        word = word.replace("/etc/gkmd", str(self.etc(host))).replace(SERVER_ADDRESS, self.net["gcks"].ipv4)
        return str(self.net["gcks"].run / word) if word in ("tx", "rx") else word

    def carry_out(self, host: str, words: list[str]) -> str:
        """What the command printed."""
        self.lab.progress(f"{host}$ {' '.join(words)}")
        if words[0] == "scp":
            source, target = words[2], words[3]
            shutil.copytree(self.place(host, source), self.etc(target.partition("@")[2].partition(":")[0]))
            return ""
        words = [self.place(host, word) for word in words]
        if words[1] in ("server", "member"):
            assert words.pop() == "&"
            self.daemons[host] = self.net[host].start(words[1], [self.gkmd, *words[1:]])
            return ""
        if words[1] == "init":
            words.append("--self-contained")  # state and socket in its own folder: the hosts share a disk
        if words[1] == "ctl":
            kind = "server" if host == "gcks" else "member"
            socket = self.etc(host) / f"{kind}.sock"
            self.daemons[host].wait_until(f"the control socket on {host}", socket.exists, START_SECONDS)
            words[2:2] = ["--socket", str(socket), "--json"]
        done = subprocess.run(
            ["ip", "netns", "exec", self.net[host].namespace, self.gkmd, *words[1:]],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "200"},
        )
        self.lab.check(f"{host}: exit status of {' '.join(words[:3])}", 0, done.returncode)
        if done.returncode:
            self.lab.say(done.stdout + done.stderr)
        return done.stdout


def scenario(lab: Lab) -> None:
    net = lab.network("gcks", "tx", "rx")
    lab.watch_keys(net["tx"], net["rx"])
    hosts = Hosts(lab, net)

    lab.step("The README's lines")
    lines = documented(lab.repo / "README.md")
    lab.check("lines", 10, len(lines))
    asked = [(host, words) for host, words in lines if words[1] == "ctl"]
    for host, words in lines:
        if (host, words) not in asked:
            hosts.carry_out(host, words)
    for host in ("tx", "rx"):
        hosts.daemons[host].wait_log("group-state", START_SECONDS)
    # A receiver may be in before the sender is: the sender's SA comes to it with a rekey message then.
    with (
        ControlClient(hosts.etc("rx") / "member.sock") as rx,
        ControlClient(hosts.etc("tx") / "member.sock") as tx,
    ):
        lab.wait_for("the SA of tx on rx", lambda: len(rx.request("sas", group="")) >= 2)
        sas = lambda: tx.request("sas", group="")  # noqa: E731
        lab.wait_for("an SA that tx sends on", lambda: any(row.get("sending") for row in sas()))
    answers = {words[2]: json.loads(hosts.carry_out(host, words)) for host, words in asked}
    who = sorted(row["identity"] for row in answers["members"])
    lab.check("gkmd ctl members", ["fqdn:rx.example", "fqdn:tx.example"], who)
    lab.at_least("gkmd ctl sas: SAs of rx", 2, len(answers["sas"]))

    lab.step(f"{PACKETS} packets from tx to rx")
    (wire,) = lab.capture(net.switch)
    receiver = lab.receive(net["rx"], GROUP, PORT)
    net.wait_for_members(GROUP, ["rx"])
    stream = lab.send(net["tx"], GROUP, PORT, rate=100, count=PACKETS)
    stream.wait()
    receiver.settle(stream)
    receiver.stop()
    lab.judge_delivery(stream, receiver)
    lab.judge_wire(wire, [PORT], esp=PACKETS, what="the wire")

    lab.step("The daemons end")
    for host in ("tx", "rx", "gcks"):
        hosts.daemons[host].stop()
