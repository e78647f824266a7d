"""Two senders: an SA for each with AES-GCM, one shared SA with AES-CBC and HMAC."""

from lab.keying import DATA_PORT, KeyServer, group, part, start_members
from lab.scenario import Lab

SECONDS = 480
OWN, SHARED = "239.77.6.1", "239.77.6.2"
GROUPS = {"own": OWN, "shared": SHARED}
SENDERS = ("s1", "s2")
RECEIVERS = ("r1", "r2")
RATE = 60.0


def scenario(lab: Lab) -> None:
    lab.step("Two groups: AES-GCM (one SA per sender), AES-CBC with HMAC (one SA for all)")
    net = lab.network("gcks", *SENDERS, *RECEIVERS)
    hosts = (*SENDERS, *RECEIVERS)
    lab.watch_keys(*(net[name] for name in hosts))
    server = KeyServer(lab, net["gcks"])
    server.configure(
        [
            # Rekeys on an address of their own: a host that only sends then gets no data of others.
            group("own", OWN, SENDERS, hosts, rekey_address="239.77.6.101"),
            group("shared", SHARED, SENDERS, hosts, rekey_address="239.77.6.102", cipher="aes-cbc-256"),
        ],
        hosts=hosts,
    )
    server.start()
    # s2 sends and listens; s1 only sends.
    roles = {"s1": "sender", "s2": "both", "r1": "receiver", "r2": "receiver"}
    joins = {host: [{"name": name, "role": role} for name in GROUPS] for host, role in roles.items()}
    members = start_members(lab, net, server, joins)
    lab.check("data SAs of the group with AES-GCM", 2, len(server.spis("own", "esp")))
    lab.check("data SAs of the group with AES-CBC", 1, len(server.spis("shared", "esp")))

    lab.step("Both send to both groups until every key was replaced twice")
    (wire,) = lab.capture(net.switch)
    listeners = ("s2", *RECEIVERS)
    receivers = {
        (host, name): lab.receive(net[host], address, DATA_PORT, name=f"receive-{name}")
        for host in listeners
        for name, address in GROUPS.items()
    }
    for address in GROUPS.values():
        net.wait_for_members(address, listeners)
    streams = [
        (name, lab.send(net[host], address, DATA_PORT, rate=RATE, stream=number, name=f"send-{name}"))
        for number, host in enumerate(SENDERS, 1)
        for name, address in GROUPS.items()
    ]
    for name in GROUPS:
        server.wait_rollovers(name, 2, lambda done, name=name: lab.progress(f"{name}: {done} rollovers"))  # type: ignore[misc]
        for host in SENDERS:
            members[host].wait_switched(name, server)
    for _, stream in streams:
        stream.stop()
    rows: list[list[object]] = []
    for (host, name), receiver in receivers.items():
        heard = [stream for wanted, stream in streams if wanted == name and stream.host.name != host]
        for stream in heard:
            receiver.settle(stream)
        receiver.stop()
        for stream in heard:
            lab.progress(f"{host}, group {name}, stream of {stream.host.name}")
            lost = lab.judge_delivery(stream, receiver)
            rows.append([host, name, stream.host.name, stream.sent, receiver.received(stream.stream), lost])

    lab.step("What the wire saw")
    sent = sum(stream.sent for _, stream in streams)
    lab.judge_wire(wire, [DATA_PORT], esp=sent, what="the wire")
    for host in hosts:
        lab.check(f"{host}: XFRM errors", {}, net[host].xfrm_stat())
    part(members, server, GROUPS)
    lab.figures("two senders", ["receiver", "group", "sender", "sent", "received", "lost"], rows)
