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
import io
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
    timeout = 60  # seconds, of a connection on which nothing comes

    def do_GET(self):
        """One file of the page."""
        path = self.path.partition("?")[0].lstrip("/") or "index.html"
        # Another site's page may not have models exported here.
        is_ours = not path.startswith("models/") or self.headers.get("Sec-Fetch-Site", "none") in (
            "none",
            "same-origin",
        )
        if not self._is_allowed(is_ours):
            return
        try:
            content = self.server.site.read(path)
        except LookupError:
            self._answer(404, b"there is no such file")
        except (CourseError, OSError) as error:
            self._answer(500, str(error).encode())
        else:
            self._answer(200, content, web.TYPES.get(PurePosixPath(path).suffix, "application/octet-stream"))

    def do_POST(self):
        """A sound file in, of any format that Python reads; a wav of 16 kHz out."""
        length = self.headers.get("Content-Length", "")
        origin = self.headers.get("Origin")
        if not self._is_allowed(origin is None or origin.partition("://")[2] == self.headers.get("Host")):
            return
        if self.path != "/sound" or not length.isdecimal():
            self.close_connection = True
            self._answer(404, b"there is no such page")
        elif len(length) > len(str(MAX_BYTES)) or int(length) > MAX_BYTES:
            self.close_connection = True
            self._answer(413, f"larger than {MAX_BYTES / 1e6:.0f} MB".encode())
        else:
            try:
                self._answer(200, read_sound(self.rfile.read(int(length))), web.TYPES[".wav"])
            except audio.WavError as reason:
                self._answer(422, str(reason).encode())
            except OSError as error:
                self._answer(500, f"it cannot be kept while it is read ({error.strerror})".encode())

    def _is_allowed(self, is_ours):
        """Whether a request is of this page; another is refused. A name that leads here may be another site's."""
        names = self.server.names
        if is_ours and (names is None or self.headers.get("Host", "").lower() in names):
            return True
        self.close_connection = True
        self._answer(403, f"not asked by this page: open {self.server.address}".encode())
        return False

    def _answer(self, status, content, kind="text/plain; charset=utf-8"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing: the terminal is for errors."""


class Server(http.server.ThreadingHTTPServer):
    """A thread for each request; a page that is closed while it loads is no error."""

    daemon_threads = True
    # Where it is on, two pages could have one port on Windows.
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, address, site):
        self.site = site
        self.address_family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        super().__init__(address, Handler)
        ip, port = ipaddress.ip_address(self.server_address[0].partition("%")[0]), self.server_port
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(ip), address[0])  # nosec B104
        host = f"[{host}]" if ":" in host else host
        self.address = f"http://{host}:{port}"
        # What a browser on this computer calls it; any name, where others are let in.
        names = {host.lower(), "localhost", "127.0.0.1", "[::1]"}
        self.names = {f"{name}{end}" for name in names for end in (f":{port}", *([""] if port == 80 else []))}
        if not ip.is_loopback:
            self.names = None

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
        except OSError as error:
            if port and error.errno == errno.EACCES and sys.platform != "win32":  # where it may be taken
                raise CourseError(f"port {port} is not yours to listen on: choose a --port above 1023") from error
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise CourseError(f"{host} is no address of this computer ({error.strerror}): see --host") from error
        except UnicodeError as error:  # of a name that no computer may have
            raise CourseError(f"{host} is no address of this computer: see --host") from error
    last = port or PORT + TRIES - 1
    taken = f"{host}:{port} is" if port else f"{host}, ports {PORT} to {last}, are"
    raise CourseError(f"{taken} in use, perhaps by this page: choose another --port")


def main(arguments=None):
    """Serve the page until it is interrupted."""
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=cli.path_text, help="run folder (default: runs/latest, or pretrained where there is none)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; another lets others in, who can only drop sound files: browsers lend no "
        "microphone without https",
    )
    parser.add_argument("--port", type=cli.positive_int, help=f"port to listen on (default: {PORT}, or the next free)")
    parser.add_argument(
        "--open", action=argparse.BooleanOptionalAction, default=True, help="open the page in a browser (default)"
    )
    options = parser.parse_args(arguments)
    if options.port and options.port > 65535:
        parser.error("--port: at most 65535")
    chosen = trained.find_folder(options.model)
    trained.read_labels(chosen)  # raises for what is no run
    web.fetch_runtime()
    site = web.Site(lambda: list(dict.fromkeys([chosen, *trained.list_folders()])), reads_sounds=True)
    with contextlib.closing(site), open_server(options.host, options.port, site) as server:
        print(f"open {server.address} (Ctrl-C ends)", flush=True)
        if options.open:
            threading.Thread(target=_open_browser, args=[server.address], daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _open_browser(address):
    """Open the page; where there is no browser, the address on the terminal is enough."""
    with contextlib.suppress(webbrowser.Error), contextlib.redirect_stdout(io.StringIO()):
        webbrowser.open(address)


if __name__ == "__main__":
    sys.exit(cli.run(main))
