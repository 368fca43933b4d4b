import json
import os
import re
import shutil
import sqlite3
from html.parser import HTMLParser
from itertools import pairwise

import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis.report import report
from bench.budget import Budget
from bench.driver import Driver
from bench.executors import Inline
from bench.journal import Journal
from bench.methods import methods
from bench.study import Run
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError


class Page(HTMLParser):
    """What is in a page: tags with their attributes, headings, identifiers."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.headings, self._open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch("h[1-6]", tag):
            self._open = [tag, ""]

    def handle_data(self, data):
        if self._open:
            self._open[1] += data

    def handle_endtag(self, tag):
        if self._open and tag == self._open[0]:
            self.headings.append(tuple(self._open))
            self._open = []


FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def text(reported):
    return (reported / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def plain(text):
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", "", text))


def test_the_report_has_its_page_figures_tables_and_data(reported):
    names = {path.name for path in (reported / "figures").iterdir()}
    for stem in ("regret_over_evaluations", "regret_over_tokens", "controls", "proposals", "proxy_reliability"):
        assert {f"{stem}.svg", f"{stem}.pdf"} <= names
    tables = {path.name for path in (reported / "tables").iterdir()}
    for stem in ("regret_at_6", "regret_at_30", "pairwise_at_30", "ranks_at_6", "controls", "language_models",
                 "proxy_reliability", "budgets", "tasks"):  # fmt: skip
        assert {f"{stem}.csv", f"{stem}.tex"} <= tables
    assert len(pq.read_table(reported / "results.parquet")) == 1116
    assert not [path for path in reported.rglob(".*") if path.name != ".gitignore"]


def test_the_page_is_self_contained_and_small(reported, text, page):
    assert len(text) < 3_000_000
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "iframe", "object", "embed")]
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert all(link.startswith("#") or (reported / link).is_file() for link in links)
    assert [attrs["href"] for tag, attrs in page.tags if tag == "link"] == ["data:,"]
    assert "@import" not in text
    assert not re.search(r"url\(\s*['\"]?(?!#)", text)


def test_identifiers_are_unique_and_links_have_targets(page):
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for tag, a in page.tags if tag == "a" and a["href"].startswith("#")]
    assert targets
    assert set(targets) <= set(ids)


def test_headings_are_in_order(page):
    ranks = [int(tag[1]) for tag, _ in page.headings]
    assert ranks[0] == 1
    assert ranks.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(ranks))


def test_figures_have_words_and_captions(page):
    figures = [attrs for tag, attrs in page.tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(figures) > 8
    assert all(len(attrs["aria-label"]) > 20 for attrs in figures)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("figure") == tags.count("figcaption") > 4


def test_what_a_model_and_a_manifest_say_is_text(text, hostile):
    assert hostile not in text
    assert "&lt;script&gt;document.title" in text
    assert "&lt;b&gt;small&lt;/b&gt;" in text


def test_the_page_says_what_a_reader_must_know(text):
    words = plain(text)
    assert "42 of 42 runs done" in words
    assert "publishes one CIFAR-10 score a task and no split" in words
    assert "no figure over simulated training time" in words
    assert "Intervals from fewer than 10 seeds a task are too narrow" in words
    assert "interquartile mean with 95% bootstrap intervals" in words
    assert "n = 4 seeds a task" in words or "4 for " in words
    assert "genius (smollm2) against its control genius_blind (smollm2), after 6 evaluations" in words
    for assumption in ("normal noise", "equal noise"):
        assert assumption in words


def test_tables_hold_what_an_outside_computation_gives(reported):
    """The interquartile mean of the regret of four runs is the mean of the middle two."""
    rows = pd.read_parquet(reported / "results.parquet")
    rows = rows[(rows["method"] == "random_search") & (rows["task"] == "cora")]
    best = rows.loc[rows.groupby("run")["validation"].idxmax(), "test"]
    optimum = benchmarks.get("nas-bench-graph").optimum("cora", "test")[1]
    regret = sorted(optimum - best)
    table = pd.read_csv(reported / "tables" / "regret_at_30.csv").set_index("method")
    assert table.loc["random_search", "nas-bench-graph/cora"] == pytest.approx(sum(regret[1:3]) / 2)
    assert table.loc["random_search", "runs"] == 12
    cost = pd.read_csv(reported / "tables" / "language_models.csv").set_index("method")
    assert cost.loc["genius (smollm2)", "prompt_tokens"] == 3 * 615
    assert cost.loc["genius (smollm2)", "valid"] == pytest.approx(5 / 6)


def test_a_report_made_again_is_the_same_and_writes_nothing_into_the_journal(analog_study):
    def content():
        files = (path for path in analog_study.rglob("*") if path.is_file() and ".sqlite-" not in path.name)
        return {path.relative_to(analog_study): path.read_bytes() for path in files}

    before = (analog_study / "journal.sqlite").read_bytes()
    report(analog_study)
    first = content()
    report(analog_study)
    assert content() == first
    assert (analog_study / "journal.sqlite").read_bytes() == before


class Stopped(Exception):
    """Stands for a kill between two steps."""


def test_an_unfinished_study_is_reported_and_says_so(classical_study, tmp_path):
    _, runs = classical_study
    steps = iter(range(9))

    def progress(ended, made):
        if next(steps, None) is None:
            raise Stopped

    journal = Journal(tmp_path / "journal.sqlite")
    with pytest.raises(Stopped):
        Driver(journal, Inline(), tmp_path, progress).drive([run for run in runs if run.task == "clean"])
    page = report(tmp_path)  # while the journal is open for writing
    journal.close()
    words = plain(page.read_text(encoding="utf-8"))
    assert "0 of 12 runs done" in words
    assert "This study is not finished" in words
    assert "There is no manifest" in words


def test_a_benchmark_without_a_known_optimum_has_no_report(tmp_path):
    method = methods.get("random_search")
    run = Run(method, method.complete({}), benchmarks.get("darts-zero-cost"), "16px", 0, Budget(evaluations=2))
    journal = Journal(tmp_path / "journal.sqlite")
    journal.register([(run.key, run.config)])
    journal.close()
    with pytest.raises(InputError, match=rf"{tmp_path}.*darts-zero-cost.*nascent export"):
        report(tmp_path)
    assert not (tmp_path / "results.parquet").exists()


def test_a_study_that_has_not_begun_is_reported(classical_study, tmp_path):
    _, runs = classical_study
    journal = Journal(tmp_path / "journal.sqlite")
    journal.register((run.key, run.config) for run in runs)
    journal.close()
    assert "Nothing has been measured yet" in report(tmp_path).read_text(encoding="utf-8")


def test_failed_runs_are_shown_and_left_out(analog_study, hostile):
    with sqlite3.connect(analog_study / "journal.sqlite") as db:
        db.execute("UPDATE runs SET status = 'failed', reason = ? WHERE config LIKE '%local_search%'", (hostile,))
    db.close()
    text = report(analog_study).read_text(encoding="utf-8")
    assert "Runs that failed" in text
    assert hostile not in text
    table = pd.read_csv(analog_study / "tables" / "regret_at_6.csv")
    assert "local_search" not in set(table["method"])
    assert "random_search" in set(table["method"])


def test_a_folder_without_a_journal_is_named_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match="no journal here"):
        report(tmp_path)
    assert not os.listdir(tmp_path)


def test_files_of_an_earlier_report_do_not_stay(analog_study):
    for kind, old in (("tables", "gone.csv"), ("figures", "gone.svg"), ("tables", "mine.txt")):
        (analog_study / kind).mkdir(exist_ok=True)
        (analog_study / kind / old).write_text("old")
    report(analog_study)
    assert not list(analog_study.glob("*/gone.*"))
    assert (analog_study / "tables" / "mine.txt").is_file()
    assert len(list(analog_study.glob("tables/*.csv"))) > 1


def test_a_manifest_of_any_shape_is_shown(analog_study):
    manifest = {"study": "x", "sessions": [{"gpus": [], "memory_gb": None, "<i>": {"deep": [1, {"er": True}]}}], "n": 3}
    (analog_study / "manifest.json").write_text(json.dumps(manifest))
    text = report(analog_study).read_text(encoding="utf-8")
    assert "&lt;i&gt;" in text
    assert "<dt>memory_gb</dt><dd>–</dd>" in text
    assert "there is nothing to compare" in plain(text)  # no task with two splits, so no check of claim 6


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    chromium, chromedriver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not chromium or not chromedriver:
        if os.environ.get("NASCENT_REQUIRE_BROWSER") == "1":
            pytest.fail("chromium or chromedriver is not installed")
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture(params=[(1200, "light"), (390, "dark")], ids=["wide", "phone"])
def opened(request, browser, reported):
    """The page, open at a width, with all that folds unfolded."""
    width, scheme = request.param
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get((reported / "index.html").as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(part => part.open = true)")
    return browser


@pytest.mark.browser
def test_the_page_opens_without_a_complaint_and_without_a_request(opened):
    assert opened.title == "A small study – Nascent"  # the hostile answer would have changed it
    assert [entry for entry in opened.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in sent if not url.startswith(("file:", "data:"))] == []


@pytest.mark.browser
def test_every_figure_is_drawn(opened):
    sizes = opened.execute_script(
        "return [...document.querySelectorAll('figure svg[role=img]')].map(svg => {"
        " const box = svg.getBoundingClientRect();"
        " const marks = [...svg.querySelectorAll('path, use')].filter(mark => mark.getBoundingClientRect().width > 0);"
        " return [box.width, box.height, marks.length, svg.querySelectorAll('text').length]})"
    )
    assert len(sizes) > 8
    assert all(width > 200 and height > 60 and marks > 5 and texts > 3 for width, height, marks, texts in sizes)


@pytest.mark.browser
def test_nothing_is_wider_than_the_window(opened):
    width = opened.execute_script("return window.innerWidth")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    beyond = opened.execute_script(
        "return [...document.querySelectorAll('body *')]"
        ".filter(part => !part.closest('.scroll') && !part.closest('svg'))"
        ".filter(part => part.getBoundingClientRect().right > window.innerWidth + 1)"
        ".map(part => part.tagName + '.' + part.className)"
    )
    assert beyond == []


@pytest.mark.browser
def test_text_in_figures_is_large_enough_to_read(opened):
    smallest = opened.execute_script(
        "return Math.min(...[...document.querySelectorAll('figure svg[role=img] text')]"
        ".map(text => text.getBoundingClientRect().height).filter(height => height > 0))"
    )
    assert smallest >= 8


@pytest.mark.browser
def test_wide_tables_scroll_in_their_own_box(opened):
    boxes = opened.execute_script(
        "return [...document.querySelectorAll('.scroll')].map(box =>"
        " [box.scrollWidth > box.clientWidth, getComputedStyle(box).overflowX])"
    )
    assert all(overflow == "auto" for _, overflow in boxes)
    if opened.execute_script("return window.innerWidth") < 600:
        assert any(wide for wide, _ in boxes)
