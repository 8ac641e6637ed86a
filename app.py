"""A page with a microphone: it listens in your browser, and says which word it heard.

    python app.py                      http://127.0.0.1:7860, for this computer alone
    python app.py --model runs/best
    python app.py --port 8000 --no-open

The network runs in the browser: what is said never leaves it. Page and models are served from here; and a sound file
that the browser cannot read is read here, where both are on one computer.
"""

import argparse
import contextlib
import errno
import http.server
import ipaddress
import socket
import sys
import tempfile
import threading
import webbrowser
from pathlib import Path, PurePosixPath

from utils import audio, trained, web
from utils.system import cli
from utils.system.cli import CourseError

PORT = 7860
TRIES = 20  # ports after the usual one
MAX_SECONDS = 60  # of a file that Python reads for a browser that cannot
MAX_BYTES = 20_000_000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the site of its server; reads sound files for browsers that do not know their format."""

    protocol_version = "HTTP/1.1"
    error_message_format, error_content_type = "%(explain)s", "text/plain; charset=utf-8"
    timeout = 60  # seconds, of a connection on which nothing comes

    def do_GET(self):
        """One file of the page."""
        path = self.path.partition("?")[0].lstrip("/") or "index.html"
        # Another site's page may not have models exported here.
        is_ours = self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        kind = web.TYPES.get(PurePosixPath(path).suffix, "application/octet-stream")
        self._answer(is_ours or not path.startswith("models/"), lambda: self.server.site.read(path), kind)

    def do_POST(self):
        """A sound file in, of any format that Python reads; a wav of 16 kHz out."""
        origin = self.headers.get("Origin")
        is_ours = origin is None or origin.partition("://")[2] == self.headers.get("Host")
        self._answer(is_ours, self._read_sound, web.TYPES[".wav"])

    def _read_sound(self):
        length = self.headers.get("Content-Length", "")
        if self.path != "/sound" or not length.isdecimal():
            raise LookupError(self.path)
        if len(length) > len(str(MAX_BYTES)) or int(length) > MAX_BYTES:
            raise audio.WavError(f"larger than {MAX_BYTES / 1e6:.0f} MB")
        return read_sound(self.rfile.read(int(length)))

    def _answer(self, is_ours, make, kind):
        """What ``make()`` gives, to a request of this page; or why there is nothing, in words."""
        # A name that leads here may be another site's.
        host, names = self.headers.get("Host", "").lower(), self.server.names
        if not is_ours or (names and host.removesuffix(f":{self.server.server_port}") not in names):
            return self.send_error(403, explain=f"not asked by this page: open {self.server.address}")
        try:
            content = make()
        except LookupError:
            return self.send_error(404, explain="there is no such file")
        except audio.WavError as reason:
            return self.send_error(422, explain=str(reason))
        except (CourseError, OSError) as error:
            return self.send_error(500, explain=str(error))
        self.send_response(200)
        headers = {"Content-Type": kind, "Content-Length": len(content), "X-Content-Type-Options": "nosniff"}
        for name, value in {**headers, "Cache-Control": "no-cache"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing: the terminal is for errors."""


class Server(http.server.ThreadingHTTPServer):
    """A thread for each request; a page that is closed while it loads is no error."""

    allow_reuse_address = sys.platform != "win32"  # where two pages could have one port

    def __init__(self, address, site):
        self.site = site
        self.address_family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        super().__init__(address, Handler)
        ip = ipaddress.ip_address(self.server_address[0].partition("%")[0])
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(ip), address[0])  # nosec B104
        host = f"[{host}]" if ":" in host else host
        self.address = f"http://{host}:{self.server_port}"
        # What a browser on this computer calls it; any name, where others are let in.
        self.names = {host.lower(), "localhost", "127.0.0.1", "[::1]"} if ip.is_loopback else None

    def handle_error(self, request, client_address):
        """Pass over connections that were closed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def read_sound(content):
    """A wav of 16 kHz with what is in a sound file of any format: bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sound")
        path.write_bytes(content)
        samples = audio.read_sound(path, MAX_SECONDS * audio.SAMPLE_RATE + 1)
        if len(samples) > MAX_SECONDS * audio.SAMPLE_RATE:
            raise audio.WavError(f"longer than {MAX_SECONDS} s: cut it, or use python predict.py --stream")
        audio.write_wav(path, samples)
        return path.read_bytes()


def open_server(host, port, site):
    """A server at a port, or where none is named at the first free one from the usual on."""
    for number in [port] if port else range(PORT, PORT + TRIES):
        try:
            return Server((host, number), site)
        except (OSError, UnicodeError) as error:  # of a name that no computer may have
            if getattr(error, "errno", None) not in (errno.EADDRINUSE, errno.EACCES):
                raise CourseError(f"{host} is no address of this computer ({error}): see --host") from error
            reason = error.strerror.lower()
    raise CourseError(f"{host}:{number} cannot be listened on ({reason}): choose another --port, above 1023")


def main(arguments=None):
    """Serve the page until it is interrupted."""
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=cli.path_text, help="run folder (default: runs/latest, else pretrained)")
    host = "address to listen on; another lets others in, but browsers lend them no microphone without https"
    parser.add_argument("--host", default="127.0.0.1", help=host)
    parser.add_argument("--port", type=cli.positive_int, help=f"port to listen on (default: {PORT}, or the next free)")
    parser.add_argument("--no-open", action="store_true", help="do not open the page in a browser")
    options = parser.parse_args(arguments)
    if options.port and options.port > 65535:
        parser.error("--port: at most 65535")
    chosen = trained.find_folder(options.model)
    trained.read_labels(chosen)  # raises for what is no run
    web.fetch_runtime()
    site = web.Site(lambda: list(dict.fromkeys([chosen, *trained.list_folders()])), reads_sounds=True)
    with open_server(options.host, options.port, site) as server:
        print(f"open {server.address} (Ctrl-C ends)", flush=True)
        if not options.no_open:
            threading.Thread(target=webbrowser.open, args=[server.address], daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    sys.exit(cli.run(main))
