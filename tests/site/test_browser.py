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


def requests(driver):
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def test_there_are_pages():
    names = ["index", "guide", "recipes", "migration", "layers", "api/nn/init"]
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
    assert [x for x in driver.get_log("browser") if x["level"] == "SEVERE"] == []
    others = [x for x in requests(driver) if not x.startswith((base, "data:", "blob:"))]
    assert others == []


@pytest.mark.parametrize(
    "query, found",
    [
        ("he_normal", "#equinox.nn.init.he_normal"),
        ("reinitialise", "reinitialise.html"),
    ],
)
def test_search(driver, base, query, found):
    load(driver, base)
    box = driver.find_element(By.CSS_SELECTOR, "input.md-search__input")
    wait(driver, box.is_displayed)
    box.click()
    box.send_keys(query)
    links = lambda: driver.find_elements(By.CSS_SELECTOR, "a.md-search-result__link")
    hrefs = lambda: [urljoin(base, link.get_attribute("href")) for link in links()]
    strip = lambda url: url.partition("?")[0] + "#" + urlsplit(url).fragment
    wait(driver, lambda: any(found in strip(url) for url in hrefs()))


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
    parsed = {page: Links(path.read_text()) for page, path in zip(PAGES, FILES)}
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
