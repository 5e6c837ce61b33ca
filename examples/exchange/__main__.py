"""`python -m examples.exchange`: the receiver on a port of this machine. Put your own TLS in front of it."""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TextIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from .keys import Keys, secrets_of
from .ledger import Ledger
from .receiver import Answer, Receiver, Witness

LARGEST = 1 << 17  # bytes of a body: an event has 64 kB at most


class Server(ThreadingHTTPServer):
    """Each request is one line on standard output."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__(address, Request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke, or worse; whatever was not acknowledged comes again."""
        say(f"a request ended early: {sys.exc_info()[1]!r}", sys.stderr)


class Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are used again
    timeout = 30  # seconds that somebody may hold a connection without saying anything
    wbufsize = -1  # an answer goes out in one piece
    server: Server

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not re.fullmatch("[0-9]{1,9}", length) or int(length) > LARGEST:
            self.close_connection = True  # what follows is not read
            return self._answer(Answer(413, {"error": f"content-length must say at most {LARGEST} bytes"}))
        body = self.rfile.read(int(length))
        try:
            return self._answer(self.server.receiver.receive({k.lower(): v for k, v in self.headers.items()}, body, time.time()))
        except Exception as error:  # the disk is full, or we have a bug: the operator comes back
            say(f"{type(error).__name__}: {error}", sys.stderr)
            return self._answer(Answer(500, {"error": "it cannot be kept just now"}))

    def _answer(self, answer: Answer) -> None:
        said = {"id": self.headers.get("webhook-id", ""), "answer": answer.status, **answer.reply}
        say(json.dumps(said), sys.stdout)
        body = json.dumps(answer.reply).encode()
        self.send_response(answer.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Not the web server's own lines."""


def say(line: str, to: TextIO) -> None:
    """In one write: `print` makes two, between which another request's line may begin."""
    to.write(f"{line}\n")
    to.flush()


def witness_of(name: str, pem: bytes) -> Witness:
    key = load_pem_private_key(pem, None)
    if not isinstance(key, Ed25519PrivateKey):
        raise SystemExit("the witness key must be Ed25519: openssl genpkey -algorithm ed25519 -out witness.pem")
    return Witness(name, key)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.exchange", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ledger", type=Path, required=True, help="the SQLite file that keeps everything")
    parser.add_argument("--secret-file", type=Path, help="holds whsec_<base64>, the key of v1 signatures")
    parser.add_argument("--trust", type=Path, help="the operator's trust file, as `laycan keys` prints it; with it, --origin")
    parser.add_argument("--origin", default="", help="name of the log: <operator>/<namespace>/<endpoint>")
    parser.add_argument("--witness-key", type=Path, help="PEM of the Ed25519 key that cosigns; with it, --witness-name")
    parser.add_argument("--witness-name", help="your name as a witness, without spaces and plus signs")
    args = parser.parse_args()
    if bool(args.trust) != bool(args.origin) or bool(args.witness_key) != bool(args.witness_name) or (args.witness_key and not args.trust):
        parser.error("--trust goes with --origin, --witness-key with --witness-name and both of those")
    secrets = secrets_of(args.secret_file.read_text()) if args.secret_file else []
    keys = Keys(secrets, args.trust.read_bytes() if args.trust else None)
    witness = witness_of(args.witness_name, args.witness_key.read_bytes()) if args.witness_key else None
    receiver = Receiver(Ledger(args.ledger, args.origin), keys, args.origin, witness)
    if witness:
        public = base64.b64encode(witness.key.public_key().public_bytes_raw()).decode()
        print(json.dumps({"witness": {"name": witness.name, "publicKey": public}}), flush=True)
    with Server(("127.0.0.1", args.port), receiver) as server:
        print(json.dumps({"listening": server.server_port, "have": receiver.ledger.have}), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
