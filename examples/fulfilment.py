"""A service that fulfils pushed orders, with nothing but Python 3: FULFILMENT_SECRET=whsec_… python3 fulfilment.py 9200"""

import base64, hashlib, hmac, json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["FULFILMENT_SECRET"].removeprefix("whsec_"))
SHIPPED = {}  # What was done, by webhook-id. A real service keeps this in its database.


def is_signed(headers, body):
    """Whether the delivery was signed with our key, at most five minutes ago (Standard Webhooks)."""
    webhook_id, sent = headers["webhook-id"], headers["webhook-timestamp"]
    if not (webhook_id and sent and sent.isdigit() and abs(time.time() - int(sent)) <= 300):
        return False
    signed = f"{webhook_id}.{sent}.".encode() + body
    signature = b"v1," + base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256))
    # During a rotation of the secret there are two.
    given = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(signature, one) for one in given)


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not is_signed(self.headers, body):
            return self.answer(401, {"reason": "the signature is wrong"})
        delivery = json.loads(body)
        if delivery["type"] != "order.placed":
            return self.answer(200, {})
        order = delivery["data"]
        if 13 in order["item_ids"]:
            return self.answer(422, {"reason": "item 13 is not sold any more"})
        # The same webhook-id is the same order, delivered again: it is not shipped again.
        parcel = SHIPPED.setdefault(self.headers["webhook-id"], f"PARCEL-{order['order_id']}")
        self.answer(200, {"tracking_number": parcel})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Service).serve_forever()
