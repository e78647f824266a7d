from __future__ import annotations

from group_fixtures import RECEIVER, T0, TX, Server, member


def test_a_rekey_goes_from_the_server_to_a_member() -> None:
    server = Server()
    server.new_tek(T0, TX)
    receiver = member(RECEIVER)
    receiver.admit(server.grant(RECEIVER, T0), T0)
    old = receiver.rekey_spis
    effects = receiver.receive_rekey_untrusted(server.rekey(T0 + 1, kek=True), T0 + 1)
    assert "InstallSa" in [type(e).__name__ for e in effects]
    assert receiver.rekey_spis == (*old, server.kek.spi)
