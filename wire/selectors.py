"""Traffic selectors (RFC 7296 3.13.1) and the payloads TSi and TSr.

RFC 9838 uses the bare selector in its policies.
"""

from __future__ import annotations

from dataclasses import dataclass

from construct import Array, Bytes, Check, Default, Int8ub, Int16ub, Rebuild, Struct, Terminated, len_, this

from wire.vocabulary import bind, sized

MAX_SELECTORS = 255  # the field has one octet


@dataclass(slots=True)
class TrafficSelector:
    """Packets of one IP protocol (0 = any) with ports and addresses in closed ranges.

    ``start`` and ``end`` are packed.
    """

    type: int
    protocol: int
    start_port: int
    end_port: int
    start: bytes
    end: bytes


#  0                   1                   2                   3
# +---------------+---------------+-------------------------------+
# |  type 7 or 8  |  IP protocol  |        selector length        |
# +---------------+---------------+-------------------------------+
# |          start port           |           end port            |
# +-------------------------------+-------------------------------+
# ~                starting address (4 or 16 octets)              ~
# +---------------------------------------------------------------+
# ~                 ending address (4 or 16 octets)               ~
# +---------------------------------------------------------------+   RFC 7296 figure 20
TRAFFIC_SELECTOR = Struct(
    "type" / Int8ub,
    "protocol" / Int8ub,
    "body"
    / sized(
        2,
        Struct(
            "start_port" / Int16ub,
            "end_port" / Int16ub,
            "ts-type" / Check((this._.type == 7) | (this._.type == 8)),
            # 4 octets for type 7 (IPv4), 16 for type 8 (IPv6).
            "start" / Bytes(this._.type * 12 - 80),
            "end" / Bytes(this._.type * 12 - 80),
            Terminated,
        ),
    ),
)
bind(TrafficSelector, TRAFFIC_SELECTOR)


@dataclass(slots=True)
class Ts:
    """Traffic Selector payload (44, 45)."""

    selectors: list[TrafficSelector]


# +---------------+-----------------------------------------------+
# |     count     |                   reserved                    |
# +---------------+-----------------------------------------------+
# ~                      traffic selectors                        ~
# +---------------------------------------------------------------+   RFC 7296 figure 19
TS_BOX = Struct(
    "count" / Rebuild(Int8ub, len_(this.selectors)),
    "reserved" / Default(Bytes(3), bytes(3)),
    "selectors" / Array(this.count, TRAFFIC_SELECTOR),
    Terminated,
)
TS = bind(Ts, TS_BOX, limits={"selectors": MAX_SELECTORS})
