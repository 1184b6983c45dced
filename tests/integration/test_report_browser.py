"""A report of a real run as a browser shows it: it fits, it follows the scheme, it switches."""

import html
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from reid_core.contracts import Scores
from reid_core.evaluation.run_evaluators import Evaluated
from reid_core.evaluation.saved_scores import read_scores, save_scores
from reid_core.params.validation import check_run_params
from reid_core.runs.start_and_resume import start_train
from reid_plugins.command._report.page import write_report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(
    not BROWSER, reason="no browser to look at a page with: install chromium or google-chrome"
)

WIDTHS = (360, 1280)
SCHEMES = {"dark": 0, "light": 1}
PAPER = {"dark": (0x13, 0x15, 0x18), "light": (0xF7, 0xF7, 0xF5)}
COLOURS = {
    "dark": {"match": (0x45, 0xC7, 0x9A), "wrong": (0xFF, 0x91, 0x52)},
    "light": {"match": (0x00, 0x7A, 0x58), "wrong": (0xB8, 0x46, 0x00)},
}

MEASURE = """
const found = [];
for (const frame of document.querySelectorAll("iframe")) {
  const page = frame.contentDocument, root = page.documentElement;
  const shown = () => [...page.querySelectorAll("p.at")]
    .filter(p => p.checkVisibility()).map(p => p.textContent);
  const before = shown();
  page.querySelector("input:nth-of-type(2)")?.click();
  found.push({
    width: root.clientWidth,
    content: root.scrollWidth,
    paper: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
    images: [...page.images].map(image => image.complete && image.naturalWidth > 0),
    before: before,
    after: shown(),
  });
}
document.getElementById("result").textContent = JSON.stringify(found);
"""
"""The report itself runs no script: that of a page around it measures it."""


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_catalog):
    """The directory of a real run, with a second evaluation that has very long words."""
    folder = tmp_path_factory.mktemp("report")
    people = {
        "train_identities": 6, "test_identities": 4, "cameras": 3, "distractors": 2, "junk": 2,
        "height": 64, "width": 32,
    }  # fmt: skip
    params = {
        "data": {"train": [{"name": "synthetic_market", "params": people}]},
        "backbone": {"name": "tiny"},
        "head": [{"name": "global"}],
        "loss": [{"name": "softmax"}],
        "sampler": {"name": "class_balanced", "params": {"P": 3, "K": 2}},
        "augmentation": [
            {"name": "resize", "params": {"height": 64, "width": 32}},
            {"name": "normalize"},
        ],
        "optimizer": {"name": "adam", "lr": 0.001},
        "train": {"epochs": 2, "device": "cpu", "log_every": 1},
        "evaluation": [{"name": "market_evaluate"}],
        "working_dir": str(folder),
    }
    directory = start_train(check_run_params(params, tiny_catalog, "test"), tiny_catalog, "run")
    add_long_words(directory)
    return directory.path


def add_long_words(directory):
    path = directory.evaluations / "best-market_evaluate-synthetic_market"
    arrays, facts = read_scores(path)
    tables, _ = read_scores(path, part="tables")
    words = np.array([f"{i}" + 300 * "w" for i in range(len(arrays["name"]))])
    tables |= {
        "camera_pairs.query_cameras": np.arange(20),
        "camera_pairs.gallery_cameras": np.arange(20),
        "camera_pairs.queries": np.ones((20, 20), np.int64),
        "camera_pairs.map": np.linspace(0, 1, 400).reshape(20, 20),
    }
    scores = Scores(
        {200 * "m": 0.5, **facts["metrics"]},
        200 * "m",
        facts["protocol"],
        {200 * "k": 500 * "v", "inner": {200 * "k": {200 * "k": 200 * "v"}}, "warning": 500 * "v"},
        arrays | {"name": words, "pid": words},
        tables,
        {200 * "m": (0.25, 0.75)},
    )
    save_scores(directory.evaluations, Evaluated(90 * "e", 90 * "t", scores), "best", 300 * "o")


def browse(folder, page, scheme, *options):
    command = [
        *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu"),
        *("--disable-background-networking", "--disable-dev-shm-usage", "--hide-scrollbars"),
        "--allow-file-access-from-files",
        f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
        *(f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", *options),
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)


def measure(folder, page, scheme):
    """Return what the browser finds of a page at each width."""
    frames = [f'<iframe src="{page.as_uri()}" width="{w}" height="800"></iframe>' for w in WIDTHS]
    text = f"""<!DOCTYPE html><title>measure</title><style>iframe {{border: 0}}</style>
    {"".join(frames)}<pre id="result"></pre>
    <script>addEventListener("load", () => {{{MEASURE}}})</script>"""
    around = folder / "around.html"
    around.write_text(text)
    dump = browse(folder, around, scheme, "--dump-dom")
    assert "Content Security Policy" not in dump.stderr
    result = re.search(r'<pre id="result">(.*?)</pre>', dump.stdout, re.DOTALL)
    return json.loads(html.unescape(result[1]))


def as_css(colour):
    return f"rgb({', '.join(map(str, colour))})"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_page_fits_switches_and_shows_its_pictures(run, catalog_with, tmp_path, scheme):
    page = write_report(run, catalog_with(), tmp_path / "report.html")
    for width, found in zip(WIDTHS, measure(tmp_path, page, scheme), strict=True):
        assert found["width"] == width
        assert found["content"] == width, "the page must not scroll sideways"
        assert found["paper"] == as_css(PAPER[scheme])
        assert len(found["images"]) > 40
        assert all(found["images"])
        # One sentence for each evaluation; the first one has been switched.
        assert ["tpr@0.0001)" in text for text in found["before"]] == [True, True]
        assert ["tpr@0.0001)" in text for text in found["after"]].count(False) == 1
        assert sum("tpr@0.001)" in text for text in found["after"]) == 1


def test_a_page_that_is_too_wide_would_be_found(tmp_path):
    page = tmp_path / "wide.html"
    page.write_text("<!DOCTYPE html><body><div style='width: 1300px'>wide</div>")
    assert all(found["content"] > found["width"] for found in measure(tmp_path, page, "light"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_page_is_drawn_in_the_colours_of_the_scheme(run, catalog_with, tmp_path, scheme):
    page = write_report(run, catalog_with(), tmp_path / "r.html", evaluation="market_evaluate")
    picture = tmp_path / "page.png"
    browse(tmp_path, page, scheme, "--window-size=1280,4000", f"--screenshot={picture}")
    with Image.open(io.BytesIO(picture.read_bytes())) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[:2] == (4000, 1280)
    assert (pixels[2, 2] == PAPER[scheme]).all()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500
    for colour in COLOURS[scheme].values():
        assert (pixels == colour).all(axis=2).sum() > 500
