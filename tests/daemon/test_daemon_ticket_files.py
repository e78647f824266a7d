"""Ticket files: what is read, what is refused and how it is told, and a folder of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from daemon_config import write
from hypothesis import given
from hypothesis import strategies as st
from ticket_texts import ENDS, SECRET, ticket_id, ticket_text

from gkmd.core.errors import ConfigError
from gkmd.core.identity import Identity
from gkmd.core.rng import SeededRng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.issuing import make_authority
from gkmd.daemon.ticket_file import LARGEST_CHARACTERS, LocalChoices, load_ticket, read_ticket
from gkmd.daemon.ticket_folder import TicketFolder

HERE = LocalChoices("eth0")
NAME = Path("some.toml")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "ticket-file.md"


def test_a_ticket_says_who_where_and_what() -> None:
    ticket = read_ticket(ticket_text(3, sources='["192.0.2.9"]'), NAME, HERE)
    assert ticket.id == ticket_id(3)
    assert ticket.credentials.identity == Identity.parse(f"keyid:{ticket_id(3)}")
    server = Identity.parse("fqdn:gcks.example")
    assert ticket.credentials.pre_shared_keys == {server: SecretBytes(bytes.fromhex(SECRET))}
    assert ticket.ends == ENDS
    join = ticket.join
    assert (join.name, str(join.group_id), join.interface) == ("concert-3", "keyid:concert-3", "eth0")
    assert (join.receives, join.sends) == (True, False)
    assert join.flow is not None
    assert (str(join.flow[0]), *join.flow[1:]) == ("239.192.0.3", 17, 5004)
    assert [str(net) for net in join.data_addresses + join.data_sources] == ["239.192.0.3/32", "192.0.2.9/32"]


def test_the_example_of_the_document_is_a_ticket() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.S)
    pem = make_authority("ca", 1_800_000_000.0, 10, SeededRng("ticket")).certificate_pem.decode()
    text = re.sub(r"-----BEGIN.*END CERTIFICATE-----\n", lambda _: pem, text, flags=re.S)
    ticket = read_ticket(text, NAME, HERE)
    assert ticket.credentials.trust_anchors is not None
    assert ticket.group == "evening-concert-7k2m9x"


@pytest.mark.parametrize(
    ("found", "instead", "told"),
    [
        ('ticket = "t-', 'ticket = "x-', "some.toml:1: ticket: found"),
        (f'secret = "{SECRET}"\n', "", "secret: missing"),
        (SECRET, SECRET[:-2], "some.toml:2: secret: expected 64 hex digits"),
        ("starts = 2027-01-15T08:00:00Z", "starts = 2027-01-15T08:00:00", "starts: found"),
        ("ends = 2027-01-15T10:00:00Z", "ends = 2027-01-15T07:00:00Z", "ends: found an end before the start"),
        ("ends = 2027-01-15T10:00:00Z", 'ends = ""', "ends: found"),
        ('["127.0.0.1"]', "[]", "server.addresses: found []"),
        ('["127.0.0.1"]', str(["192.0.2.1"] * 65), "at most 64"),
        ("port = 848", "port = 0", "server.port: found 0"),
        ("port = 848", 'port = 848\nca = "no PEM"', "server.ca"),
        ('address = "239.192.0.1"', 'address = "192.0.2.1"', "transmission.address: found"),
        ('address = "239.192.0.1"', 'address = "224.0.0.251"', "no link protocol"),
        ('address = "239.192.0.1"', 'address = "ff05::1%eth0"', "transmission.address: found"),
        ('["127.0.0.1"]', '["fe80::1%\\u001b[2J"]', "server.addresses: found"),
        ("sources = []", 'sources = ["fd00::1"]', "transmission.sources"),
        ("sources = []", 'sources = ["239.1.1.1"]', "transmission.sources"),
        ('protocol = "udp"', 'protocol = "any"', "transmission.port: found 5004, expected 0"),
        ('role = "receiver"', 'role = "both"', "transmission.role: found"),
        ('role = "receiver"', 'role = "receiver"\nroll = 1', "unknown key; did you mean 'role'?"),
        ('id = "concert-1"', 'id = "../../etc"', "transmission.id: found"),
        ("[transmission]", "[transmision]", "transmission.id: missing"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_key(found: str, instead: str, told: str) -> None:
    text = ticket_text()
    assert found in text
    with pytest.raises(ConfigError) as caught:
        read_ticket(text.replace(found, instead), NAME, HERE)
    assert told in str(caught.value)
    assert SECRET[:-2] not in str(caught.value)


def test_text_without_an_end_is_no_ticket() -> None:
    with pytest.raises(ConfigError, match="values within values"):
        read_ticket("a = " + "[" * 60_000, NAME, HERE)
    with pytest.raises(ConfigError, match="too long"):
        read_ticket("#" * (LARGEST_CHARACTERS + 1), NAME, HERE)


@given(st.data())
def test_any_damage_is_a_clear_error(data: st.DataObject) -> None:
    text = ticket_text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 30)))
    damaged = text[:start] + data.draw(st.text(max_size=10)) + text[end:]
    told = "some.toml"
    try:
        read_ticket(damaged, NAME, HERE)
    except ConfigError as error:
        told = str(error)
    assert told.startswith("some.toml")


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "a.toml", ticket_text(), 0o644)
    with pytest.raises(ConfigError, match="chmod 0640"):
        load_ticket(file, HERE)
    file.chmod(0o640)
    assert load_ticket(file, HERE).id == ticket_id()
    with pytest.raises(ConfigError, match="No such file"):
        load_ticket(tmp_path / "b.toml", HERE)


def test_a_folder_is_followed(tmp_path: Path) -> None:
    folder = TicketFolder(tmp_path / "tickets", HERE)
    assert folder.look() == ({}, {})
    (tmp_path / "tickets").mkdir()
    file = write(tmp_path / "tickets", "a.toml", ticket_text(1))
    write(tmp_path / "tickets", "b.toml", ticket_text(2))
    write(tmp_path / "tickets", "half.toml.part", "not yet")
    write(tmp_path / "tickets", ".hidden.toml", "not at all")
    tickets, complaints = folder.look()
    assert (set(tickets), complaints) == ({ticket_id(1), ticket_id(2)}, {})
    same, _ = folder.look()
    assert same[ticket_id(1)] is tickets[ticket_id(1)]

    write(tmp_path / "tickets", "c.toml", ticket_text(2))
    write(tmp_path / "tickets", "d.toml", "ticket = ")
    os.replace(write(tmp_path, "new", ticket_text(1, ends=ENDS + 600)), file)
    tickets, complaints = folder.look()
    assert tickets[ticket_id(1)].ends == ENDS + 600
    assert set(complaints) == {"c.toml", "d.toml"}
    assert "in another file, too" in complaints["c.toml"]

    (tmp_path / "tickets" / "b.toml").unlink()
    file.unlink()
    assert set(folder.look()[0]) == {ticket_id(2)}  # of c.toml now
    (tmp_path / "tickets" / "c.toml").chmod(0o666)
    tickets, complaints = folder.look()
    assert set(tickets) == {ticket_id(2)}  # a ticket goes when its file goes
    assert "has mode 0666" in complaints["c.toml"]


def test_one_bad_entry_of_a_folder_keeps_no_other_out(tmp_path: Path) -> None:
    (tmp_path / "a.toml").symlink_to("a.toml")
    (tmp_path / "b.toml").symlink_to("nowhere")
    write(tmp_path, "c.toml", ticket_text(3))
    tickets, complaints = TicketFolder(tmp_path, HERE).look()
    assert set(tickets) == {ticket_id(3)}
    assert list(complaints) == ["a.toml"]


def test_a_pipe_is_no_ticket_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="no regular file"):
        load_ticket(tmp_path / "pipe", HERE)


def test_a_folder_that_others_can_write_to_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, "a.toml", ticket_text(1))
    os.mkfifo(tmp_path / "b.toml")
    folder = TicketFolder(tmp_path, HERE)
    tickets, complaints = folder.look()
    assert set(tickets) == {ticket_id(1)}
    assert list(complaints) == ["b.toml"]
    tmp_path.chmod(0o777)
    write(tmp_path, "c.toml", ticket_text(3))
    tickets, complaints = folder.look()
    assert set(tickets) == {ticket_id(1)}  # as it was
    assert "others can write to it" in complaints[""]
    assert TicketFolder(tmp_path, HERE).look()[0] == {}


def test_a_title_is_one_line_of_text() -> None:
    text = ticket_text().replace("Evening concert 1", r"a\u001b[2Jb\nc" + "x" * 300)
    assert read_ticket(text, NAME, HERE).title == ("a?[2Jb?c" + "x" * 300)[:200]
