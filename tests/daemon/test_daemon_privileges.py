"""What the daemons keep of their privileges, and what they say when they lack some."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from daemon_config import write_member, write_server

from gkmd.core.errors import ConfigError, DataplaneError, LocalError
from gkmd.daemon import member, member_config, privileges, server, server_config, sockets
from gkmd.daemon.udp import Udp
from gkmd.kernel import probe
from gkmd.kernel.probe import Answer, EspSupport

DROP = """
import pwd, sys
from gkmd.daemon import privileges
to = pwd.getpwnam("nobody") if sys.argv[1] == "nobody" else None
keep = privileges.MEMBER_CAPABILITIES if sys.argv[2] == "member" else privileges.NO_CAPABILITIES
privileges.drop(to, keep, (12345,) if to else ())
privileges.hide_memory()
wanted = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")
for line in open("/proc/self/status"):
    if line.split(":")[0] in wanted:
        print(line.strip())
import resource, pyprctl
print("Core:", resource.getrlimit(resource.RLIMIT_CORE))
print("Dumpable:", pyprctl.get_dumpable())
"""
NET_ADMIN_AND_BIND = (1 << 12) | (1 << 10)


def state_after(user: str, kind: str) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", DROP, user, kind], capture_output=True, text=True, check=True, timeout=90
    )
    pairs = (line.split(":", 1) for line in done.stdout.splitlines())
    return {name: rest.split() for name, rest in pairs}


@pytest.mark.root
@pytest.mark.parametrize(("kind", "kept"), [("server", 0), ("member", NET_ADMIN_AND_BIND)])
def test_root_becomes_the_user_and_keeps_what_it_needs(kind: str, kept: int) -> None:
    state = state_after("nobody", kind)
    assert state["Uid"] == ["65534"] * 4
    assert state["Gid"] == ["65534"] * 4
    assert state["Groups"] == ["12345"]
    for name in ("CapPrm", "CapEff"):
        assert int(state[name][0], 16) == kept
    for name in ("CapInh", "CapAmb"):
        assert int(state[name][0], 16) == 0
    assert int(state["CapBnd"][0], 16) & ~NET_ADMIN_AND_BIND == 0
    assert state["NoNewPrivs"] == ["1"]
    assert state["Core"] == ["(0,", "0)"]
    assert state["Dumpable"] == ["False"]


def test_without_a_user_nothing_more_is_gained() -> None:
    state = state_after("", "member")
    assert state["NoNewPrivs"] == ["1"]
    assert state["Core"] == ["(0,", "0)"]
    if os.geteuid() != 0:
        assert int(state["CapEff"][0], 16) & ~NET_ADMIN_AND_BIND == 0


def test_which_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = privileges.account("nobody")
    assert found is not None
    assert found.pw_name == "nobody"
    with pytest.raises(ConfigError, match="there is no user 'nobody-here': `useradd"):
        privileges.account("nobody-here")
    monkeypatch.setattr(privileges, "SERVICE_USER", "nobody-here")
    assert privileges.account("") is None
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert privileges.account("") is None
    assert privileges.account("nobody") is None
    with pytest.raises(ConfigError, match="cannot become 'root': not started as root"):
        privileges.account("root")
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)  # a number without an account
    with pytest.raises(ConfigError, match="cannot become 'nobody'"):
        privileges.account("nobody")


def test_a_refusal_to_drop_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(privileges.pyprctl, "set_no_new_privs", refuse)
    with pytest.raises(LocalError, match="cannot give up privileges: Operation not permitted"):
        privileges.drop(None, frozenset(privileges.pyprctl.CapState.get_current().permitted))


def test_a_member_without_the_capability_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_member(tmp_path)
    file.write_text(file.read_text().replace('"recording"', '"xfrm"'))
    monkeypatch.setattr(privileges, "has_net_admin", lambda: False)
    with pytest.raises(LocalError, match="needs CAP_NET_ADMIN: start it as root"):
        member.run(member_config.load(file))
    assert {path.name for path in tmp_path.iterdir()} == {"member.toml"}


def test_a_kernel_without_esp_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = (Answer("XFRM over netlink", True), Answer("ESP for IPv4", False, "try `modprobe esp4`"))
    monkeypatch.setattr(probe, "esp_support", lambda: EspSupport(False, False, answers))
    with pytest.raises(DataplaneError, match="this kernel cannot do ESP: try `modprobe esp4`"):
        member.open_dataplane("xfrm")


def test_a_failed_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails after the sockets are bound: they and the control socket are gone."""
    config = server_config.load(write_server(tmp_path))

    def fail(*_: object) -> None:
        raise LocalError("no")

    monkeypatch.setattr(privileges, "drop", fail)
    with pytest.raises(LocalError, match="no"):
        server.run(config)
    assert not config.control.socket.exists()


def test_a_host_without_ipv6_is_no_error_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sockets.socket.socket

    def without(family: int, *rest: int) -> object:
        if family == sockets.socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest)

    monkeypatch.setattr(sockets.socket, "socket", without)
    udp = Udp()
    udp.open([("0.0.0.0", 0), ("::", 0)], any_family=True)
    assert [host for host, _ in udp.local] == ["0.0.0.0"]
    udp.close()
    with pytest.raises(LocalError, match="this host has no IPv6"):
        Udp().open([("0.0.0.0", 0), ("::", 0)])


def test_a_low_port_without_privileges() -> None:
    error = sockets.bind_error(PermissionError(errno.EACCES, "Permission denied"), "0.0.0.0", 848)
    assert "CAP_NET_BIND_SERVICE" in str(error)


def test_the_state_folder_is_ours_alone(tmp_path: Path) -> None:
    server.make_state_folder(tmp_path / "a" / "b" / "state.db", None)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o077 == 0
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"state\.path: cannot make"):
        server.make_state_folder(tmp_path / "file" / "below" / "state.db", None)
