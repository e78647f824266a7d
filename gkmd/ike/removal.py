"""What a member is told when the operator takes it out of a group: Delete payloads of GSA_INBAND_REKEY (RFC
9838 2.4.3).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gkmd.core.change import DataSa, RekeySa
from wire.ikev2 import Delete
from wire.message import Payload
from wire.registry import PayloadType, ProtocolId

_ESP_SPI_OCTETS: Final = 4
_REKEY_SPI_OCTETS: Final = 16

DELETE_IKE_SA: Final = Payload(PayloadType.DELETE, Delete(ProtocolId.IKE, 0, []))  # RFC 7296 3.11: no SPI


def deletion_of(
    data_sas: Iterable[DataSa], rekey_sas: Iterable[RekeySa], *, only_group: bool
) -> list[Payload]:
    """Delete every SA of a group at one member.

    GSA_INBAND_REKEY names no group. With ``only_group``, when no other is known over the same IKE SA, the
    SPI of zero says that the member is excluded (RFC 9838 2.4.3); it would end the others too, so then SPIs
    are named.
    """
    if only_group:
        data = [bytes(_ESP_SPI_OCTETS)]
        rekey = [bytes(_REKEY_SPI_OCTETS)]
    else:
        data = [sa.spi.to_bytes(_ESP_SPI_OCTETS, "big") for sa in data_sas]
        rekey = [sa.spi for sa in rekey_sas]
    payloads = []
    if data:
        payloads.append(Payload(PayloadType.DELETE, Delete(ProtocolId.ESP, _ESP_SPI_OCTETS, data)))
    if rekey:
        payloads.append(Payload(PayloadType.DELETE, Delete(ProtocolId.GIKE_UPDATE, _REKEY_SPI_OCTETS, rekey)))
    return payloads
