"""Guards: TensorBoard, opened in a real browser, shows scalars and graphs of both scripts' runs.

pytest tests/test_tensorboard.py --runs tf_logs     photographs runs that are there, for the README
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PATIENCE, free_ports, serving, start_browser
from playwright.sync_api import expect, sync_playwright

from utils import plots

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
WINDOW = {"width": 1100, "height": 1060}


@pytest.fixture(scope="module")
def logs(request, tmp_path_factory):
    """TensorBoard logs of a run of each script."""
    folder = tmp_path_factory.mktemp("board")
    if given := request.config.getoption("runs"):
        for script in ("keras", "tensorflow"):  # these two, whatever else lies there
            shutil.copytree(Path(given, script), folder / script)
        return folder
    for script in ("keras", "tensorflow"):
        flags = ["--random_data", "--random_examples", "96", "--epochs", "2", "--logrun", script]
        subprocess.run([sys.executable, ROOT / f"train_{script}.py", *flags], cwd=folder, check=True)
    return folder / "tf_logs"


@pytest.fixture(scope="module")
def url():
    """Where TensorBoard is to answer."""
    (port,) = free_ports(1)
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def page(logs, url):
    """A browser's page, with TensorBoard running."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logs, "--host", "127.0.0.1"]
    with serving([*command, "--port", url.rpartition(":")[2]], url), sync_playwright() as playwright:
        browser = start_browser(playwright)
        page = browser.new_page(viewport=WINDOW)
        page.set_default_timeout(1000 * PATIENCE)
        expect.set_options(timeout=1000 * PATIENCE)
        yield page
        browser.close()


def test_make_tensorboard_says_nothing_of_missing_gpus(logs):
    (recipe,) = re.findall(r"(?m)^tensorboard: .*\n((?:\t.+\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    code = re.search(r'-c "(.+?)"', recipe).group(1)
    (port,) = free_ports(1)
    command = [sys.executable, "-c", code, "--logdir", str(logs), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    told = []
    for line in process.stderr:
        told.append(line)
        if f"http://127.0.0.1:{port}/" in line:
            break
    process.terminate()
    process.wait()
    assert told and not re.search("cuda|gpu|processor|absl", "".join(told), flags=re.IGNORECASE), told


@pytest.fixture
def photograph(request, page, tmp_path):
    """Keep what the page shows, beside the README's pictures if these are made."""
    folder = ROOT / "imgs" if request.config.getoption("runs") else tmp_path

    def take(name):
        page.wait_for_timeout(2000)  # until what moves has come to rest
        (folder / f"{name}.png").write_bytes(plots.to_palette(page.screenshot()))
        assert (folder / f"{name}.png").stat().st_size > 20_000  # an empty page has less

    return take


def test_scalars_of_both_runs_lie_side_by_side(page, url, photograph):
    page.set_viewport_size({**WINDOW, "height": 1500})  # cards that are out of sight are not drawn
    page.goto(f"{url}/#timeseries")
    page.get_by_label("Close side pane").click()
    tags = page.locator('input[placeholder="Filter tags (regex)"]')
    tags.fill("^(accuracy|loss)$")
    tags.press("Escape")  # closes the list of suggestions
    for tag in ("accuracy", "loss"):
        card = page.locator("card-view:visible", has=page.locator(f'[title="{tag}"]')).first
        for run in ("keras/train", "keras/validation", "tensorflow/train", "tensorflow/validation"):
            expect(card.locator("tb-data-table-content-row", has_text=run)).to_have_text(re.compile(r"\d"))
    page.set_viewport_size({**WINDOW, "height": 680})
    photograph("tensorboard_metrics")
    page.set_viewport_size(WINDOW)


def test_runs_are_compared_by_settings_and_test_accuracy(page, url, photograph):
    page.goto("about:blank")
    page.goto(f"{url}/#hparams")
    table = page.locator("tf-hparams-table-view")
    expect(table).to_contain_text("test_accuracy")
    for text in ("keras", "tensorflow", "learning_rate", "batch_size"):
        expect(table).to_contain_text(text)
    page.set_viewport_size({"width": 1700, "height": 620})
    photograph("tensorboard_hparams")
    page.set_viewport_size(WINDOW)


def test_a_card_says_by_which_command_a_run_was_made(page, url):
    page.goto("about:blank")
    page.goto(f"{url}/#text")
    card = page.locator("tf-text-loader", has_text="train_keras.py").first
    for row in ("command", "data", "versions", "commit"):
        expect(card).to_contain_text(row)


@pytest.mark.parametrize(
    ("run", "groups", "layers"),
    [
        ("tensorflow", {"TCResNet": "Block"}, ["log_mel", "Block", "Dense"]),
        ("keras", {"tc_resnet8": "network", "network": "conv1d"}, ["front_end", "conv1d", "batch_norm", "logits"]),
    ],
)
def test_the_graph_can_be_opened(run, groups, layers, page, url, photograph):
    page.goto("about:blank")
    page.goto(f"{url}/#graphs")
    item = page.locator("paper-item", has_text=run)
    for _ in range(5):  # a click while the page is still being filled closes the list again
        if item.is_visible():
            break
        page.locator("paper-dropdown-menu").first.click()
        page.wait_for_timeout(1000)
    item.click()
    node = page.locator("g.node text.nodelabel")
    for name, inner in groups.items():
        for _ in range(5):  # a click while the graph is still being laid out is lost
            if node.filter(has_text=inner).count():
                break
            node.filter(has_text=name).first.dblclick(force=True)
            page.wait_for_timeout(3000)  # while it unfolds
    page.get_by_text("Fit to screen").click()
    for name in layers:
        expect(node.filter(has_text=name).first).to_be_attached()
    if run == "tensorflow":  # the same network as Keras's, in fewer and larger boxes
        page.evaluate("getSelection().removeAllRanges()")  # a double click has marked a word
        photograph("tensorboard_graph")


def test_confusions_are_pictures_and_what_was_heard_wrong_can_be_played(page, url):
    page.goto("about:blank")
    page.goto(f"{url}/#images")
    picture = page.locator("tf-image-loader img").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 400
    page.goto(f"{url}/#audio")
    for heading in ("clip", "worst"):
        expect(page.get_by_text(heading, exact=True).first).to_be_visible()
    clip = page.locator("tf-audio-loader audio").first
    expect(clip).to_be_attached()
    seconds = "audio => new Promise(done => { audio.onloadedmetadata = () => done(audio.duration); audio.load() })"
    assert clip.evaluate(seconds) == pytest.approx(1.0)
