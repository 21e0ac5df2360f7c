import json
import os
import re
import shutil
import signal
import subprocess
from html.parser import HTMLParser

import pytest

from hpcmat.errors import StorageError
from hpcmat.report import figures
from hpcmat.report.data import report_data
from hpcmat.report.figures_work import occupation_steps
from hpcmat.report.html import json_in_html, render_html, write_report
from hpcmat.report.parity import read_parity
from hpcmat.report.schema import Span

ATTACK = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'></script>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """What a browser would load, run and show."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.handlers, self.scripts, self.ids, self.text = [], [], [], [], []
        self._script = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.handlers += [name for name in attributes if name.startswith("on")]
        if tag != "a":
            self.loads += [
                attributes[name] for name in ("src", "href", "srcset", "data", "action") if name in attributes
            ]
        if tag == "script":
            self._script = attributes.get("type", "text/javascript")
            self.scripts.append([self._script, ""])

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script is None:
            self.text.append(data)
        else:
            self.scripts[-1][1] += data


def page_of(builder, path):
    write_report(builder.state, builder.store, path)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def attacked(made_up):
    builder = made_up(message=f"not converged {ATTACK}", failure_rate=0.3)
    builder.spec["governance"]["creators"] = [ATTACK]
    builder.__post_init__()
    return builder.begin().run_labels(40).finish(f"Ended. {ATTACK}")


def test_page_loads_nothing_and_draws_every_figure(finished, tmp_path):
    page = page_of(finished, tmp_path / "report.html")
    assert page.loads == [] and page.handlers == []
    figures_drawn = [json.loads(text) for kind, text in page.scripts if kind == "application/json"]
    assert len(figures_drawn) == 7
    assert all(figure["data"] for figure in figures_drawn)
    assert [kind for kind, _ in page.scripts].count("text/javascript") == 2
    assert len(set(page.ids)) == len(page.ids)
    # Negative control: the parser sees what a browser would load.
    assert Page('<img src="http://x/y.png"><link href="//z">').loads == ["http://x/y.png", "//z"]


def test_text_of_users_and_programs_is_inert(attacked, tmp_path):
    page = page_of(attacked, tmp_path / "report.html")
    assert page.loads == [] and page.handlers == []
    assert [kind for kind, _ in page.scripts].count("text/javascript") == 2
    # It is shown as the text it is: in the outcome, among the creators and in the messages.
    assert sum("window.hacked" in text for text in page.text) > 3
    # Negative control: unescaped it would be a script with a load of its own.
    bad = Page(f"<p>{ATTACK}</p>")
    assert bad.loads == ["x"] and bad.handlers == ["onerror"] and len(bad.scripts) == 1


def test_only_the_two_scripts_of_the_page_may_run(finished, tmp_path):
    write_report(finished.state, finished.store, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text).group(1)
    assert "default-src &#39;none&#39;" in policy and policy.count("sha256-") == 2
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


def test_json_cannot_end_its_script_element():
    data = {"a": "</script><!-- & ]]>"}
    text = json_in_html(json.dumps(data))
    assert json.loads(text) == data and not set("<>&") & set(text)


@pytest.mark.parametrize("labels", [0, 3, 12])
def test_unfinished_campaigns_have_a_page(made_up, tmp_path, labels):
    builder = made_up().begin()
    if labels:
        builder.run_labels(labels)
    text = " ".join(page_of(builder, tmp_path / "report.html").text)
    assert "running" in text and "No validation error yet" in text


def test_page_without_the_store(finished, made_up, tmp_path):
    empty = made_up().store
    report = write_report(finished.state, empty, tmp_path / "report.html")
    assert report.equation_of_state == () and report.reliability == ()
    assert "No predictions yet" in (tmp_path / "report.html").read_text()


def test_long_tables_are_folded_and_large_campaigns_stay_readable(made_up, tmp_path):
    builder = made_up(workers=60, failure_rate=0.02).begin().run_labels(2500, fit_every=500)
    report = report_data(builder.state, builder.store)
    text = render_html(report, read_parity(builder.state, builder.store))
    assert 'data-table="200"' in text and text.count('<tr data-purpose="') == len(report.decisions) > 2500
    assert len(text) < 16_000_000


def test_page_that_cannot_be_written_leaves_the_old_one(finished, tmp_path):
    with pytest.raises(StorageError):
        write_report(finished.state, finished.store, tmp_path / "missing" / "report.html")


def test_occupation_counts_what_overlaps():
    spans = [Span("a", 0, 10, "t1", "train", 1, None), Span("b", 5, 10, "t2", "train", 1, None)]
    times, counts = occupation_steps(spans)
    assert list(times) == [0, 5, 10] and list(counts["train"]) == [1, 2, 0]


def contrast(colour, page):
    def luminance(code):
        parts = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(colour), luminance(page)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("page", ["#ffffff", "#171e27"])
def test_colours_stand_out_on_light_and_dark(page):
    for colour in {*figures.PURPOSE_COLOURS.values(), figures.RED}:
        assert contrast(colour, page) >= 3.0, colour
    # Negative control: a pale yellow does not stand out on white.
    assert contrast("#f0e442", "#ffffff") < 3.0


def dump_dom(path, profile):
    """Return the page after its scripts ran, and what the browser logged."""
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
        f"--user-data-dir={profile}", "--virtual-time-budget=10000", "--window-size=1400,4000", "--dump-dom",
        f"file://{path}",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, log = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        pytest.skip("Chromium did not answer")
    return out, [line for line in log.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_browser_draws_it_without_a_complaint_and_runs_no_foreign_script(attacked, tmp_path):
    write_report(attacked.state, attacked.store, tmp_path / "report.html")
    out, complaints = dump_dom(tmp_path / "report.html", tmp_path / "profile")
    assert complaints == []
    assert 'data-ready="yes"' in out and out.count('class="main-svg"') >= 7
    assert "<img" not in out.split("<main>")[1].split("</main>")[0]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_browser_refuses_a_script_that_is_not_ours(finished, tmp_path):
    """Negative control of the test above: a script that did slip in is refused, and the refusal is seen."""
    write_report(finished.state, finished.store, tmp_path / "report.html")
    text = (
        (tmp_path / "report.html").read_text().replace("<main>", "<main><script>document.title = 'hacked'</script>", 1)
    )
    (tmp_path / "changed.html").write_text(text)
    out, complaints = dump_dom(tmp_path / "changed.html", tmp_path / "profile")
    assert "<title>hacked" not in out and any("Content Security Policy" in line for line in complaints)
