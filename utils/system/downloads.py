"""Fetch archives over the network: a file is there whole and checked, or the command ends with one line."""

import contextlib
import io
import sys
from pathlib import Path

from utils.system import cli, files
from utils.system.cli import CourseError

COMPETITION = "tensorflow-speech-recognition-challenge"
TOKENS = "https://www.kaggle.com/settings"
RULES = f"https://www.kaggle.com/c/{COMPETITION}/rules"
NEW_TOKEN = f"make one on {TOKENS}, save it in ~/.kaggle/access_token and run again"
KAGGLE_SPACE = 4  # disk space for Kaggle's zip, the 7z files in it and the wavs in those, in sizes of the zip

PUBLIC = "https://storage.googleapis.com/download.tensorflow.org/data/"
PUBLIC_SPACE = 2.5  # disk space for a public archive and the wavs in it, in sizes of the archive
CHUNK_BYTES = 1 << 20
UNFINISHED = "tmp"  # begins the name of a file that pooch has not finished


# Bytes and SHA-256 of the recordings and of the canonical test set, by version. The hashes of the recordings are those
# of torchaudio; TensorFlow Datasets gives the same for v0.02, and that of its test set. For the test set of
# v0.01 none was found, nor its size: it is taken to be about as large as the other.
SPEECH_COMMANDS = {
    "speech_commands_v0.01": (1489096277, "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d"),
    "speech_commands_test_set_v0.01": (120000000, None),
    "speech_commands_v0.02": (2428923189, "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"),
    "speech_commands_test_set_v0.02": (112563277, "cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df"),
}


def fetch_public(names, folder):
    """Download archives of :data:`SPEECH_COMMANDS` to ``folder``, which holds nothing else; return their paths.

    Those that are there with the right hash stay; the remains of a killed run are removed. Raises CourseError if the
    network, the server, the disk or a hash fails; what is whole stays for the next run.
    """
    import pooch  # these two are only needed here, and slow to import
    import requests

    pooch.get_logger().setLevel("WARNING")  # its notes on each file would come between the course's own lines
    archives = {f"{name}.tar.gz": SPEECH_COMMANDS[name] for name in names}
    files.require_ours(
        folder,
        files.Kind("a download", None, None, (*(f"{name}.tar.gz" for name in SPEECH_COMMANDS), f"{UNFINISHED}*")),
    )
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"{UNFINISHED}*"):
        path.unlink()
    _require_space(folder, PUBLIC_SPACE, sum(n_bytes for n_bytes, _ in archives.values()))

    paths = []
    for name, (n_bytes, sha256) in archives.items():
        url = PUBLIC + name
        try:
            with cli.progress(total=n_bytes, desc=f"downloading {name}", unit="B", unit_scale=True) as bar:
                downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK_BYTES)
                path = Path(pooch.retrieve(url, sha256, name, folder, downloader=downloader))
        except requests.HTTPError as error:
            status = f"{error.response.status_code} {error.response.reason}"
            raise CourseError(f"the server answers {status} for {url}: try again later") from error
        except requests.RequestException as error:
            raise CourseError(f"{url} could not be read: check the network and run the same command again") from error
        except ValueError as error:  # pooch has removed the file
            raise CourseError(f"{name} came with a wrong hash and was removed: run the same command again") from error
        if sha256 is None:
            cli.warn(f"no published hash to check {name} by: its SHA-256 is {pooch.file_hash(path)}")
        paths.append(path)
    return paths


def fetch_kaggle(folder):
    """Download the competition's zip to ``folder`` with the account whose token is on this machine; return its path.

    Raises CourseError if the token, the rules, the network or the disk are in the way. What has come so far stays
    in ``folder``, and the next run goes on from there.
    """
    import requests

    path = folder / f"{COMPETITION}.zip"
    files.require_ours(folder, files.Kind("a download", None, None, (f"{path.name}*",)))
    try:
        # What the package prints is held back: a failure is one line, and success needs none.
        with contextlib.redirect_stdout(io.StringIO()):
            api = _log_in()
            n_bytes = sum(file.total_bytes for file in api.competition_list_files(COMPETITION).files)
            _require_space(folder, KAGGLE_SPACE, n_bytes)
            is_quiet = not sys.stderr.isatty()  # else it shows a bar
            api.competition_download_files(COMPETITION, str(folder), quiet=is_quiet)
    except requests.HTTPError as error:
        raise CourseError(_refusal(error.response.status_code)) from error
    except requests.RequestException as error:
        n_bytes = path.stat().st_size if path.exists() else 0
        raise CourseError(
            f"the connection to Kaggle failed after {n_bytes / 1e6:,.1f} MB: "
            "check the network and run the same command again"
        ) from error
    except ValueError as error:
        # Not the announced size, so not the announced file, but the package would go on from it.
        files.remove(folder)
        raise CourseError(f"{path.name} came damaged and was removed: run the same command again") from error
    return path


def _log_in():
    """The package's interface, with a token. Importing the package logs in too, but tells nobody why it failed."""
    import requests
    from kaggle.api.kaggle_api_extended import KaggleApi

    api = KaggleApi()
    try:
        api.authenticate()
    except (SystemExit, Exception) as error:  # what the package raises for a file that it cannot use, is of any type
        if isinstance(error, requests.RequestException) and not isinstance(error, requests.exceptions.InvalidHeader):
            raise
        raise CourseError(f"no Kaggle token on this machine that works: {NEW_TOKEN}") from error
    return api


def _refusal(status):
    return {
        401: f"Kaggle refuses your token: {NEW_TOKEN}",
        403: f"Kaggle wants the competition's rules accepted first: do so on {RULES} and run again",
        404: f"Kaggle does not know the competition {COMPETITION} (404): bring its archive with the door archive",
    }.get(status, f"Kaggle answers {status}: try again later")


def _require_space(folder, factor, n_bytes):
    """Space for a download and what is in it, of which a part may be there."""
    there = sum(path.stat().st_size for path in folder.iterdir()) if folder.exists() else 0
    files.require_space(folder, factor * n_bytes - there)
