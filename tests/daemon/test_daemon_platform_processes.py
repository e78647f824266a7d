"""The platform in a real key server: what was told survives SIGKILL, SIGHUP and a disk that is full."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_config import write
from daemon_processes import PATIENCE_SECONDS, Daemon, World, wait_for, world

from gkmd.api.problem import Problem
from gkmd.core.errors import LocalError
from gkmd.core.identity import Identity
from gkmd.core.rng import SeededRng
from gkmd.crypto.issuing import make_authority, make_certificate
from gkmd.crypto.passwords import Cost, hash_password
from gkmd.daemon.control_client import ControlClient

PLATFORM = """
[platform]
socket = "platform.sock"
password_workers = 1
"""


CREDENTIALS = """\
psk_files = ["psk.toml"]
key = "server.key"
certificate = "server.crt"
ca = ["ca.crt"]
"""
RECEIVER = """\
local = ["127.0.0.1:0"]
dataplane = "recording"
[process]
log_format = "json"
[control]
socket = "member.sock"
[ike]
retry_longest = 1
retry_refused = 1
"""
TICKETS = """\
[tickets]
folder = "tickets"
when = "always"
interface = "lo"
"""
LOGIN = """\
[server]
addresses = ["127.0.0.1"]
port = {port}
identity = "fqdn:gcks.example"
[credentials]
name = "nora"
password_file = "password"
ca = ["ca.crt"]
[[group]]
name = "{group}"
interface = "lo"
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as one:
        one.know("tx")
        file = one.server.folder / "server.toml"
        write(one.server.folder, "server.toml", file.read_text() + PLATFORM)
        yield one


def call(made: World, operation: str, /, token: str = "", portal: bool = False, **request: Any) -> Any:
    with ControlClient(made.server.folder / ("platform.sock" if portal else "server.sock")) as client:
        return client.call(operation, request, token, "192.0.2.1" if portal else "")


def groups(made: World) -> dict[str, Any]:
    return {group["name"]: group for group in made.server.ask("groups")}


def reserve(made: World, title: str, **more: Any) -> str:
    start = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(time.time() + 3600))
    more = {"admission": {"open": True}} | more
    made_one = call(made, "reserve", title=title, start=start, duration=600, owner="ann", **more)
    return str(made_one["id"])


def test_a_ticket_and_everything_behind_it_survive_a_crash(made: World) -> None:
    server = made.server
    server.start()
    server.ready()
    call(made, "user-add", login="ann", password="a long password", roles=["sender"])
    call(made, "user-add", login="bob", password="another password")
    opera = reserve(made, "Opera", lead=7200)
    token = call(made, "sign-in", portal=True, login="bob", password="another password")["token"]
    ticket = call(made, "ticket-issue", token, portal=True, id=opera)
    assert opera in ticket["configuration"]
    audited = call(made, "audit-verify")
    server.kill()

    server.start()
    server.ready()
    assert groups(made)[opera]["state"] == "open"
    shown = call(made, "ticket-show", token, portal=True, id=ticket["id"])
    assert shown["secret"] == ticket["secret"]
    again = call(made, "audit-verify")
    assert again["broken"] is None
    assert again["lines"] >= audited["lines"]
    # Nor does a reload end what was reserved.
    text = (server.folder / "server.toml").read_text()
    write(server.folder, "server.toml", text.replace("[platform]", "[platform]\nsign_up = true"))
    server.tell(signal.SIGHUP)
    wait_for("the reload", lambda: server.events("reloaded"))
    assert set(groups(made)) == {"news", opera}
    assert call(made, "sign-up", portal=True, login="eve", password="a long password")["login"] == "eve"
    assert not server.events("restart-needed")

    found = server.ask("metrics")
    assert f'gkmd_group_open{{group="{opera}"}} 1.0' in found
    assert 'gkmd_reservations{state="open"} 1.0' in found
    assert call(made, "metrics")["text"].startswith("# HELP gkmd_info")
    assert call(made, "health")["ledger_balanced"]
    assert server.end() == 0
    assert not server.events("internal-fault")
    log = server.log.read_text()
    assert not [
        word for word in ("password", ticket["secret"], token) if f"{word}" in log.replace("passwords", "")
    ]
    assert not (server.folder / "platform.sock").exists()


def certify(made: World) -> str:
    """The server gets a certificate; the authority's."""
    rng, now, folder = SeededRng("platform processes"), time.time(), made.server.folder
    authority = make_authority("ca", now, 10, rng)
    own = make_certificate(authority, "gcks", [Identity.parse("fqdn:gcks.example")], now, 10, rng)
    write(folder, "ca.crt", authority.certificate_pem.decode())
    write(folder, "server.crt", own.certificate_pem.decode())
    write(folder, "server.key", own.key_pem.reveal().decode())
    text = (folder / "server.toml").read_text()
    write(folder, "server.toml", text.replace('psk_files = ["psk.toml"]\n', CREDENTIALS))
    return authority.certificate_pem.decode()


def receiver(made: World, name: str, text: str, **files: str) -> Daemon:
    daemon = made.members[name] = Daemon("member", made.folder / name)
    (daemon.folder / "tickets").mkdir(parents=True, mode=0o700)
    write(daemon.folder, "member.toml", RECEIVER + text)
    for path, content in files.items():
        write(daemon.folder, path.replace("__", "/").replace("_", "."), content)
    return daemon


def test_who_pays_and_who_is_listed_is_let_in_once(made: World) -> None:
    """By ticket and price, and by name and password; neither a crash nor another registration costs again."""
    server, authority = made.server, certify(made)
    server.start()
    server.ready()
    call(made, "user-add", login="ann", password="a long password", roles=["sender"])
    call(made, "user-add", login="bob", password="another password")
    price = {"amount": 250, "currency": "EUR"}
    opera = reserve(made, "Opera", lead=7200, admission={"any": [{"names": True}, {"price": price}]})
    listed = {"name": "nora", "verifier": hash_password(b"nora's own", cost=Cost(64, 1, 1))}
    begun = call(made, "names-begin", id=opera)["import_id"]
    call(made, "names-add", id=opera, import_id=begun, entries=[listed])
    call(made, "names-commit", id=opera, import_id=begun, expected=1)
    token = call(made, "sign-in", portal=True, login="bob", password="another password")["token"]
    with pytest.raises(Problem, match=r"the price is 2\.50 EUR"):
        call(made, "ticket-issue", token, portal=True, id=opera, most=price)
    call(made, "user-credit", login="bob", amount={"amount": 1000, "currency": "EUR"}, reference="cash 1")
    ticket = call(made, "ticket-issue", token, portal=True, id=opera, most=price)
    buyer = receiver(made, "buyer", TICKETS, tickets__opera_toml=ticket["configuration"])
    login = LOGIN.format(port=made.port, group=opera)
    nora = receiver(made, "nora", login, password="nora's own", ca_crt=authority)
    eve = receiver(made, "eve", login, password="nora's cat", ca_crt=authority)
    for member in (buyer, nora):
        member.start()
    made.wait_registered(nora, buyer)
    eve.start()  # only now: her wrong passwords lock the name out, at the address that they share
    wait_for("the wrong password", lambda: eve.ask("status")["events"].get("connect-failed"))
    assert [one["by"] for one in receivers(made, opera)] == ["names", "price"]
    server.kill()
    server.start("--keylog", "keys")
    server.ready()
    assert len(server.ask("members", group=opera)) == 2
    buyer.ask("leave", group=opera)
    wait_for("the buyer gone", lambda: len(server.ask("members", group=opera)) == 1)
    buyer.ask("register", group=opera)
    wait_for("the buyer back", lambda: len(server.ask("members", group=opera)) == 2)
    (total,) = call(made, "statement", id=opera)["totals"]
    assert (total["charges"], total["gross"]) == (1, 250)
    # What the operator does to groups beside the API is in the audit log like everything else.
    server.ask("remove", group=opera, identity=f"keyid:{ticket['id']}")
    server.ask("rekey", group=opera)
    with pytest.raises(LocalError, match="not a member"):
        server.ask("remove", group=opera, identity="keyid:nobody")
    lines = {line["action"]: line for line in call(made, "audit", newest=True)["lines"]}
    assert lines["member-remove"]["subject"] == lines["rekey"]["subject"] == opera
    assert lines["member-remove"]["detail"] == {"party": [call(made, "user-show", login="bob")["id"]]}
    assert lines["rekey"]["actor"] == lines["key-log"]["actor"] == f"unix:{os.getuid()}"
    assert call(made, "ledger")["balanced"]
    assert call(made, "audit-verify")["broken"] is None
    assert 'gkmd_charged_minor_units{currency="EUR"} 250.0' in server.ask("metrics")
    assert eve.ask("status")["registered"] == 0
    for daemon in (buyer, nora, eve, server):
        assert daemon.end() == 0
        assert not daemon.events("internal-fault")
        log = daemon.log.read_text()
        assert not [one for one in ("nora's own", "nora's cat", ticket["secret"]) if one in log]


def receivers(made: World, reservation: str) -> list[Any]:
    return sorted(call(made, "receiver-list", id=reservation)["receivers"], key=lambda one: one["by"])


def test_the_portals_socket_is_for_the_portal(made: World) -> None:
    made.server.start()
    made.server.ready()
    path = made.server.folder / "platform.sock"
    for command in ("status", "members", "rekey", "events", "metrics"):
        with ControlClient(path) as client, pytest.raises(LocalError, match="unknown command"):
            client.request(command)
    for operation in ("user-list", "audit", "metrics", "health"):
        for token in ("", "made up", "gkmd_made-up"):
            with pytest.raises(Problem) as refused:
                call(made, operation, token, portal=True)
            assert refused.value.code in ("sign-in-required", "too-many-requests")
    # It is changed by a restart only, and SIGHUP says so.
    text = (made.server.folder / "server.toml").read_text()
    write(made.server.folder, "server.toml", text.replace("password_workers = 1", "password_workers = 2"))
    made.server.tell(signal.SIGHUP)
    wait_for("the reload", lambda: made.server.events("reloaded"))
    assert made.server.events("restart-needed")[0]["changed"] == ["platform"]


def test_what_cannot_be_written_is_not_told(made: World) -> None:
    server = made.server
    server.start()
    server.ready()
    call(made, "user-add", login="ann", password="a long password", roles=["sender"])
    assert server.end() == 0
    used = max(path.stat().st_size for path in (server.folder / "state").iterdir())

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (used, used))

    server.log = Path("/dev/null")
    server.start(before=limit)
    server.ready()
    code = ""
    for number in range(60):
        try:
            reserve(made, f"Opera {number}", description="x" * 4000)
        except Problem as problem:
            code = problem.code
            break
    assert code == "journal-failed"
    assert call(made, "health")["journal_error"]
    assert "gkmd_journal_failing 1.0" in server.ask("metrics")
    assert server.ask("status")["events"].get("internal-fault", 0) == 0
    assert server.end() == 0


def test_a_reservation_and_a_configured_group_of_one_name(made: World) -> None:
    """A start that cannot keep both says so, and a reload leaves everything as it was."""
    server = made.server
    server.start()
    server.ready()
    call(made, "user-add", login="ann", password="a long password", roles=["sender"])
    opera = reserve(made, "Opera")
    text = (server.folder / "server.toml").read_text()
    twin = f'\n[[group]]\nname = "{opera}"\naddress = "239.10.0.9"\nreceivers = ["any"]\n'
    write(server.folder, "server.toml", text + twin)
    server.tell(signal.SIGHUP)
    (failed,) = wait_for("the failed reload", lambda: server.events("reload-failed"))
    assert opera in failed["error"]
    assert set(groups(made)) == {"news", opera}
    server.kill()
    server.start()
    assert server.process is not None
    assert server.process.wait(PATIENCE_SECONDS) == 2
    assert f"group '{opera}'" in server.log.read_text().splitlines()[-1]
    # Without the platform its groups are closed, and nothing else is lost.
    write(server.folder, "server.toml", text.replace(PLATFORM, ""))
    server.start()
    server.ready()
    assert set(groups(made)) == {"news"}
    assert any("there is no [platform]" in line["advice"] for line in server.events("configuration"))
    assert server.end() == 0
    write(server.folder, "server.toml", text)
    server.start()
    server.ready()
    assert set(groups(made)) == {"news", opera}
