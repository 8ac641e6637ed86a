"""One rule for names that become files and folders: none that some system cannot hold, or takes for another."""

import re
import unicodedata

MAX_BYTES = 240  # file systems allow 255, and some names get a little around them: .NAME.partial, NAME_word.wav
# Control characters, line separators, bytes that are no UTF-8.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOT_IN_WINDOWS = re.compile(
    r'[<>:"|?*]|[. ]$|^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)', re.IGNORECASE
)


def is_hidden(name):
    """Whether a file or folder is none of the user's: ``.DS_Store``, and the ``._anna_1.wav`` of a Mac."""
    return name.startswith(".")


def find_fault(name):
    """What is wrong with the name of a file or folder, in words to follow it; nothing if every system can hold it."""
    if not name:
        return "is no name"
    if _UNWRITABLE.search(name):
        return "has a character that cannot be written"
    if "/" in name or "\\" in name:
        return "has a slash in it"
    if _NOT_IN_WINDOWS.search(name):
        return "is a name that Windows cannot hold"
    return "is too long a name" if is_too_long(name) else ""


def is_too_long(name):
    """Whether some system could not hold a name for its length."""
    return len(name.encode(errors="surrogateescape")) > MAX_BYTES


def fold(name):
    """Text that is equal for names which macOS or Windows take for one: case and the form of an accent apart."""
    return compose(name).casefold()


def compose(name):
    """A name with its accents in the form that people type: archives and disks of a Mac may have them taken apart."""
    return unicodedata.normalize("NFC", name)
