"""The whole contract of the data plane, on a kernel with ESP."""

from __future__ import annotations

import logging

import pytest
from kernel_contract import PolicyContract, SaContract, policy_for, refused, sa_for
from kernel_hosts import Host
from xfrm_bench import XfrmBench

from gkmd.core.algorithms import AES_CBC_128, CIPHERS, HMAC_SHA2_256_128, INTEGRITIES, Cipher, Integrity
from gkmd.core.esp import Direction
from gkmd.kernel.probe import esp_support

pytestmark = pytest.mark.guest


class TestXfrm(PolicyContract, SaContract):
    @pytest.fixture
    def bench(self, host: Host) -> XfrmBench:
        return XfrmBench(host)


COMBINATIONS = [
    *((cipher, None if cipher.aead else HMAC_SHA2_256_128) for cipher in CIPHERS),
    *((AES_CBC_128, integrity) for integrity in INTEGRITIES[1:]),
]


@pytest.mark.parametrize(("cipher", "integrity"), COMBINATIONS)
@pytest.mark.parametrize("direction", list(Direction))
async def test_every_combination_and_the_probe_knew(
    host: Host, direction: Direction, cipher: Cipher, integrity: Integrity | None
) -> None:
    assert esp_support().supports(cipher, integrity, 4)
    plane = host.dataplane()
    await plane.install_policy(policy_for(direction))
    sa = sa_for(direction, cipher=cipher, integrity=integrity)
    await plane.install_sa(sa)
    # iproute2 prints the keys: they and their sizes arrived as they were meant.
    text = host.xfrm("state").replace(" ", "")
    key = sa.key.reveal()
    assert key[: cipher.key_octets].hex() in text
    assert key[cipher.key_octets :].hex() in text
    assert f"{integrity.icv_octets * 8 if integrity else cipher.icv_octets * 8}\n" in text
    await plane.close()


async def test_a_key_stays_out_of_errors_and_logs(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    plane = host.dataplane()
    await plane.install_policy(policy_for(Direction.IN))
    sa = sa_for(Direction.IN)
    with caplog.at_level(logging.DEBUG):
        await plane.install_sa(sa)
        line = await refused(17, plane.install_sa(sa))
        await plane.recover()
        await plane.close()
    key = sa.key.reveal()
    for text in (line, caplog.text):
        for start in range(len(key) - 8):
            window = key[start : start + 8]
            assert window.hex() not in text.replace(":", "").replace(" ", "")
            assert repr(window)[2:-1] not in text
