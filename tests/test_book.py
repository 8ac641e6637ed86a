"""Guards: the book opens from disk and is whole by itself: pages, pictures, formulas, players, on a telephone too."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import start_browser
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).parents[1]
NOT_THE_BOOK = (".*_cache", ".git", ".venv", "__pycache__", "book", "course", "data", "runs", "tf_logs")
pytestmark = pytest.mark.slow
DECODED_WIDTH = "image => image.decode().then(() => image.naturalWidth)"
SECONDS = "player => new Promise(done => { player.onloadedmetadata = () => done(player.duration); player.load() })"


def make_book(folder):
    command = ["--fail-on-warning", "--quiet", "-c", ROOT / ".ci" / "book", "-d", "book/doctrees", ".", "book/html"]
    command = [sys.executable, "-m", "sphinx", *command]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The book of this course: notebook 0 executed as far as its first player, the others as committed."""
    folder = tmp_path_factory.mktemp("book") / "course"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_THE_BOOK))
    path = folder / "0_split_data.ipynb"
    notebook = nbformat.read(path, as_version=4)
    plays = next(index for index, cell in enumerate(notebook.cells) if "audio.play" in cell.source)
    notebook.cells = notebook.cells[: plays + 1]
    nbformat.write(notebook, path)
    execute = [sys.executable, ".ci/run_notebooks.py", path.name]
    ran = subprocess.run(execute, cwd=folder, env={**os.environ, "COURSE": "smoke"}, stderr=subprocess.PIPE, text=True)
    assert (ran.returncode, "encryption" in ran.stderr) == (0, False), ran.stderr
    old = nbformat.read(folder / "1_visualize.ipynb", as_version=4)
    old.cells[0].source = "# Of last year"
    nbformat.write(old, folder / "course" / "1_visualize.ipynb")
    done = make_book(folder)
    assert done.returncode == 0, done.stderr
    assert "executed here, players kept: 0_split_data; as committed" in done.stdout
    assert "of another text: 1_visualize; as committed" in done.stdout
    return folder / "book" / "html"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = start_browser(playwright)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that may ask nothing of another machine, and find no fault with what it shows."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    asked, faults = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: faults.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    yield page
    page.close()
    assert asked
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    assert not faults


def test_the_front_page_leads_to_a_notebook_with_a_figure_and_a_formula(book, page):
    page.goto((book / "index.html").as_uri())
    expect(page.locator("article h1")).to_contain_text("TensorFlow Speech Recognition")
    assert page.locator("article img").first.evaluate(DECODED_WIDTH) > 400
    cards = page.locator("article .sd-card")
    assert [card.split(" ")[0] for card in cards.locator(".sd-card-footer").all_inner_texts()] == list("1234567")
    expect(cards.nth(1).get_by_role("link")).to_have_attribute("href", "1_visualize.html")
    page.locator("nav.bd-links").get_by_role("link", name="1. Visualize").click()
    expect(page.locator("article h1")).to_contain_text("1. Visualize")
    assert page.locator(".cell_output img").first.evaluate(DECODED_WIDTH) > 400
    assert page.locator("article math").first.bounding_box()["width"] > 20


def test_a_clip_of_an_executed_notebook_can_be_played(book, page):
    page.goto((book / "0_split_data.html").as_uri())
    expect(page.locator(".admonition")).to_contain_text("Executed where this book was made")
    expect(page.locator("article")).not_to_contain_text("making the built-in voices")  # a progress bar
    assert page.locator("audio").first.evaluate(SECONDS) == pytest.approx(1, abs=0.5)


def test_a_term_shows_its_meaning_and_leads_to_the_glossary(book, page):
    page.goto((book / "3_sample_experiments.html").as_uri())
    term = page.locator("a.term", has_text="learning rate").first
    assert term.get_attribute("title").startswith("How far a step")
    term.click()
    expect(page.locator("li:target")).to_contain_text("learning rate")
    page.goto((book / "train_jupyter_keras.html").as_uri())  # "weights take room", "e to the power", "may gain more"
    assert page.locator("a.term").count() > 20
    assert not page.locator("a.term", has_text=re.compile("^(take|power|gain)$")).count()


def test_words_are_found(book, page):
    page.goto((book / "search.html").as_uri() + "?q=tempogram")
    expect(page.locator("#search-results a").first).to_contain_text("2. Preprocess")


def test_every_page_fits_a_telephone(book, page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto((book / "index.html").as_uri())
    page.locator(".primary-toggle:visible").click()
    page.get_by_role("link", name="5. Recognize").locator("visible=true").click()
    expect(page.locator("article h1")).to_be_in_viewport()
    pages = [path for path in book.rglob("*.html") if "_static" not in path.parts]
    assert len(pages) > 12
    for path in pages:
        page.goto(path.as_uri())
        expect(page.locator("h1:visible")).to_be_attached()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path.name


def test_a_broken_link_and_a_wrong_formula_are_errors(tmp_path):
    (tmp_path / "README.md").write_text("# A course\n\n[gone](gone.ipynb), [nowhere](#nowhere), $\\nosuch{x}$\n")
    done = make_book(tmp_path)
    assert done.returncode == 1
    for fault in ("gone.ipynb", "nowhere", "nosuch"):
        assert [line for line in done.stderr.splitlines() if "README.md:3: WARNING" in line and fault in line], fault
