"""The twin keeps the contract, and says what happened in which order."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace

import pytest
from kernel_contract import (
    NEWS,
    SOURCE,
    CheckContract,
    PolicyContract,
    SaContract,
    policy_for,
    refused,
    sa_for,
)

from gkmd.core.errors import DataplaneError
from gkmd.core.esp import Direction, EspSa
from gkmd.kernel.ledger import SaKey
from gkmd.kernel.recording import RecordedKernel, RecordingDataplane


class RecordingBench:
    def __init__(self) -> None:
        self.kernel = RecordedKernel()

    def dataplane(self) -> RecordingDataplane:
        return RecordingDataplane(self.kernel)

    def policies(self) -> int:
        return len(self.kernel.policies)

    def sas(self) -> int:
        return len(self.kernel.sas)

    def crash(self, dataplane: RecordingDataplane) -> None:
        """Nothing to do: the kernel outlives the data plane."""


class TestRecording(CheckContract, PolicyContract, SaContract):
    @pytest.fixture
    def bench(self) -> RecordingBench:
        return RecordingBench()


async def test_the_history_is_in_order_and_close_takes_policies_last() -> None:
    plane = RecordingDataplane()
    policy, sa = policy_for(Direction.OUT), sa_for(Direction.OUT)
    await plane.install_policy(policy)
    await plane.install_sa(sa)
    switched = replace(policy, reqid=2)
    await plane.switch_output(switched)
    await plane.close()
    assert plane.history == [
        ("install-policy", policy),
        ("install-sa", sa),
        ("switch-output", switched),
        ("remove-sa", sa),
        ("remove-policy", switched),
    ]


async def test_what_is_sent_on_follows_the_reqid_of_the_policy() -> None:
    plane = RecordingDataplane()
    await plane.install_policy(policy_for(Direction.OUT))
    assert plane.kernel.output_sa(SOURCE, NEWS) is None
    old, new = sa_for(Direction.OUT), sa_for(Direction.OUT, spi=0x200, reqid=2)
    await plane.install_sa(old)
    await plane.install_sa(new)
    assert plane.kernel.output_sa(SOURCE, NEWS) is old
    await plane.switch_output(policy_for(Direction.OUT, reqid=2))
    assert plane.kernel.output_sa(SOURCE, NEWS) is new
    await plane.remove_sa(new)
    assert plane.kernel.output_sa(SOURCE, NEWS) is None


async def test_an_expired_sa_may_be_removed_and_installed_again() -> None:
    plane = RecordingDataplane()
    await plane.install_policy(policy_for(Direction.IN))
    await plane.install_sa(sa_for(Direction.IN))
    plane.kernel.expire(NEWS, 0x100)
    await plane.install_sa(sa_for(Direction.IN))
    plane.kernel.expire(NEWS, 0x100)
    await plane.remove_sa(sa_for(Direction.IN))
    assert plane.sas == ()


async def test_close_goes_on_after_a_failure_and_tells_it() -> None:
    class Stubborn(RecordingDataplane):
        async def _drop_sa(self, key: SaKey) -> None:
            raise DataplaneError("the kernel keeps it", errno.EPERM)

    plane = Stubborn()
    await plane.install_policy(policy_for(Direction.IN))
    await plane.install_sa(sa_for(Direction.IN))
    assert await refused(errno.EPERM, plane.close()) == "the kernel keeps it"
    assert plane.kernel.policies == {}


async def test_a_cancelled_installation_is_removed_at_close() -> None:
    class Slow(RecordingDataplane):
        async def _put_sa(self, sa: EspSa) -> None:
            await super()._put_sa(sa)
            await asyncio.sleep(60)

    plane = Slow()
    await plane.install_policy(policy_for(Direction.IN))
    task = asyncio.create_task(plane.install_sa(sa_for(Direction.IN)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(plane.kernel.sas) == 1
    await plane.close()
    assert plane.kernel.sas == {}


async def test_a_refusing_kernel_leaves_nothing_half_installed() -> None:
    plane = RecordingDataplane()
    await plane.install_policy(policy_for(Direction.IN))
    plane.kernel.refusal = DataplaneError("the kernel has no ESP", errno.EPROTONOSUPPORT)
    await refused(errno.EPROTONOSUPPORT, plane.install_sa(sa_for(Direction.IN)))
    await refused(errno.EPROTONOSUPPORT, plane.install_policy(policy_for(Direction.OUT)))
    assert plane.sas == ()
    assert plane.policies == (policy_for(Direction.IN),)
