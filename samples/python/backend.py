"""A backend that decides whether a message becomes a push. Python 3.9 or newer, nothing to install.

  ./aglow webhooks add --url http://127.0.0.1:3000/presence --events online,offline      prints the secret
  WEBHOOK_SECRET=whsec_… PORT=3000 python3 samples/python/backend.py
  curl -d 'Lunch?' http://127.0.0.1:3000/messages/bob
"""
import base64
import hashlib
import hmac
import json
import os
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

AGLOW = os.environ.get("AGLOW_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("AGLOW_KEY")  # needs the scope "read", where the server takes keys
SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
MAX_BODY = 1 << 20
TOLERANCE_SECONDS = 300

# keep it in your database: it is lost with this process
online = set()


def verify(headers, body):
    """Standard Webhooks: one of the signatures is an HMAC of the id, the time and the body."""
    message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        raise ValueError("the message is too old, or this clock is wrong")
    signed = f"{message_id}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    if not any(hmac.compare_digest(expected, given) for given in headers["webhook-signature"].split()):
        raise ValueError("the signature is wrong")


def apply(event):
    # events may come twice; the events of one user come in order, so the newest is the user's state
    if event["type"] == "aglow.presence.online":
        online.add(event["subject"])
    elif event["type"] == "aglow.presence.offline":
        online.discard(event["subject"])
    elif event["type"] == "aglow.presence.gap":
        print("changes were lost: read GET /online again", flush=True)


def may_be_disturbed(user):
    request = urllib.request.Request(
        f"{AGLOW}/reach", json.dumps({"user_ids": [user]}).encode(), {"Content-Type": "application/json"})
    if KEY:
        request.add_header("Authorization", f"Bearer {KEY}")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)["users"][0]["may_be_disturbed"]


def deliver(user, text):
    if user in online:
        return "shown by the app"
    if not may_be_disturbed(user):
        return "kept for later"
    print(f"push to {user}: {text}", flush=True)  # replace this by your push service
    return "pushed"


class Backend(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, json.dumps(sorted(online)))

    def do_POST(self):
        body = self.rfile.read(min(int(self.headers["Content-Length"]), MAX_BODY))
        try:
            if self.path.startswith("/messages/"):
                return self.answer(200, deliver(unquote(self.path.removeprefix("/messages/")), body.decode()))
            verify(self.headers, body)
        except (ValueError, TypeError, AttributeError) as wrong:
            return self.answer(400, str(wrong))
        for event in json.loads(body):
            apply(event)
        self.answer(204, "")

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Backend).serve_forever()
