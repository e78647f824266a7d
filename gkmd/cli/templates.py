"""The configurations that ``gkmd init`` writes. What is commented out shows a default."""

from __future__ import annotations

import json
from collections.abc import Sequence

SERVER = """\
# Key server. Every key and its default: docs/configuration.md.
# `gkmd server --check -c {file}` checks this file; SIGHUP takes over changed groups and credentials.

identity = {identity}
{listen}

[state]
path = {state}
master_key = "master.key"       # opens the state: keep a copy of it apart from the state's backup

[control]
socket = {socket}
#group = "gkmd"                 # who may use `gkmd ctl` besides root

[process]
#user = "gkmd"                  # to become when started as root; this is the default if the user exists
#log_level = "info"

[credentials]
psk_files = ["psk.toml"]        # a line per member: "fqdn:rx1.example" = "secret"; `gkmd init member` adds it
certificate = "server.crt"      # for members that use certificates
key = "server.key"
ca = ["ca.crt"]

[ike]
#cookie_threshold = 128         # half-open registrations from which on addresses must be proved
#dead_peer_interval = "2m"

[[group]]
name = {group}
address = {address}
port = {port}                     # of the data; 0 is every UDP port
receivers = {receivers}             # "any": every member whose credentials are good
senders = {senders}
cipher = "aes-gcm-16-256"       # every sender gets an SA of its own
tek_lifetime = "1h"             # of the keys of the data
kek_lifetime = "4h"             # of the keys that protect rekeys
#rekey_interface = "eth0"       # that rekeys leave by, if routes do not say so
#rekey_ttl = 16
"""

PLATFORM = """
# Reservations, tickets, billing: docs/guide-operator.md. The portal speaks to us by this socket.
[platform]
{socket}
#group = "gkmd-portal"          # that may use the socket
server_addresses = {addresses}  # told to members in their tickets
currency = {currency}
#fee = "0"                      # per cent of each price that the platform keeps
#sign_up = false                # whether receivers make accounts themselves
"""

PORTAL = """\
# Portal. Every key and its default: docs/configuration.md.
# `gkmd portal --check -c {file}` checks this file.

[portal]
listen = {listen}
origin = {origin}               # as browsers have it in their address line
certificate = "portal.crt"
key = "portal.key"
socket = {socket}
currency = {currency}
#title = "gkmd"
#contact = ""                   # shown at the foot of each page
"""

MEMBER = """\
# Member. Every key and its default: docs/configuration.md.
# `gkmd member --check -c {file}` checks this file.

identity = {identity}
{local}
{dataplane}
[server]
addresses = {addresses}         # tried in this order
port = {port}
identity = {server_identity}    # nobody else is believed

[control]
socket = {socket}

[credentials]
{credentials}
{groups}"""

MEMBER_GROUP = """\
[[group]]
name = {name}
id = {id}
role = {role}                   # receiver, sender or both
{interface}
#address = "239.10.0.1"         # with `port`: hold this back before the first registration, too
#data_addresses = []            # only multicast addresses in here are accepted, e.g. ["239.10.0.0/16"]
"""

PSK_OF_SERVER = """\
# The secrets of the members: "identity" = "secret". Mode 0640 or stricter.
"""

PSK_OF_MEMBER = """\
# The secret that this member shares with the key server. Mode 0640 or stricter.
"""

CREDENTIALS_PSK = """\
psk_files = ["psk.toml"]
"""

CREDENTIALS_CERTIFICATE = """\
certificate = "member.crt"
key = "member.key"
ca = ["ca.crt"]                 # that the server's certificate must be under
"""


def quoted(text: str) -> str:
    """A TOML basic string."""
    return json.dumps(text, ensure_ascii=False)


def addresses(key: str, given: Sequence[str], default: Sequence[str]) -> str:
    """The line of ``listen`` or ``local``; a default that is written down would ask for IPv6 everywhere."""
    return f"{key} = {listed(given)}" if given else f"#{key} = {listed(default)}"


def listed(texts: Sequence[str]) -> str:
    """A TOML array of strings."""
    return "[" + ", ".join(quoted(text) for text in texts) + "]"
