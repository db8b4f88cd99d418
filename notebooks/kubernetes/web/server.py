"""Serves one page, made anew for each request; /crash ends the program, as a bug might."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

GREETING = Path(__file__).parent / "greeting.txt"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/crash":
            print("crashing, as asked", flush=True)
            os._exit(1)
        body = f"{os.environ['HOSTNAME']} says: {GREETING.read_text()}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing of each request: the readiness probe makes one a second."""


if __name__ == "__main__":
    print("serving on port 8000", flush=True)
    ThreadingHTTPServer(("", 8000), Handler).serve_forever()
