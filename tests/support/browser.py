"""A headless Chromium, and what is measured in it: messages, requests, cut and overlapping text, accessibility."""

import shutil
from dataclasses import dataclass, field

import pytest

WIDTHS = (1280, 768, 390)
# The text of each leaf of a page (or each text of a drawing) with its box; then what is cut, outside, or overlapping.
MEASURE = """() => {
  const root = document.documentElement;
  scrollTo(0, 0);
  const drawing = root.tagName === "svg";
  const outer = drawing ? root.getBoundingClientRect() : {left: 0, top: 0, right: root.clientWidth, bottom: Infinity};
  const shown = (e) => drawing ? getComputedStyle(e).opacity !== "0" : e.checkVisibility();
  const leaves = drawing ? [...document.querySelectorAll("text")]
    : [...document.querySelectorAll("body *")].filter((e) => ![...e.children].some((c) => c.checkVisibility())
      && !["SCRIPT", "STYLE", "OPTION", "SOURCE"].includes(e.tagName) && !e.closest("svg, .skip, .rows"));
  // A text of several lines has a box for each.
  const boxes = leaves.filter((e) => e.textContent.trim() && shown(e)).flatMap((e, number) => {
    const range = document.createRange();
    range.selectNodeContents(e);
    const inline = drawing || getComputedStyle(e).display === "inline" || e.clientWidth === 0;
    const about = {number, text: e.textContent.trim().slice(0, 80), cut: !inline && e.scrollWidth > e.clientWidth + 1};
    return [...(drawing ? [e.getBoundingClientRect()] : range.getClientRects())].map(
      ({left, right, top, bottom}) => ({...about, left, right, top, bottom}));
  });
  const outside = boxes.filter((b) => b.cut || b.left < outer.left - 1 || b.right > outer.right + 1
    || b.top < outer.top - 1 || b.bottom > outer.bottom + 1 || b.text.includes("…") && drawing).map((b) => b.text);
  const overlapping = [];
  boxes.sort((a, b) => a.top - b.top);
  boxes.forEach((a, i) => {
    for (let j = i + 1; j < boxes.length && boxes[j].top < a.bottom; j += 1) {
      const b = boxes[j];
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      const twice = a.text === b.text && Math.abs(a.left - b.left) < 2;  // a text on its own halo
      if (a.number !== b.number && across > 2 && down > 3 && !twice) overlapping.push([a.text, b.text]);
    }
  });
  return {outside, overlapping, width: Math.round(drawing ? outer.right - outer.left : root.scrollWidth)};
}"""


@dataclass
class Tab:
    """A page of the browser, with all that it has said and asked for."""

    page: object
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path, place=""):
        """Open a file of this machine."""
        self.page.goto(path.as_uri() + place)
        return self

    def measure(self):
        """What is cut or outside of the page, what overlaps, and the page's width in pixels."""
        return self.page.evaluate(MEASURE)

    def outward(self):
        """The requests that leave this machine's disk."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]


def start_browser():
    """A headless Chromium; the test is skipped where there is none."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    if not binary:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    engine = sync_playwright().start()
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    return engine, engine.chromium.launch(executable_path=binary, args=flags)


@pytest.fixture(scope="module")
def chromium():
    """The browser."""
    engine, browser = start_browser()
    yield browser
    browser.close()
    engine.stop()


@pytest.fixture
def tab(chromium):
    """A fresh page, 1280 pixels wide."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    tab = Tab(page)
    page.on("console", lambda message: tab.messages.append(message.text))
    page.on("pageerror", lambda error: tab.messages.append(str(error)))
    page.on("request", lambda request: tab.requests.append(request.url))
    yield tab
    page.close()


def violations(page):
    """What axe finds wrong with a page's contrast, roles, names and structure: rule and first element of each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(each["id"], each["nodes"][0]["html"][:120]) for each in found]
