"""An HTTP/1.1 server of the standard library: GET returns files of the folder, POST returns the body's SHA-256.

Usage: http_files.py PORT FOLDER
"""

import functools
import hashlib
import http.server
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        size = int(self.headers["Content-Length"])
        digest = hashlib.sha256()
        while size:
            part = self.rfile.read(min(size, 1 << 16))
            digest.update(part)
            size -= len(part)
        answer = digest.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    handler = functools.partial(Handler, directory=sys.argv[2])
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
