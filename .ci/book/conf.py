"""The book: README, notebooks and measurements as pages that ask no other host for anything; the first one listens.

python -m sphinx --fail-on-warning --quiet -c .ci/book -d book/doctrees . book/html

Nothing is executed here. A notebook that `make course` has executed is shown with that copy's outputs, which keep their
players; another one as it is committed. One line says which.
"""

import re
import shutil
import sys
from pathlib import Path

import nbformat
from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).parents[2]))

from utils import trained, web

project = html_title = "TensorFlow Speech Recognition: a course"
root_doc = "README"
extensions = ["myst_nb", "sphinx_copybutton", "sphinx_design"]
include_patterns = ["*.md", "*.ipynb", "*/README.md", "benchmarks/*.md", "docs/*.md"]
exclude_patterns = [".*", "book", "course", "data", "runs", "tf_logs"]

nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "dollarmath", "html_image"]
myst_heading_anchors = 3
highlight_language = "none"  # of code that does not say what it is: commands

html_theme = "sphinx_book_theme"
html_theme_options = {"footer_content_items": [], "navbar_persistent": [], "use_fullscreen_button": False}
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
html_static_path = html_css_files = ["narrow.css"]
html_math_renderer = "mathml"  # MathJax would come from another host; browsers know MathML
html_sourcelink_suffix = ""
html_show_search_summary = False  # would fetch pages, which a browser forbids to a page from disk
html_show_copyright = html_show_sphinx = html_use_index = False

EXECUTED = "executed here, players kept"

TREE = """

```{toctree}
:hidden:
:caption: Learn
:glob:

[0-9]_*
train_jupyter_keras
```

```{toctree}
:hidden:
:caption: Reference
:glob:

docs/*
pretrained/README
benchmarks/README
benchmarks/tried
```

```{toctree}
:hidden:
:caption: Project

contribute
tests/README
CHANGELOG
```
"""
COURSE = re.compile(r"(?m)^\| notebook \|.*\n(?:\|.*\n)+")  # the table of notebooks, in the README
PICTURES = {
    "0_split_data": "notebook_zero_counts.png",
    "1_visualize": "mel_spectrograms.png",
    "2_preprocess_augment": "noise_mixing.png",
    "3_sample_experiments": "learning_curve.png",
    "4_full_training": "confusion_matrix.png",
    "train_jupyter_keras": "terminal_training.png",
    "5_recognize": "notebook_five_stream.png",
}
CARD = """
::::{{grid-item-card}} {title}
:link: {name}
:link-type: doc
:img-top: imgs/{picture}

{does}

:::{{card-footer}}
{place} of 7 · minutes: {minutes}
:::
::::
"""

# From a site, the page itself; a browser does not let a page from disk load a network.
SPEAK = """

```{raw} html
<p id="speak">Served as a site (<code>python -m http.server --directory book/html</code>), this page listens here.</p>
<script>
  if (location.protocol !== "file:")
    document.getElementById("speak").outerHTML =
      '<iframe src="page/index.html" allow="microphone" title="The page that listens: say a word" ' +
      'style="width: 100%; height: 56rem; border: 1px solid #8884; border-radius: 8px"></iframe>';
</script>
```

"""

TERM = re.compile(r"(?m)^- \*\*(.+?)\*\*: (.+?) \(\[")  # in the glossary: its name, what it is
EVERYDAY = {"fit", "gain", "lag", "leak", "level", "power", "take"}  # terms that often mean something else

NOTE = """```{note}
Executed where this book was made, so that its clips can be played. The text speaks of the outputs that are kept with
the notebook, and says on which recordings and setting they were made. Where this page's are others, numbers and
pictures differ.
```"""


def choose_notebooks(app):
    """Find out how each notebook will be shown, and say so."""
    pages = {}
    for path in sorted(Path(app.srcdir).glob("*.ipynb")):
        pages.setdefault(_judge(path), []).append(path.stem)
    app.executed = pages.get(EXECUTED, [])
    print("; ".join(f"{how}: {', '.join(names)}" for how, names in pages.items()))


def _judge(path):
    copy = path.parent / "course" / path.name
    if not copy.exists():
        return "as committed, players left out (make course executes all)"
    sources = [[(cell.cell_type, cell.source) for cell in nbformat.read(file, 4).cells] for file in (path, copy)]
    return EXECUTED if sources[0] == sources[1] else "as committed, for the copy in course/ is of another text"


def read_source(app, name, source):
    """Give the front page its table of contents, and executed notebooks their outputs."""
    if name == root_doc:
        title, rest, after = source[0].partition("\n## ")
        after = COURSE.sub(lambda table: _lay_cards(Path(app.srcdir), table[0]), after)
        source[0] = title + SPEAK + rest + after + TREE
    elif name in PICTURES:
        place = nbformat.v4.new_markdown_cell(f"*Notebook {list(PICTURES).index(name) + 1} of 7*")
        folder = Path(app.srcdir) / ("course" if name in app.executed else "")
        notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        note = [nbformat.v4.new_markdown_cell(NOTE)] if name in app.executed else []
        notebook.cells[1:1] = [place, *note]
        source[0] = nbformat.writes(notebook)


def mark_terms(app, tree, page):
    """Give the terms of the glossary their places; where a chapter of a notebook first uses one, its sentence."""
    if page == "docs/glossary":
        for entry in tree.findall(nodes.list_item):
            entry["ids"].append(nodes.make_id(entry.next_node(nodes.strong).astext()))
    if page not in PICTURES:
        return
    meanings = dict(TERM.findall((Path(app.srcdir) / "docs" / "glossary.md").read_text(encoding="utf-8")))
    longest_first = "|".join(sorted(map(re.escape, meanings.keys() - EVERYDAY), key=len, reverse=True))
    names = re.compile(rf"(?<![\w-])({longest_first})(?![\w-])")
    place = app.builder.get_relative_uri(page, "docs/glossary")
    seen = set()
    for chapter in tree.next_node(nodes.section).children:
        bold = {strong.astext() for strong in chapter.findall(nodes.strong)}  # where a term is bold, it is explained
        seen = bold if isinstance(chapter, nodes.section) else seen | bold
        for text in [text for text in chapter.findall(nodes.Text) if _is_prose(text)]:
            parts = []
            for part in names.split(text.astext()):  # every second one is a term
                if part in meanings and part not in seen:
                    link = {"refuri": f"{place}#{nodes.make_id(part)}", "reftitle": meanings[part], "classes": ["term"]}
                    parts.append(nodes.reference("", part, internal=True, **link))
                    seen.add(part)
                else:
                    parts.append(nodes.Text(part))
            text.parent.replace(text, parts)


def _is_prose(text):
    """Whether a text is plain: no title, link, code or table."""
    place = text.parent
    while isinstance(place, nodes.paragraph | nodes.list_item | nodes.bullet_list | nodes.enumerated_list):
        place = place.parent
    return isinstance(place, nodes.section)


def _lay_cards(folder, table):
    """The table of notebooks as cards."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    of = {re.search(r"\[(\w+)\]", row[0])[1]: row for row in rows}
    cards = []
    for place, (name, picture) in enumerate(PICTURES.items(), start=1):
        title = nbformat.read(folder / f"{name}.ipynb", as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
        does, minutes = of[name][1], of[name][-1]
        cards.append(CARD.format(title=title, name=name, picture=picture, does=does, place=place, minutes=minutes))
    return ":::::{grid} 1 2 2 3\n:gutter: 3\n" + "".join(cards) + ":::::\n"


def write_formula(writer, node):
    """Write a formula as MathML."""
    try:
        writer.body.append(latex2mathml.tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
    except MathError as error:
        logging.getLogger(__name__).warning("formula %s: %s", node.astext(), error, location=node)
    raise nodes.SkipNode


def finish_site(app, error):
    """Make the README what a folder or a site opens with, and lay the page that listens beside it."""
    if not error:
        web.write_site(Path(app.outdir) / "page", trained.PRETRAINED)
        shutil.copy(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")


def setup(app):
    """Add to Sphinx what the settings do not say."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("builder-inited", choose_notebooks)
    app.connect("source-read", read_source)
    app.connect("doctree-resolved", mark_terms)
    app.connect("build-finished", finish_site)
