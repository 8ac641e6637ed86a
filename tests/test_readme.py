"""Guards: imgs/ holds the pictures that are shown and no others, each with a text, all of them small."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("*.ipynb")]
MAX_BYTES = 3_000_000  # every clone carries them


def read_prose(page):
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def list_shown():
    """Page, file and alternative text of the pictures of imgs/ that are shown, in Markdown or in HTML."""
    for page in PAGES:
        prose = read_prose(page)
        shown = re.findall(r"!\[([^\]]*)\]\(([^)\s]+)", prose)
        for tag in re.findall(r"<img\b[^>]*>", prose):
            values = dict(re.findall(r'(\w+)="([^"]*)"', tag))
            shown.append((values.get("alt", ""), values["src"]))
        yield from (
            (page.name, (page.parent / path).resolve(), text)
            for text, path in shown
            if "imgs/" in path and "://" not in path
        )


def test_every_picture_is_shown_and_what_is_shown_exists():
    shown, there = {path for _, path, _ in list_shown()}, set((ROOT / "imgs").iterdir())
    assert sorted(path.name for path in shown - there) == []
    assert sorted(path.name for path in there - shown) == []


def test_every_picture_has_a_text():
    assert [(page, path.name) for page, path, text in list_shown() if len(text.split()) < 4] == []


def test_pictures_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "imgs").iterdir()) < MAX_BYTES
