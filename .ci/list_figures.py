"""List shares and counts that the guides name, each with the command that makes it again: python .ci/list_figures.py

A result of README.md or docs/ is looked up in benchmarks/README.md and pretrained/README.md: in the line that holds
most of those in its own line; where several do, in the section that holds most of its paragraph or table, or the
shorter one. Its command is the first of its line, or the last one before it.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDES = (*(ROOT / "docs" / f"{name}.md" for name in ("install", "data", "train", "recognise")), ROOT / "README.md")
MEASURED = (ROOT / "benchmarks" / "README.md", ROOT / "pretrained" / "README.md")
FIGURE = re.compile(r"(?<![\d.,:])(\d{1,2}\.\d %|0\.\d{3}|\d{2,3},\d{3})(?![\d.]|,\d)")  # 1.4 %, 0.958, 130,728
COMMAND = re.compile(r"`(python [^`]+)`")


def find_figures(line):
    """Results of a line as measurements write them: shares instead of percentages."""
    found = FIGURE.findall(line)
    return [f"{float(figure[:-2]) / 100:.3f}" if figure.endswith("%") else figure for figure in found]


def list_measured():
    """Lines of measurements as (figures, command, section)."""
    for page in MEASURED:
        command, section = None, ""
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("#"):
                command, section = None, line.lstrip("# ")
            here, is_row = COMMAND.findall(line), line.startswith("|")
            yield set(find_figures(line)), here[0] if here else command, section
            if here and not is_row:
                command = here[-1]


def list_results(guide):
    """Results of a guide as (figure, command, section), without others' figures, which are folded; None if unknown."""
    measured = [line for line in list_measured() if line[0] and line[1]]
    sections = {}
    for figures, _, section in measured:
        sections[section] = sections.get(section, set()) | figures
    text = re.sub(r"(?s)<details>.*?</details>", "", guide.read_text(encoding="utf-8"))
    for block in re.split(r"\n\s*\n", text):
        beside = set(find_figures(block))
        for line in block.splitlines():
            figures = find_figures(line)
            for figure in figures:
                found = [
                    (
                        len(known & set(figures)),
                        len(sections[section] & beside),
                        -len(sections[section]),
                        command,
                        section,
                    )
                    for known, command, section in measured
                    if figure in known
                ]
                yield figure, *(max(found)[-2:] if found else (None, None))


def main():
    """Print a line for each result."""
    results = [(guide.name, *result) for guide in GUIDES for result in list_results(guide)]
    for name, figure, command, section in results:
        print(f"{name:13} {figure:>8}  {f'{command}  ({section})' if command else 'no command found'}")
    return int(any(command is None for _, _, command, _ in results))


if __name__ == "__main__":
    sys.exit(main())
