"""Guards: an archive made by anybody is unpacked as it is, or refused in one line with nothing written."""

import errno
import gzip
import io
import random
import shutil
import stat
import struct
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import py7zr
import pytest

from utils import sources
from utils.system import archives
from utils.system.cli import CourseError

GOOD = "train/audio/yes/a_nohash_0.wav"
SUFFIXES = (".zip", ".7z", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAIN_SUFFIXES = (".zip", ".7z", ".tar.gz")
MB = 1 << 20

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")


def write_zip(path, contents, change=None, **settings):
    """A zip of ``contents``, name -> bytes; ``change`` sees the ZipFile before its list of members is written."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents:
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, zipfile.ZIP_DEFLATED
            for key, value in settings.items():
                setattr(info, key, value)
            archive.writestr(info, content)
        if change:
            change(archive)


def write_7z(path, contents, change=None, attributes=None, **settings):
    """The same as a 7z; names go into the header as they are, which py7zr would not write."""
    with py7zr.SevenZipFile(path, "w", **settings) as archive:
        for name, content in contents:
            archive.writestr(content, "x")
            archive.header.files_info.files[-1]["filename"] = name
            if attributes is not None:
                archive.header.files_info.files[-1]["attributes"] = attributes
        if change:
            change(archive)


def write_tar(path, contents, **settings):
    """The same as a tar, packed as the suffix says."""
    packing = {".tar": "", ".tgz": "gz"}.get(path.suffix, path.suffix[1:])
    with tarfile.open(path, f"w:{packing}", format=settings.pop("format", tarfile.PAX_FORMAT)) as archive:
        for name, content in contents:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in settings.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content) if info.size == len(content) else None)


def write(path, contents, **settings):
    {".zip": write_zip, ".7z": write_7z}.get(path.suffix, write_tar)(path, contents, **settings)


def snapshot(folder):
    """Relative path -> kind, mode and content of all there is under a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[path.relative_to(folder).as_posix()] = status.st_mode, content
    return found


def refuse(path, tmp_path):
    """The one line of the refusal; nothing may be written, not even to the folder that is thrown away."""
    (tmp_path / "data").mkdir()
    (tmp_path / "out").mkdir()
    before = snapshot(tmp_path)
    with pytest.raises(CourseError) as caught:
        sources.unpack(path, tmp_path / "data" / "raw")
    assert snapshot(tmp_path) == before
    with pytest.raises(CourseError) as again:
        archives.extract(path, tmp_path / "out")
    assert snapshot(tmp_path) == before
    assert not [name for name in ("/evil.wav", "/evil") if Path(name).exists()]
    line = str(caught.value)
    assert line == str(again.value)
    assert "\n" not in line
    assert line.startswith(path.name)
    assert line.endswith(": nothing was unpacked")
    return line


NAMES = {
    "up": ("../evil.wav", "would leave the folder"),
    "up from within": ("train/../../evil.wav", "would leave the folder"),
    "up and down again": ("train/../evil.wav", "would leave the folder"),
    "up, backslash": ("..\\evil.wav", "would leave the folder"),
    "up from within, backslash": ("train\\..\\..\\evil.wav", "would leave the folder"),
    "absolute": ("/evil.wav", "absolute path"),
    "absolute, backslash": ("\\evil.wav", "absolute path"),
    "drive": ("C:\\evil.wav", "absolute path"),
    "drive without slash": ("C:evil.wav", "absolute path"),
    "server": ("\\\\server\\share\\evil.wav", "absolute path"),
    "line break": ("train/evil\n.wav", "cannot be written"),
    "terminal escape": ("train/evil\x1b[2J.wav", "cannot be written"),
    "C1 control": ("train/evil\x9b.wav", "cannot be written"),
    "256 bytes": ("é" * 126 + "evil", "too long"),
    "colon": ("train/evil:stream.wav", "Windows"),
    "question mark": ("train/evil?.wav", "Windows"),
    "CON": ("train/CON", "Windows"),
    "nul.wav": ("train/nul.wav", "Windows"),
    "COM1 folder": ("com1/evil.wav", "Windows"),
    "LPT9 with a space": ("train/Lpt9 .wav", "Windows"),
    "dot at the end": ("train/evil.", "Windows"),
    "space at the end of a folder": ("evil /a.wav", "Windows"),
    "three dots": (".../evil.wav", "Windows"),
}


def check(tmp_path, names):
    """The one line with which an archive of any kind is refused that holds files of these names."""
    (tmp_path / "box.zip").write_bytes(b"packed")
    with pytest.raises(CourseError) as caught:
        archives._check(tmp_path / "box.zip", tmp_path, [archives.Member(name, 4, "file") for name in names])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("name", "reason"), NAMES.values(), ids=NAMES)
def test_a_hostile_name_is_refused(tmp_path, name, reason):
    line = check(tmp_path, [GOOD, name])
    assert f"member {name[:100]!r}" in line
    assert reason in line


@pytest.mark.parametrize("suffix", MAIN_SUFFIXES)
@pytest.mark.parametrize("kind", ["up", "absolute, backslash", "terminal escape", "256 bytes"])
def test_a_hostile_name_in_an_archive_is_refused(tmp_path, suffix, kind):
    path, (name, reason) = tmp_path / f"box{suffix}", NAMES[kind]
    write(path, [(GOOD, b"fine"), (name, b"evil")])
    line = refuse(path, tmp_path)
    shown = name.replace("\\", "/") if suffix == ".7z" else name  # py7zr turns the slashes
    assert f"member {shown[:100]!r}" in line
    assert reason in line


@pytest.mark.parametrize(
    ("headers", "shown"),
    [({"path": "evil\0.wav"}, "'evil\\x00.wav'"), ({"path": "/evil"}, "'/evil'"), ({"path": "../evil"}, "'../evil'")],
    ids=["NUL", "absolute", "up"],
)
def test_a_name_in_an_extended_tar_header_is_refused(tmp_path, headers, shown):
    write_tar(tmp_path / "box.tar", [("fine.wav", b"evil")], pax_headers=headers)
    assert f"member {shown}" in refuse(tmp_path / "box.tar", tmp_path)


def test_a_name_that_is_no_text_is_refused(tmp_path):
    write_tar(tmp_path / "box.tar", [("evil\udcff.wav", b"evil")], format=tarfile.GNU_FORMAT)
    assert "member 'evil\\udcff.wav' has a character" in refuse(tmp_path / "box.tar", tmp_path)


def change_last(**values):
    """For ``change`` of a zip: what the list of members says of the last one."""

    def change(archive):
        for key, value in values.items():
            setattr(archive.filelist[-1], key, value)

    return change


def unix(kind):
    """7z attributes of a kind of file."""
    return 0x8000 | (kind | 0o644) << 16


KINDS = {
    "zip, link": (".zip", {"external_attr": (stat.S_IFLNK | 0o777) << 16}),
    "zip, fifo": (".zip", {"external_attr": (stat.S_IFIFO | 0o777) << 16}),
    "7z, link": (".7z", {"attributes": unix(stat.S_IFLNK)}),
    "7z, Windows link": (".7z", {"attributes": 0x400}),
    "7z, junction": (".7z", {"attributes": 0x410}),
    "7z, device": (".7z", {"attributes": unix(stat.S_IFBLK)}),
    "tar, link": (".tar", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
    "tar, hard link": (".tar.gz", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}),
    "tar, device": (".tar.bz2", {"type": tarfile.BLKTYPE}),
    "tar, fifo": (".tar.xz", {"type": tarfile.FIFOTYPE}),
}


@pytest.mark.parametrize(("suffix", "settings"), KINDS.values(), ids=KINDS)
def test_what_is_no_plain_file_is_refused(tmp_path, suffix, settings):
    path = tmp_path / f"box{suffix}"
    write(path, [("evil.wav", b"x")], **settings)
    line = f"{path.name}: member 'evil.wav' is a link, a device or the like: nothing was unpacked"
    assert refuse(path, tmp_path) == line


def test_a_link_named_like_a_folder_is_refused(tmp_path):
    write_zip(tmp_path / "box.zip", [("evil/", b"/etc")], external_attr=(stat.S_IFLNK | 0o777) << 16)
    assert "member 'evil/' is a link" in refuse(tmp_path / "box.zip", tmp_path)


ENCRYPTED = {
    "zip": (".zip", {"change": change_last(flag_bits=0x1)}),
    "7z": (".7z", {"password": "secret"}),
    "7z, names too": (".7z", {"password": "secret", "header_encryption": True}),
}


@pytest.mark.parametrize(("suffix", "settings"), ENCRYPTED.values(), ids=ENCRYPTED)
def test_an_encrypted_archive_is_told(tmp_path, suffix, settings):
    path = tmp_path / f"box{suffix}"
    write(path, [(GOOD, b"x")], **settings)
    with pytest.raises(CourseError, match=rf"^box{suffix} is not supported \(.*encrypted.*\): pack it as a plain zip$"):
        archives.extract(path, tmp_path / "out")


@pytest.mark.parametrize("suffix", [".7z", ".tar"])
def test_a_size_below_zero_is_refused(tmp_path, suffix):
    path = tmp_path / f"box{suffix}"
    if suffix == ".tar":
        write_tar(path, [("evil.wav", b"")], size=-512, format=tarfile.GNU_FORMAT)
    else:

        def change(archive):
            archive.header.main_streams.substreamsinfo.unpacksizes[:] = [50, -30]

        write_7z(path, [("fine.wav", b"x" * 10), ("evil.wav", b"x" * 10)], change=change)
    assert "member 'evil.wav' makes it " in refuse(path, tmp_path)


def pack_zeros(n_mb, start=b"", end=b""):
    """A gzip of ``n_mb`` MB of zeros, in parts, which is quick."""
    return gzip.compress(start) + gzip.compress(bytes(MB)) * n_mb + gzip.compress(end)


def write_zeros(path, n_mb):
    """An archive of ``n_mb`` MB of zeros and nothing else."""
    info = tarfile.TarInfo("evil.wav")
    info.size = n_mb * MB
    if path.name.endswith(".tar.gz"):
        path.write_bytes(pack_zeros(n_mb, info.tobuf(), bytes(1024)))
    elif path.suffix == ".7z":
        filters = [{"id": py7zr.FILTER_LZMA2, "preset": 0}]
        write_7z(path, [("evil.wav", bytes(info.size))], filters=filters)
    else:
        write(path, [("evil.wav", bytes(info.size))])


@pytest.mark.parametrize("suffix", [*MAIN_SUFFIXES, ".tar.bz2"])
def test_a_bomb_is_refused_without_holding_it(tmp_path, suffix):
    path = tmp_path / f"box{suffix}"
    write_zeros(path, 200)
    assert path.stat().st_size < MB
    tracemalloc.start()
    line = refuse(path, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "member 'evil.wav' makes it 210 MB, and an archive of its size may hold" in line
    assert peak < 20 * MB


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_unpacking_holds_little_in_memory(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(archives, "MAX_RATIO", 1e6)
    write_zeros(tmp_path / f"box{suffix}", 60)
    tracemalloc.start()
    archives.extract(tmp_path / f"box{suffix}", tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "out" / "evil.wav").stat().st_size == 60 * MB
    assert peak < 10 * MB


@pytest.mark.parametrize("suffix", MAIN_SUFFIXES)
@pytest.mark.parametrize(
    ("limit", "most", "reason"),
    [("MAX_MEMBERS", 4, "is one of more than 4"), ("MAX_BYTES", 1.4e6, "makes it 2 MB, and an archive of its size")],
    ids=["members", "bytes"],
)
def test_the_member_that_passes_a_limit_is_named(tmp_path, monkeypatch, suffix, limit, most, reason):
    monkeypatch.setattr(archives, limit, most)
    content = random.Random(0).randbytes(300_000)
    write(tmp_path / f"box{suffix}", [(name, content) for name in ("a", "b", "c", "d", "evil", "f")])
    line = refuse(tmp_path / f"box{suffix}", tmp_path)
    assert "member 'evil'" in line
    assert reason in line


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_tiny_archive_of_silence_is_fine(tmp_path, suffix):
    write(tmp_path / f"box{suffix}", [("silence.wav", bytes(5 * MB))])
    archives.extract(tmp_path / f"box{suffix}", tmp_path / "out")
    assert (tmp_path / "out" / "silence.wav").read_bytes() == bytes(5 * MB)


def shrink_7z(archive):
    archive.header.main_streams.substreamsinfo.unpacksizes[:] = [10]
    archive.header.main_streams.unpackinfo.folders[0].compressor._unpacksizes[:] = [10]


def grow_7z(archive):
    archive.header.main_streams.unpackinfo.folders[0].compressor._unpacksizes[:] = [2000]


LIES = {
    "zip, more than declared": (".zip", {"change": change_last(file_size=10)}),
    "zip, less than declared": (".zip", {"change": change_last(file_size=2000)}),
    "7z, more than declared": (".7z", {"change": shrink_7z}),
    "7z, less than declared": (".7z", {"change": grow_7z}),
    "tar, less than declared": (".tar", {"size": 100_000}),
    "tar.gz, less than declared": (".tar.gz", {"size": 100_000}),
}


@pytest.mark.parametrize(("suffix", "settings"), LIES.values(), ids=LIES)
def test_a_size_that_lies_is_found(tmp_path, suffix, settings):
    path = tmp_path / f"box{suffix}"
    write(path, [("evil.wav", random.Random(0).randbytes(1000))], **settings)
    with pytest.raises(CourseError, match=f"{path.name} is damaged .*: download it again$"):
        archives.extract(path, tmp_path / "out")
    written = tmp_path / "out" / "evil.wav"
    assert not written.exists() or written.stat().st_size <= 1000


def test_a_zip_writes_no_more_than_declared_even_with_the_right_checksum(tmp_path):
    content = random.Random(0).randbytes(1000)
    lie = change_last(file_size=10, CRC=zlib.crc32(content[:10]))
    write_zip(tmp_path / "box.zip", [("evil.wav", content)], change=lie)
    archives.extract(tmp_path / "box.zip", tmp_path / "out")
    assert (tmp_path / "out" / "evil.wav").read_bytes() == content[:10]


@pytest.fixture
def made(tmp_path):
    """A folder with the odd but proper names, an empty file, an empty folder and a program of root's."""
    folder = tmp_path / "made"
    for name, content in {
        GOOD: random.Random(0).randbytes(3000),
        "train/testing_list.txt": b"",
        "test/audio/clip 1.wav": b"RIFF",
        "test/audio/größe.wav": bytes(1000),
        "test/.hidden/console.txt": b"con",
    }.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    (folder / "train" / "empty").mkdir()
    return folder


def pack_folder(path, folder):
    names = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*"))]
    (folder / GOOD).chmod(0o4777)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.write(folder / name, name)
    elif path.suffix == ".7z":
        with py7zr.SevenZipFile(path, "w") as archive:
            for name in names:
                archive.write(folder / name, name)
    else:
        packing = {".tar": "", ".tgz": "gz"}.get(path.suffix, path.suffix[1:])
        with tarfile.open(path, f"w:{packing}") as archive:
            archive.add(folder, ".")
    (folder / GOOD).chmod((folder / "test/audio/clip 1.wav").stat().st_mode)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_good_archive_unpacks_to_the_same_tree(tmp_path, made, suffix):
    path = tmp_path / f"box{suffix.upper() if suffix == '.zip' else suffix}"
    pack_folder(path.with_suffix(".zip") if suffix == ".zip" else path, made)
    assert archives.is_archive(path)
    if suffix == ".zip":
        path.with_suffix(".zip").rename(path)
    archives.extract(path, tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(made)


def test_a_zip_made_with_backslashes_unpacks_into_folders(tmp_path):
    write_zip(tmp_path / "box.zip", [("train\\", b""), ("train\\audio\\a.wav", b"fine")])
    archives.extract(tmp_path / "box.zip", tmp_path / "out")
    assert (tmp_path / "out" / "train" / "audio" / "a.wav").read_bytes() == b"fine"


def test_a_7z_without_modes_is_unpacked(tmp_path):
    write_7z(tmp_path / "box.7z", [(GOOD, b"fine")], attributes=0x20)
    archives.extract(tmp_path / "box.7z", tmp_path / "out")
    assert (tmp_path / "out" / GOOD).read_bytes() == b"fine"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("cut", [0, 0.1, 0.5, 0.95, -1])
def test_a_cut_archive_is_damaged(tmp_path, made, suffix, cut):
    path = tmp_path / f"box{suffix}"
    pack_folder(path, made)
    content = path.read_bytes()
    if suffix == ".tar":
        content = content[: len(content.rstrip(b"\0")) + 512]  # what follows is padding
    path.write_bytes(content[: int(cut * len(content)) if cut >= 0 else cut])
    with pytest.raises(CourseError, match=r"is damaged \(.*\): download it again$") as caught:
        archives.extract(path, tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_changed_byte_is_harmless(tmp_path, suffix):
    """Whatever byte is wrong, the archive is refused in one line or unpacked; nothing lands elsewhere."""
    path = tmp_path / f"box{suffix}"
    write(path, [(GOOD, b"fine" * 20), ("test/b.wav", b"good" * 20)])
    content, generator = path.read_bytes(), random.Random(0)
    n_refused = 0
    for _ in range(60):
        position = generator.randrange(len(content))
        path.write_bytes(content[:position] + generator.randbytes(1) + content[position + 1 :])
        try:
            archives.extract(path, tmp_path / "out")
        except CourseError as error:
            n_refused += 1
            assert "\n" not in str(error)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert n_refused > 5


def test_a_broken_header_inside_a_tar_is_not_its_end(tmp_path):
    write_tar(tmp_path / "box.tar", [("a.wav", b"fine"), ("b.wav", b"fine")])
    content = bytearray((tmp_path / "box.tar").read_bytes())
    content[1024 + 148 : 1024 + 156] = b"00000000"  # the checksum of the second
    (tmp_path / "box.tar").write_bytes(content)
    with pytest.raises(CourseError, match=r"box\.tar is damaged \(a header is broken\)"):
        archives.extract(tmp_path / "box.tar", tmp_path / "out")


def test_a_wrong_checksum_of_a_tar_gz_is_found(tmp_path):
    write_tar(tmp_path / "box.tar.gz", [("a.wav", b"fine")])
    content = bytearray((tmp_path / "box.tar.gz").read_bytes())
    content[-8:-4] = struct.pack("<I", 1)
    (tmp_path / "box.tar.gz").write_bytes(content)
    with pytest.raises(CourseError, match="is damaged"):
        archives.extract(tmp_path / "box.tar.gz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".zip", ".7z"])
def test_an_unknown_version_or_method_is_not_supported(tmp_path, suffix):
    def change(archive):
        if suffix == ".zip":
            archive.filelist[-1].extract_version = 99
        else:
            archive.header.main_streams.unpackinfo.folders[0].coders[0]["method"] = b"\x04\x99\x99"

    path = tmp_path / f"box{suffix}"
    write(path, [("a.wav", b"fine")], change=change)
    with pytest.raises(CourseError, match=rf"^box{suffix} is not supported \(.*\): pack it as a plain zip$"):
        archives.extract(path, tmp_path / "out")


@pytest.mark.parametrize("suffix", MAIN_SUFFIXES)
def test_what_is_already_there_is_kept(tmp_path, suffix):
    path = tmp_path / f"box{suffix}"
    write(path, [(GOOD, b"fine")])
    (tmp_path / "out" / GOOD).parent.mkdir(parents=True)
    (tmp_path / "out" / GOOD).write_bytes(b"mine")
    with pytest.raises(CourseError, match=r"a_nohash_0\.wav is already there"):
        archives.extract(path, tmp_path / "out")
    assert (tmp_path / "out" / GOOD).read_bytes() == b"mine"


@pytest.mark.parametrize("suffix", MAIN_SUFFIXES)
def test_too_little_space_is_told_before_writing(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"box{suffix}"
    write(path, [(GOOD, bytes(MB))])
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=50.5e6))
    with pytest.raises(CourseError, match="50 MB free and 51 MB are needed"):
        archives.extract(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", MAIN_SUFFIXES)
def test_a_disk_that_fills_up_is_not_a_damaged_archive(tmp_path, monkeypatch, suffix):
    def fail(self, block):
        raise OSError(errno.ENOSPC, "No space left on device")

    write(tmp_path / f"box{suffix}", [(GOOD, b"fine")])
    monkeypatch.setattr(archives._NewFile, "write", fail)
    with pytest.raises(OSError, match="No space left"):
        archives.extract(tmp_path / f"box{suffix}", tmp_path / "out")


def test_a_library_that_is_missing_removes_no_download(tmp_path, monkeypatch):
    """As a damaged archive would be, so that it is downloaded again."""
    monkeypatch.setitem(sys.modules, "py7zr", None)
    with (
        pytest.raises(ModuleNotFoundError, match="py7zr"),
        sources._download_folder(tmp_path / "raw", "kaggle") as folder,
    ):
        folder.mkdir()
        write(folder / "box.7z", [(GOOD, b"fine")])
        archives.extract(folder / "box.7z", tmp_path / "out")
    assert (folder / "box.7z").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [(f"a{suffix}", True) for suffix in SUFFIXES]
    + [("A.Tar.GZ", True), ("a.gz", False), ("zip", False), ("a.zip.wav", False), ("a.csv", False)],
)
def test_an_archive_is_known_by_its_name(tmp_path, name, expected):
    assert archives.is_archive(tmp_path / name) is expected


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_with_a_header_of_megabytes_is_refused_before_it_is_read(tmp_path, suffix, kind):
    header = tarfile.TarInfo("long")
    header.type, header.size = kind, 64 * MB
    first = tarfile.TarInfo("first").tobuf()
    content = first + header.tobuf(tarfile.GNU_FORMAT) + bytes(64 * MB) + tarfile.TarInfo("x").tobuf() + bytes(1024)
    path = tmp_path / f"box{suffix}"
    path.write_bytes(gzip.compress(content, 1) if suffix.endswith("gz") else content)
    with pytest.raises(archives.Damaged, match="a header is too long"):
        archives.extract(path, tmp_path / "out")
