"""Draw the badges of the README, of what the project's own files say; tests/test_readme.py holds them to that."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "imgs" / "badges.svg"
FEWEST_TESTS = 1000
LETTER, EDGE, GAP, HEIGHT = 6.1, 7, 6, 20  # pixels
NAME_COLOUR, FACT_COLOUR = "#495057", "#1864ab"  # white on them has a contrast of 6 and more


def list_facts():
    """Name and fact of each badge."""
    pins = dict(re.findall(r"(?m)^(\w+)==(\d+\.\d+)", (ROOT / "req.txt").read_text(encoding="utf-8")))
    pythons = re.findall(r"use (3\.\d+), .* or (3\.\d+)", (ROOT / "Makefile").read_text(encoding="utf-8"))[0]
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    version = re.findall(r"GNU GENERAL PUBLIC LICENSE\s+Version (\d)", licence)[0]
    return [
        ("Python", " to ".join(pythons)),
        ("TensorFlow", pins["tensorflow"]),
        ("Keras", pins["keras"]),
        ("licence", f"GPL-{version}.0"),
        ("tests", f"{FEWEST_TESTS:,} and more"),
    ]


def draw():
    """The badges side by side, as the text of an SVG."""
    parts, left = [], 0
    for name, fact in list_facts():
        for text, colour in ((name, NAME_COLOUR), (fact, FACT_COLOUR)):
            width = round(len(text) * LETTER) + 2 * EDGE
            parts.append(f'<rect x="{left}" width="{width}" height="{HEIGHT}" fill="{colour}"/>')
            parts.append(f'<text x="{left + width / 2:g}" y="14" textLength="{width - 2 * EDGE}">{text}</text>')
            left += width
        left += GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{left - GAP}" height="{HEIGHT}" font-size="11"',
            '  font-family="Verdana, DejaVu Sans, sans-serif" fill="#fff" text-anchor="middle">',
            *parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
