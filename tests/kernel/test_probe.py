"""The probe's answers on whatever kernel this is: never an exception, always something to do."""

from __future__ import annotations

import subprocess
import sys

import pytest
from kernel_hosts import Host

from gkmd.core.algorithms import AES_CBC_128, AES_GCM_16_128, CIPHERS, HMAC_SHA2_256_128
from gkmd.kernel.probe import Answer, EspSupport, esp_support


def test_every_answer_is_one_line_and_every_no_says_what_to_do() -> None:
    support = esp_support()
    assert support.answers
    for answer in support.answers:
        assert "\n" not in str(answer)
        assert answer.works or answer.advice
    assert bool(support.advice) == any(not answer.works for answer in support.answers)
    assert support.ipv4 == support.supports(CIPHERS[0], None, 4)


@pytest.mark.root
def test_the_command_prints_the_answers_and_leaves_nothing(host: Host) -> None:
    done = subprocess.run(
        ["ip", "netns", "exec", host.namespace, sys.executable, "-W", "error", "-m", "gkmd.kernel.probe"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == (0 if esp_support().ipv4 else 1)
    assert done.stdout.startswith("yes  XFRM over netlink\n")
    assert "ESP for IPv4" in done.stdout
    assert "ESP for IPv6" in done.stdout
    assert host.xfrm("state") == ""


@pytest.mark.root
def test_interfaces_that_switch_ipsec_off_are_named(host: Host) -> None:
    host.set("ipv4/conf/e0/disable_policy", "1")
    support = host.inside(esp_support)
    host.set("ipv4/conf/e0/disable_policy", "0")
    assert any(
        line == "no   net.ipv4.conf.e0.disable_policy is 0: policies have no effect: "
        "`sysctl -w net.ipv4.conf.e0.disable_policy=0`"
        for line in support.lines
    )


@pytest.mark.root
def test_without_the_capability_it_is_named() -> None:
    drop_and_probe = (
        "import os, sys; from gkmd.kernel.probe import main; "
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", drop_and_probe],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "CAP_NET_ADMIN" in done.stdout


def test_support_is_by_algorithm_and_version() -> None:
    answers = (Answer("aes-gcm-16-128", True), Answer("aes-cbc-128 with hmac-sha2-256-128", False, "do"))
    support = EspSupport(True, False, answers)
    assert support.supports(AES_GCM_16_128, None, 4)
    assert not support.supports(AES_GCM_16_128, None, 6)
    assert not support.supports(AES_CBC_128, HMAC_SHA2_256_128, 4)
    assert support.advice == "do"
