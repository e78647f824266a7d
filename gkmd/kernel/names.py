"""Names and numbers by which the kernel knows algorithms, and by which we know what is ours in the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gkmd.core.algorithms import Cipher, Integrity
from gkmd.core.esp import EspPolicy, EspSa, Mode

# Everything of ours in the kernel carries these marks, so that a later gkmd knows it after a crash and an
# administrator knows it in ``ip xfrm``. A reqid of a machine stands in the low 24 bits under the letter g:
# other key daemons count theirs from 1 or from 16384 upward.
REQID_BASE: Final = 0x67000000
REQID_MASK: Final = 0x00FFFFFF
# Lower numbers win in the kernel. Ours stand before those of other key daemons (from about 100,000).
ESP_PRIORITY: Final = 84_848
# One better: the exceptions that membership reports need beside a policy for every protocol.
PASS_PRIORITY: Final = ESP_PRIORITY - 1

# Ciphers and integrity by their transform numbers; all key lengths of a cipher share its kernel name.
_AEAD: Final = {20: "rfc4106(gcm(aes))", 28: "rfc7539esp(chacha20,poly1305)"}
_CIPHER: Final = {12: "cbc(aes)"}
_INTEGRITY: Final = {12: "hmac(sha256)", 13: "hmac(sha384)", 14: "hmac(sha512)"}


@dataclass(frozen=True, slots=True)
class KernelAlgorithm:
    """``icv_bits`` is 0 for a cipher that is not an AEAD."""

    name: str
    icv_bits: int


def kernel_cipher(cipher: Cipher) -> KernelAlgorithm | None:
    """The kernel's cipher or AEAD; None when this table has none."""
    name = (_AEAD if cipher.aead else _CIPHER).get(cipher.transform_id)
    return None if name is None else KernelAlgorithm(name, cipher.icv_octets * 8)


def kernel_integrity(integrity: Integrity) -> KernelAlgorithm | None:
    """The kernel's HMAC with its truncation; None when this table has none."""
    name = _INTEGRITY.get(integrity.transform_id)
    return None if name is None else KernelAlgorithm(name, integrity.icv_octets * 8)


def kernel_reqid(reqid: int) -> int:
    """Our reqid as the kernel sees it: marked as gkmd's, the low 24 bits kept."""
    return REQID_BASE | (reqid & REQID_MASK)


def is_our_reqid(reqid: int) -> bool:
    return reqid & ~REQID_MASK == REQID_BASE


def describe_sa(sa: EspSa) -> str:
    """``SA 0x00000100 to 239.1.1.1 (group news)``: for logs and errors, no key in it."""
    return f"SA 0x{sa.spi:08x} to {sa.destination} (group {sa.group})"


def describe_policy(policy: EspPolicy) -> str:
    """``out policy for 10.0.0.1 -> 239.1.1.1 protocol 17 port 5000 (group news)``."""
    traffic = f"{policy.source or 'any'} -> {policy.destination}"
    if policy.protocol:
        traffic += f" protocol {policy.protocol}"
    if policy.port:
        traffic += f" port {policy.port}"
    tunnel = "tunnel " if policy.mode is Mode.TUNNEL else ""
    return f"{tunnel}{policy.direction.value} policy for {traffic} (group {policy.group})"
