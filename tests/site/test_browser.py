"""Opens every page of the built site in a browser."""

import functools
import http.server
import json
import shutil
import threading
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from fork.upstream import ROOT
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait


SITE = ROOT / "build" / "site"
FILES = sorted(SITE.rglob("*.html"))
PAGES = [str(path.relative_to(SITE)) for path in FILES]
DESKTOP, PHONE = (1280, 800), (390, 844)


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def base():
    handler = functools.partial(Handler, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def driver():
    options = webdriver.ChromeOptions()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ):
        options.add_argument(argument)
    browsers = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    options.binary_location = next(filter(None, browsers))
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options, service) as driver:
        yield driver


def wait(driver, condition):
    return WebDriverWait(driver, 20).until(lambda _: condition())


def load(driver, url, size=DESKTOP, scheme="light"):
    driver.get("about:blank")  # Else the page before takes note of the colour scheme.
    width, height = size
    metrics = dict(
        width=width, height=height, deviceScaleFactor=1, mobile=size == PHONE
    )
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = dict(name="prefers-color-scheme", value=scheme)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dict(features=[feature]))
    clear = dict(origin=urljoin(url, "/"), storageTypes="local_storage")
    driver.execute_cdp_cmd("Storage.clearDataForOrigin", clear)
    driver.get(url)


# Text that is cut off: in a picture, in what is printed, or where nothing scrolls.
CLIPPED = """
const clipped = [];
for (const text of document.querySelectorAll("figure.plot text")) {
  const box = text.getBoundingClientRect();
  const all = text.closest("svg").getBoundingClientRect();
  const margin = Math.min(box.left - all.left, all.right - box.right);
  if (margin < -1) clipped.push([text.textContent, margin]);
}
for (const element of document.querySelectorAll("article *:not(mjx-container *)")) {
  const overflow = getComputedStyle(element).overflowX;
  const scrolls = overflow == "auto" && !element.closest(".language-text");
  const is_wider = element.scrollWidth > element.clientWidth + 1;
  if (overflow != "visible" && !scrolls && is_wider && element.clientWidth > 1)
    clipped.push([element.outerHTML.slice(0, 80), element.scrollWidth]);
}
return clipped;
"""


def requests(driver):
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def test_there_are_pages():
    names = ["index", "guide", "own-layers", "large-models", "inside", "recipes"]
    names += ["migration", "layers", "api/nn/init", "api/nn/reinitialise", "changelog"]
    assert {f"{name}.html" for name in names} <= {*PAGES}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("page", [page for page in PAGES if page != "404.html"])
def test_page(driver, base, page, size, scheme):
    driver.get_log("browser"), driver.get_log("performance")
    load(driver, base + page, size, scheme)
    script = driver.execute_script
    # MathJax has come to an end, and knew every command.
    formulae = "return document.querySelectorAll('.arithmatex').length"
    rendered = "return document.querySelectorAll('.arithmatex mjx-container').length"
    wait(driver, lambda: script(formulae) == script(rendered))
    assert script("return document.querySelectorAll('mjx-merror').length") == 0
    assert script("return document.body.dataset.mdColorScheme") == (
        "slate" if scheme == "dark" else "default"
    )
    # Nothing is wider than the window.
    assert script("return document.documentElement.scrollWidth") <= size[0]
    assert script("return window.innerWidth") == size[0]
    # Images are there, and say what they show.
    for image in driver.find_elements(By.CSS_SELECTOR, "article img"):
        assert script("return arguments[0].naturalWidth", image) > 0
        assert image.get_attribute("alt")
    for image in driver.find_elements(By.CSS_SELECTOR, "figure.plot > svg"):
        assert len(image.get_attribute("aria-label")) > 40
    assert script(CLIPPED) == []
    assert [x for x in driver.get_log("browser") if x["level"] == "SEVERE"] == []
    others = [x for x in requests(driver) if not x.startswith((base, "data:", "blob:"))]
    assert others == []


@pytest.mark.parametrize(
    "query, found",
    [
        ("he_normal", "api/nn/init.html#equinox.nn.init.he_normal"),
        ("reinitialise", "api/nn/reinitialise.html"),
        ("reinitialize", "api/nn/reinitialise.html"),
        ("initializer", "api/nn/init.html#equinox.nn.init.Initializer"),
        ("initializer", "guide.html"),
        ("custom", "own-layers.html"),
        ("own layer", "own-layers.html"),
        ("bfloat16", "large-models.html"),
        ("mixed precision", "large-models.html"),
        ("trunc_normal_", "migration.html"),
        ("weight init", "guide.html"),
    ],
)
@pytest.mark.parametrize("kind", ["served", "file"])
def test_search(driver, base, kind, query, found):
    base = base if kind == "served" else SITE.as_uri() + "/"
    load(driver, base + "recipes.html")
    box = driver.find_element(By.CSS_SELECTOR, "input.md-search__input")
    wait(driver, box.is_displayed)
    box.click()
    box.send_keys(query)
    script = (
        "[...document.querySelectorAll('a.md-search-result__link')].map(x => x.href)"
    )
    hrefs = lambda: driver.execute_script(f"return {script}")
    strip = lambda url: url.partition("?")[0] + "#" + urlsplit(url).fragment
    wait(driver, lambda: any(base + found in strip(url) for url in hrefs()))


def test_page_that_is_not_there(driver, base):
    load(driver, base + "404.html")
    assert "There is no such page" in driver.find_element(By.TAG_NAME, "h1").text
    for link in driver.find_elements(By.CSS_SELECTOR, "article a"):
        assert (SITE / urlsplit(link.get_attribute("href")).path[1:]).is_file()


@pytest.mark.parametrize("page", ["migration.html", "guide.html"])
def test_what_scrolls_shows_it(driver, base, page):
    load(driver, base + page, PHONE)
    kind = "figure.plot" if page == "guide.html" else ".md-typeset__scrollwrap"
    elements = driver.find_elements(By.CSS_SELECTOR, kind)
    assert len(elements) >= 4
    for element in elements:
        scrolls = "return arguments[0].scrollWidth > arguments[0].clientWidth"
        assert driver.execute_script(scrolls, element)
        assert "gradient" in element.value_of_css_property("background-image")


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.hrefs, self.ids = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.hrefs += [attrs[x] for x in ("href", "src") if x in attrs]
        self.ids |= {attrs[x] for x in ("id", "name") if x in attrs}


def test_links():
    parsed = {page: Links(path.read_text("utf-8")) for page, path in zip(PAGES, FILES)}
    num_links = 0
    for page, links in parsed.items():
        for href in links.hrefs:
            url = urlsplit(urljoin(f"https://example.org/{page}", href))
            if url.netloc != "example.org" or page == "404.html":
                continue
            num_links += 1
            target = unquote(url.path).removeprefix("/")
            file = SITE / target
            assert file.is_file(), (page, href)
            if url.fragment and target in parsed:
                assert unquote(url.fragment) in parsed[target].ids, (page, href)
    assert num_links > 100
