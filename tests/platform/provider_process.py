"""A payment provider in a process of its own, with only the standard library: it shares no code with gkmd and
speaks what docs/payments.md says.

    python provider_process.py --secret-file FILE --order-secret-file FILE [--listen 127.0.0.1:0] [--ca FILE]

prints ``listening on http://127.0.0.1:PORT`` when it is ready. ``POST /payments`` takes an order as the
portal sends it and answers ``{"url": ..., "external": ...}``; that page's form pays, fails or returns the
payment, calls ``callback_url`` and sends the browser back. ``GET /calls`` gives what was called and answered.

Faults are asked for in the query of ``/payments``, and hold for the payments that are begun with it:
``fault=down`` answers 503, ``fault=slow&seconds=S`` answers late, ``fault=nonsense`` answers no JSON,
``fault=astray`` sends the payer to another host, ``fault=amount``, ``fault=currency`` and ``fault=payment``
lie about these in the calls, ``fault=twice`` calls everything three times, ``fault=stale`` calls a failure
after the success, ``fault=held`` holds the call back until the payment is returned, and calls it after that,
``fault=forged`` signs with another secret, ``fault=old`` signs an hour ago.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import html
import json
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

MOST = 65_536
ACTIONS = {"pay": "paid", "fail": "failed", "return": "returned"}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Example Pay</title></head>
<body><main><h1>Example Pay</h1><p>{description}: <strong>{amount} {currency}</strong> (minor units)</p>
<form method="post"><button name="action" value="pay">Pay</button>
<button name="action" value="fail">Do not pay</button></form></main></body></html>
"""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], secret: bytes, order_secret: bytes, ca: str) -> None:
        super().__init__(address, Handler)
        self.secret = secret
        self.order_secret = order_secret
        self.context = ssl.create_default_context(cafile=ca) if ca else None
        self.orders: dict[str, dict[str, Any]] = {}  # by the payment's id: an order twice is one
        self.calls: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    @property
    def origin(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def call(self, order: dict[str, Any], kind: str) -> None:
        """Sign and post one call, as often as the faults want."""
        fault = order["fault"]
        said = {
            "event": f"evt-{order['external']}-{kind}",
            "payment": order["payment"] if fault != "payment" else "pay-somebodyelses",
            "external": order["external"],
            "kind": kind,
            "amount": order["amount"] + (100 if fault == "amount" else 0),
            "currency": "XTS" if fault == "currency" else order["currency"],
        }
        body = json.dumps(said).encode()
        for _ in range(3 if fault == "twice" else 1):
            status = self.post(order["callback_url"], body, fault)
            with self.lock:
                self.calls.append({**said, "status": status})

    def post(self, url: str, body: bytes, fault: str) -> int:
        at = str(int(time.time()) - (3600 if fault == "old" else 0))
        secret = b"the secret of a forger" if fault == "forged" else self.secret
        digest = hmac.new(secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "Gkmd-Signature": f"t={at},v1={digest}"}
        request = urllib.request.Request(url, body, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal: /calls tells it all."""

    def answer(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/calls":
            with self.server.lock:
                self.answer(200, json.dumps(self.server.calls).encode())
            return
        order = self.order(path)
        if order is None:
            self.answer(404, b"{}")
            return
        shown = {name: html.escape(str(order[name])) for name in ("description", "amount", "currency")}
        self.answer(200, PAGE.format(**shown).encode(), "text/html; charset=utf-8")

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), MOST))
        if parts.path == "/payments":
            self.begin(body, {name: values[0] for name, values in parse_qs(parts.query).items()})
            return
        order = self.order(parts.path)
        action = parse_qs(body.decode()).get("action", [""])[0]
        if order is None or action not in ACTIONS:
            self.answer(404, b"{}")
            return
        self.act(order, ACTIONS[action])
        self.answer(303, b"", Location=order["return_url"])

    def act(self, order: dict[str, Any], kind: str) -> None:
        if order["fault"] == "held" and kind == "paid":
            return
        self.server.call(order, kind)
        if order["fault"] == "held" and kind == "returned":
            self.server.call(order, "paid")
        if order["fault"] == "stale" and kind == "paid":
            self.server.call(order, "failed")

    def order(self, path: str) -> dict[str, Any] | None:
        external = path.removeprefix("/pay/")
        with self.server.lock:
            return next((one for one in self.server.orders.values() if one["external"] == external), None)

    def begin(self, body: bytes, query: dict[str, str]) -> None:
        fault = query.get("fault", "")
        if fault == "down":
            self.answer(503, b'{"error": "down for maintenance"}')
            return
        if fault == "slow":
            time.sleep(float(query.get("seconds", "30")))
        if not self.signed(body):
            self.answer(401, b'{"error": "the order is not signed"}')
            return
        said = json.loads(body)
        with self.server.lock:
            number = len(self.server.orders) + 1
            order = self.server.orders.setdefault(
                said["payment"], {**said, "external": f"ext-{number}", "fault": fault}
            )
        if (order["amount"], order["currency"]) != (said["amount"], said["currency"]):
            self.answer(409, b'{"error": "this payment was ordered with another amount"}')
            return
        origin = "http://203.0.113.9" if fault == "astray" else self.server.origin
        reply = {"url": f"{origin}/pay/{order['external']}", "external": order["external"]}
        self.answer(200, b"nonsense" if fault == "nonsense" else json.dumps(reply).encode())

    def signed(self, body: bytes) -> bool:
        parts = dict(part.partition("=")[::2] for part in self.headers.get("Gkmd-Signature", "").split(","))
        at = parts.get("t", "0")
        digest = hmac.new(self.server.order_secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()
        return abs(time.time() - int(at)) <= 300 and hmac.compare_digest(digest, parts.get("v1", ""))


class ProviderProcess:
    """The process, for tests: ``with ProviderProcess(secret) as provider: provider.url``. Its orders are
    signed with the same secret as its calls.
    """

    def __init__(self, secret: bytes, ca: str = "") -> None:
        self._secret = secret
        self._ca = ca
        self.url = ""  # of the process; orders go to ``url + "/payments"``

    def __enter__(self) -> ProviderProcess:
        with tempfile.NamedTemporaryFile(suffix=".secret", delete=False) as file:
            file.write(self._secret)
        self._file = Path(file.name)
        command = [sys.executable, "-I", __file__, "--secret-file", file.name]
        command += ["--order-secret-file", file.name, "--ca", self._ca]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        assert ready.startswith("listening on "), ready
        self.url = ready.split()[-1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(60)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._file.unlink()

    def act(self, page: str, action: str) -> None:
        """What the payer's browser posts from the provider's page, and no redirect followed."""
        request = urllib.request.Request(page, f"action={action}".encode(), method="POST")
        try:
            urllib.request.build_opener(_Staying).open(request, timeout=60).close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 303:
                raise

    def calls(self) -> list[dict[str, Any]]:
        """What was called, each with the ``status`` of the answer; 0 for none."""
        with urllib.request.urlopen(f"{self.url}/calls", timeout=60) as answer:
            calls: list[dict[str, Any]] = json.load(answer)
        return calls


class _Staying(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--secret-file", required=True)
    options.add_argument("--order-secret-file", required=True)
    options.add_argument("--listen", default="127.0.0.1:0")
    options.add_argument("--ca", default="")
    chosen = options.parse_args()
    host, _, port = chosen.listen.rpartition(":")
    secrets = (Path(one).read_bytes().strip() for one in (chosen.secret_file, chosen.order_secret_file))
    server = Server((host, int(port)), *secrets, chosen.ca)
    print(f"listening on {server.origin}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
