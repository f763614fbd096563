"""Verifies what the worker pushes with the library of Standard Webhooks: verify_push.py WORKER

WORKER is the program `orders-worker`. It sends `order.test` to a service in this process, which rejects what it cannot
verify.
"""

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from standardwebhooks import Webhook, WebhookVerificationError

OLD, NEW, OTHER = (f"whsec_{letter * 32}" for letter in "abc")


class Service(BaseHTTPRequestHandler):
    secret = OLD
    verified: list[str] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            Service.verified.append(Webhook(Service.secret).verify(body, dict(self.headers))["type"])
            status = 204
        except WebhookVerificationError:
            status = 401
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def is_done(worker: str, url: str, secret: str) -> bool:
    env = {**os.environ, "FULFILMENT_SECRET": secret}
    sent = subprocess.run([worker, "deliver", "--test", "--to", url], env=env, timeout=60, stdout=subprocess.DEVNULL)
    return sent.returncode == 0


def main(worker: str) -> None:
    server = HTTPServer(("127.0.0.1", 0), Service)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    for secret in (OLD, f"{NEW} {OLD}", f"{OLD} {NEW}"):
        assert is_done(worker, url, secret), "the service did not verify the signature"
    assert not is_done(worker, url, OTHER), "the service took the signature of another secret"
    assert not is_done(worker, url, ""), "the service took a message without a signature"
    assert Service.verified == ["order.test"] * 3, Service.verified
    print("ok the library of Standard Webhooks verifies what is pushed")


main(*sys.argv[1:])
