"""The bench of the contract on a real kernel."""

from __future__ import annotations

from kernel_hosts import Host

from gkmd.kernel.xfrm import XfrmDataplane


class XfrmBench:
    """A kernel's SAs and policies in one namespace; counted by iproute2, not by our own listing."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def dataplane(self) -> XfrmDataplane:
        return self.host.dataplane()

    def policies(self) -> int:
        return self.host.xfrm("policy").count("tmpl ")

    def sas(self) -> int:
        return self.host.xfrm("state").count("proto esp ")

    def crash(self, _: XfrmDataplane) -> None:
        self.host.crash()
