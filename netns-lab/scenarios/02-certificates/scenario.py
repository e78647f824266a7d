"""Certificates and pinned keys: who proves the wrong thing gets nothing, on either side."""

import time
from pathlib import Path

from lab.keying import DATA_PORT, SERVER_ID, GroupMember, KeyServer, group, identity, part
from lab.scenario import Lab

from gkmd.core.identity import Identity
from gkmd.core.rng import system_rng
from gkmd.crypto import issuing
from gkmd.crypto.authentication import SigningKey
from gkmd.crypto.raw_keys import public_pem

SECONDS = 400
GROUP = "239.77.2.1"
GOOD = ("sender", "r1", "r2")  # r1 by certificate, r2 by a pinned raw public key
PACKETS = 200


def issue(folder: Path, authority: issuing.Issued, name: str, kind: str) -> dict[str, object]:
    """A key and a certificate for ``name`` as files, and the [credentials] that name them."""
    made = issuing.make_certificate(
        authority, name, [Identity.parse(name)], time.time(), 30, system_rng, kind=kind
    )
    return {
        "certificate": save(folder / "cert.pem", made.certificate_pem),
        **key(folder, made.key_pem.reveal()),
    }


def key(folder: Path, pem: bytes) -> dict[str, object]:
    return {"key": save(folder / "key.pem", pem)}


def save(path: Path, octets: bytes) -> str:
    path.touch(0o600)
    path.write_bytes(octets)
    return str(path)


def scenario(lab: Lab) -> None:
    lab.step("Two authorities: the lab's own, and one that nobody here should believe")
    net = lab.network("gcks", *GOOD, "impostor", "wary")
    now = time.time()
    ours = issuing.make_authority("lab CA", now, 30, system_rng)
    theirs = issuing.make_authority("another CA", now, 30, system_rng, kind="ecdsa-p256")
    hosts = {name: net[name].run for name in ("gcks", *GOOD, "impostor", "wary")}
    authorities = {
        name: {"ca": [save(folder / "ca.pem", (theirs if name == "wary" else ours).certificate_pem)]}
        for name, folder in hosts.items()
    }
    raw = issuing.make_key("ed25519", system_rng).reveal()
    pin = public_pem(SigningKey.load_pem(raw).spki_der)
    credentials = {
        "gcks": issue(hosts["gcks"], ours, SERVER_ID, "ecdsa-p256")
        | {"pinned": {identity("r2"): [save(hosts["gcks"] / "r2.pub", pin)]}},
        "sender": issue(hosts["sender"], ours, identity("sender"), "ed25519"),
        "r1": issue(hosts["r1"], ours, identity("r1"), "ecdsa-p384"),
        "r2": {**key(hosts["r2"], raw), "raw_public_key": True},
        "impostor": issue(hosts["impostor"], theirs, identity("impostor"), "ecdsa-p256"),
        "wary": issue(hosts["wary"], ours, identity("wary"), "ed25519"),
    }
    lab.watch_keys(*(net[name] for name in GOOD))
    (wire,) = lab.capture(net.switch)

    lab.step("The key server, then everybody")
    server = KeyServer(lab, net["gcks"])
    server.configure(
        [group("news", GROUP, ["sender"], ["*"])], credentials=credentials["gcks"] | authorities["gcks"]
    )
    server.start()
    members = {name: GroupMember(lab, net[name]) for name in (*GOOD, "impostor", "wary")}
    for name, member in members.items():
        role = "sender" if name == "sender" else "receiver"
        member.configure(
            server, [{"name": "news", "role": role}], credentials=credentials[name] | authorities[name]
        )
        member.start(wait=False)
    for name in GOOD:
        members[name].wait_joined("news")
    lab.wait_for("the impostor's refusal at the server", lambda: server.events("authentication-failed"))
    members["wary"].wait_ready()
    lab.wait_for("the wary member's refusal of the server", lambda: members["wary"].events("connect-failed"))

    lab.step(f"{PACKETS} packets")
    receivers = {name: lab.receive(net[name], GROUP, DATA_PORT) for name in ("r1", "r2", "impostor", "wary")}
    net.wait_for_members(GROUP, list(receivers))
    stream = lab.send(net["sender"], GROUP, DATA_PORT, rate=100, count=PACKETS)
    stream.wait()
    for name in ("r1", "r2"):
        receivers[name].settle(stream)
        receivers[name].stop()
        lab.judge_delivery(stream, receivers[name])
    lab.judge_wire(wire, [DATA_PORT], esp=PACKETS, what="the wire")
    lab.check("members that the server knows", sorted(GOOD), server.member_hosts("news"))
    for name in ("impostor", "wary"):
        receivers[name].stop()
        lab.check(f"{name}: datagrams", 0, receivers[name].total())
        lab.check(f"{name}: SAs in its kernel", "", net[name].ip("xfrm state").strip())
        lab.check(f"{name}: became a member", 0, members[name].registrations("news"))

    lab.step("Everybody leaves")
    part(members, server, ["news"])
