"""Fetch archives over the network: a file is there whole and checked, or the command ends with one line."""

import contextlib
import io
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

from utils.system import cli, files
from utils.system.cli import CourseError

COMPETITION = "tensorflow-speech-recognition-challenge"
TOKENS = "https://www.kaggle.com/settings"
RULES = f"https://www.kaggle.com/c/{COMPETITION}/rules"
# Disk space for Kaggle's zip, the 7z files in it and the wavs in those, in sizes of the zip.
KAGGLE_SPACE = 4
# The package waits 2, 4 and 8 s between tries; after that a person had better know.
KAGGLE_RETRIES = 3

PUBLIC = "https://storage.googleapis.com/download.tensorflow.org/data/"
# Disk space for a public archive and the wavs in it, in sizes of the archive.
PUBLIC_SPACE = 2.5
CHUNK_BYTES = 1 << 20
UNFINISHED = "tmp"  # begins the name of a file that pooch has not finished


class Archive(NamedTuple):
    """A public archive, known by its hash."""

    name: str
    n_bytes: int
    sha256: str | None  # None: nobody has published it


# By version of Speech Commands: the recordings, and the canonical test set. The hashes of the recordings are those
# of torchaudio; TensorFlow Datasets gives the same for v0.02, and that of its test set. For the test set of
# v0.01 none was found, nor its size: it is taken to be about as large as the other.
SPEECH_COMMANDS = {
    1: (
        Archive(
            "speech_commands_v0.01.tar.gz",
            1_489_096_277,
            "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
        ),
        Archive("speech_commands_test_set_v0.01.tar.gz", 120_000_000, None),
    ),
    2: (
        Archive(
            "speech_commands_v0.02.tar.gz",
            2_428_923_189,
            "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        ),
        Archive(
            "speech_commands_test_set_v0.02.tar.gz",
            112_563_277,
            "cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df",
        ),
    ),
}


def fetch_public(archives, folder):
    """Download public archives to ``folder``; those that are there with the right hash stay.

    Parameters
    ----------
    archives : list of Archive
    folder : Path
        Holds nothing else, but for the remains of a killed run, which are removed.

    Returns
    -------
    list of Path

    Raises
    ------
    CourseError
        If the network, the server, the disk or a hash fails. What is whole stays for the next run.
    """
    import pooch  # these two are only needed here, and slow to import
    import requests

    pooch.get_logger().setLevel("WARNING")  # its notes on each file would come between the course's own lines
    names = [archive.name for archive in archives]
    files.require_ours(folder, files.Kind("a download", None, None, (*names, f"{UNFINISHED}*")))
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"{UNFINISHED}*"):
        path.unlink()
    there = sum(path.stat().st_size for path in folder.iterdir())
    files.require_space(folder, PUBLIC_SPACE * sum(archive.n_bytes for archive in archives) - there)

    paths = []
    for name, n_bytes, sha256 in archives:
        url = PUBLIC + name
        try:
            with cli.progress(total=n_bytes, desc=f"downloading {name}", unit="B", unit_scale=True) as bar:
                downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK_BYTES)
                path = Path(pooch.retrieve(url, sha256, name, folder, downloader=downloader))
        except requests.HTTPError as error:
            status = f"{error.response.status_code} {error.response.reason}"
            raise CourseError(f"the server answers {status} for {url}: try again later") from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise CourseError(f"the download of {name} was cut off: run the same command again") from error
        except requests.RequestException as error:
            raise CourseError(f"no connection to {url}: check the network and run the same command again") from error
        except ValueError as error:  # pooch has removed the file
            raise CourseError(f"{name} came with a wrong hash and was removed: run the same command again") from error
        if sha256 is None:
            cli.warn(f"no published hash to check {name} by: its SHA-256 is {pooch.file_hash(path)}")
        paths.append(path)
    return paths


def fetch_kaggle(folder):
    """Download the competition's zip to ``folder`` with the account whose token is on this machine.

    Returns
    -------
    Path

    Raises
    ------
    CourseError
        If the token, the rules, the network or the disk are in the way. What has come so far stays
        in ``folder``, and the next run goes on from there.
    """
    import requests

    path = folder / f"{COMPETITION}.zip"
    files.require_ours(folder, files.Kind("a download", None, None, (f"{path.name}*",)))
    # What the package prints is held back: a failure is one line, and success needs none.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            api = _log_in()
            client, response = _ask_for_zip(api)
        except requests.HTTPError as error:
            raise CourseError(_refusal(error.response.status_code)) from error
        except requests.RequestException as error:
            raise CourseError("Kaggle does not answer: check the network and run the same command again") from error
        with client, response:
            folder.mkdir(parents=True, exist_ok=True)
            if api.download_needed(response, str(path)):
                _stream(api, response, client, path)
    _check_zip(path)
    return path


def _log_in():
    """The package's interface, with a token. Importing the package logs in too, but tells nobody why it failed."""
    import requests

    try:
        from kaggle.api.kaggle_api_extended import KaggleApi
        from kagglesdk import get_access_token_from_env
    except OSError as error:  # it makes a folder for its settings
        raise CourseError(f"{error.filename} cannot hold Kaggle's token ({error.strerror}): move it away") from error
    try:
        api = KaggleApi()
        api.authenticate()
    except (SystemExit, Exception) as error:  # what the package raises for a file that it cannot use, is of any type
        is_answer = isinstance(error, requests.RequestException)
        if is_answer and not isinstance(error, requests.exceptions.InvalidHeader):
            raise
        if isinstance(error, SystemExit) and _is_token(get_access_token_from_env()[0] or ""):
            raise CourseError(_refusal(401)) from error
        if fault := _find_token_fault(Path(KaggleApi.config)):
            raise CourseError(f"{fault}: make a token on {TOKENS} and save it in ~/.kaggle/access_token") from error
        if not isinstance(error, SystemExit):
            raise
        raise CourseError(
            f"no Kaggle token on this machine: make one on {TOKENS}, save it in ~/.kaggle/access_token and run again"
        ) from error
    return api


def _find_token_fault(settings):
    """What is wrong with what may hold a token, or None: ``settings`` is the older file, of JSON."""
    folder, token = Path.home() / ".kaggle", os.environ.get("KAGGLE_API_TOKEN")
    if token and not os.path.exists(token) and not _is_token(token):  # noqa: PTH110 a long token is no error
        return "KAGGLE_API_TOKEN in the environment is no token"
    for path in (*([Path(token)] if token else []), folder / "access_token", folder / "access_token.txt", settings):
        try:
            text = path.read_text(encoding="utf-8").strip()
            content = json.loads(text) if path == settings else None
        except FileNotFoundError:
            continue
        except UnicodeDecodeError:
            return f"{path} is not text"
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
        except ValueError as error:
            return f"{path} is not JSON ({error})"
        if path != settings and not _is_token(text):
            return f"{path} holds no token"
        if path == settings and not (isinstance(content, dict) and {"username", "key"} <= set(content)):
            return f"{path} does not hold a username and a key"
    return None


def _is_token(text):
    return text.isascii() and text.isprintable() and len(text.split()) == 1


def _refusal(status):
    return {
        401: f"Kaggle refuses your token: make a new one on {TOKENS} and save it in ~/.kaggle/access_token",
        403: f"Kaggle wants the competition's rules accepted first: do so on {RULES} and run again",
        404: f"Kaggle does not know the competition {COMPETITION} (404): bring its archive with the door archive",
    }.get(status, f"Kaggle answers {status}: try again later")


def _ask_for_zip(api):
    """The client and its answer, of which only the head has been read."""
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

    request = ApiDownloadDataFilesRequest()
    request.competition_name = COMPETITION
    client = api.build_kaggle_client()
    return client, client.competitions.competition_api_client.download_data_files(request)


def _stream(api, response, client, path):
    import requests

    n_bytes = int(response.headers.get("Content-Length", 0))
    there = path.stat().st_size if path.exists() else 0
    files.require_space(path, KAGGLE_SPACE * n_bytes - there)
    try:
        api.download_file(
            response,
            str(path),
            client.http_client(),
            quiet=not sys.stderr.isatty(),  # its progress bar
            resume=True,
            max_retries=KAGGLE_RETRIES,
        )
    except requests.RequestException as error:
        there = path.stat().st_size if path.exists() else 0
        raise CourseError(
            f"the download was cut off at {there / 1e6:,.1f} of {n_bytes / 1e6:,.1f} MB: "
            "run the same command again to go on from there"
        ) from error
    except ValueError as error:
        # Not the announced size, so not the announced file, but the package would go on from it.
        files.remove(path.parent)
        raise CourseError(f"{path.name} came damaged and was removed: run the same command again") from error


def _check_zip(path):
    """Read the zip once, so that a damaged one is fetched again instead of being kept for ever."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        damaged = error
    if damaged:
        files.remove(path.parent)
        raise CourseError(f"{path.name} came damaged ({damaged}) and was removed: run the same command again")
