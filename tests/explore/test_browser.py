"""The page in a real browser: what is clicked and typed is what is on disk."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from datus2_ray.core.names import edits
from datus2_ray.core.names.changes import Change
from datus2_ray.core.names.names import Names
from datus2_ray.store import storage
from datus2_ray.store.names import append_change, open_names, read_names
from tests.explore.conftest import Served

Serve = Callable[..., Served]
SECONDS = 30

#: Controls that can be seen and have no name for those who cannot see them.
UNNAMED_CONTROLS = """
return [...document.querySelectorAll('button, input, select, dialog[open], [role=group]')].filter(one =>
    one.offsetParent !== null && !(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length
        || one.title || document.getElementById(one.getAttribute('aria-labelledby'))?.textContent)
).map(one => one.outerHTML)"""

#: What has the focus, and the style of its outline.
FOCUSED = """
const one = document.activeElement;
return [one.id || one.className, one.matches('body') ? 'nothing' : getComputedStyle(one).outlineStyle]"""

#: Colours of text with a contrast under 4.5 (WCAG 2.2, level AA) to what they stand on.
PALE_TEXT = """
const linear = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const luminance = variable => {
    const probe = document.createElement('i');
    probe.style.color = `var(${variable})`;
    document.body.append(probe);
    const [red, green, blue] = getComputedStyle(probe).color.match(/[\\d.]+/g).map(value => linear(value / 255));
    probe.remove();
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const pairs = ['--text', '--soft', '--warn', '--danger', '--accent'].flatMap(
    text => ['--page', '--card', '--raised'].map(ground => [text, ground]));
return [...pairs, ['--on-accent', '--accent']].filter(pair => {
    const [low, high] = pair.map(luminance).sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05) < 4.5;
});"""

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Return a browser; skip without one, unless ``DATUS2_BROWSER=required``."""
    browser, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if browser is None or driver is None:
        if os.environ.get("DATUS2_BROWSER") == "required":
            pytest.fail("no chromium and chromedriver on PATH")
        pytest.skip("no chromium and chromedriver on PATH: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1280,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


class Page:
    """What a person does with the page."""

    def __init__(self, browser: Any, served: Served) -> None:
        self.browser, self.served = browser, served
        browser.get_log("browser")
        browser.get(served.address)
        self.until(lambda: self.script("return document.body.dataset.ready"))

    def script(self, text: str, *arguments: Any) -> Any:
        return self.browser.execute_script(text, *arguments)

    def until(self, condition: Callable[[], Any]) -> Any:
        end = time.monotonic() + SECONDS
        while not (found := condition()):
            assert time.monotonic() < end, f"waited {SECONDS} s; the page says {self.message!r}"
            time.sleep(0.02)
        return found

    @property
    def message(self) -> str:
        return str(self.script("return document.getElementById('message').textContent"))

    def find(self, selector: str) -> Any:
        return self.until(lambda: self.browser.find_elements(By.CSS_SELECTOR, selector))[0]

    def text(self, selector: str) -> str:
        """Return the text of an element, which the page may put another one in place of at any time."""
        return str(self.script("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def click(self, selector: str) -> None:
        """Click an element, which the page may put another one in place of at any time."""

        def clicked() -> bool:
            try:
                element = self.find(selector)
                self.script("arguments[0].scrollIntoView({block: 'center'})", element)
                element.click()
            except (StaleElementReferenceException, ElementClickInterceptedException):
                return False
            return True

        self.until(clicked)

    def keys(self, *keys: str) -> None:
        self.browser.switch_to.active_element.send_keys(*keys)

    def cards(self) -> list[int]:
        return [
            int(node)
            for node in self.script("return [...document.querySelectorAll('.card')].map(card => card.dataset.node)")
        ]

    def focus(self, node: int) -> None:
        self.script("document.querySelector(`.card[data-node='${arguments[0]}']`).focus()", node)

    def focused(self) -> int:
        return int(self.script("return document.activeElement.dataset.node ?? -1"))

    def saved(self, condition: Callable[[Names], bool]) -> Names:
        self.until(lambda: condition(read_names(self.served.run)))
        return read_names(self.served.run)

    def leaves(self, node: int) -> set[int]:
        tables = self.served.explored.tables
        low, high = tables.spans[node]
        return set(tables.order[low:high].tolist())

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]


def named(names: Names, title: str) -> set[int]:
    found = names.find(title)
    return {number for number, of in names.clusters.items() if of == found}


def test_an_hour_of_work_in_a_minute(chromium: Any, serve: Serve) -> None:
    served = serve(images=12, leaves=16, k=6)
    page = Page(chromium, served)
    cards = page.cards()
    tables = served.explored.tables
    sizes = [sum(tables.leaf_pixels[leaf] for leaf in page.leaves(node)) for node in cards]
    assert len(cards) == 6
    assert sizes == sorted(sizes, reverse=True)

    # Name five clusters: typed, completed, by a key.
    page.focus(cards[0])
    for title in ("road", "sky", "tree"):
        page.keys(Keys.ENTER)
        page.keys(title, Keys.ENTER)
        page.saved(lambda names, title=title: bool(named(names, title)))
        page.until(lambda: page.focused() in cards)
        page.keys(Keys.ARROW_RIGHT)
    assert page.focused() == cards[3]
    page.keys("1")
    page.saved(lambda names: named(names, "road") == page.leaves(cards[0]) | page.leaves(cards[3]))
    page.keys(Keys.ARROW_RIGHT, Keys.ENTER)
    page.keys("Tr", Keys.ENTER)  # the only name that begins so
    names = page.saved(lambda names: named(names, "tree") == page.leaves(cards[2]) | page.leaves(cards[4]))
    assert named(names, "sky") == page.leaves(cards[1])
    assert len(names.classes) == 3
    assert page.cards() == cards, "nothing jumps"

    # Join the last one, which has no name, with the likeliest.
    page.focus(cards[5])
    page.keys("m")
    page.find("#join[open] .choice")
    page.keys(Keys.ENTER)
    names = page.saved(lambda names: len(names.clusters) == 16)
    assert len({names.clusters[leaf] for leaf in page.leaves(cards[5])}) == 1
    page.until(lambda: "100 %" in page.text("#progress-text"))
    page.keys("u")
    page.saved(lambda names: not page.leaves(cards[5]) & set(names.clusters))

    # The slider: another view of the same names.
    page.script("const k = document.getElementById('k'); k.value = 16; k.dispatchEvent(new Event('input'))")
    page.until(lambda: len(page.cards()) == 16)
    assert set(page.cards()) == set(range(16))
    page.script("const k = document.getElementById('k-number'); k.value = 2; k.dispatchEvent(new Event('change'))")
    page.until(lambda: len(page.cards()) == 2)
    assert "mixed" in page.find(".card").get_attribute("aria-label")
    page.script("const k = document.getElementById('k-number'); k.value = 6; k.dispatchEvent(new Event('change'))")
    page.until(lambda: page.cards() == cards)

    # Split one along the tree, name a half, and take both back.
    whole = next(node for node in cards if node >= 16)
    before = read_names(served.run)
    page.focus(whole)
    page.keys("s")
    page.until(lambda: len(page.cards()) == 7)
    half = page.focused()
    assert page.leaves(half) < page.leaves(whole)
    page.keys(Keys.ENTER)
    page.keys("car", Keys.ENTER)
    page.saved(lambda names: named(names, "car") == page.leaves(half))
    page.until(lambda: page.focused() == half)
    page.keys("u")
    page.saved(lambda names: names == before)
    page.until(lambda: "Undone" in page.message)
    page.keys("u")
    page.until(lambda: page.cards() == cards)
    assert page.focused() == whole
    assert read_names(served.run) == before
    page.keys(Keys.SHIFT + "u")
    page.saved(lambda names: named(names, "car") == page.leaves(half))
    page.keys("u")
    page.saved(lambda names: names == before)

    # Correct one segment of an image: by a click on it, then as its cluster again.
    page.click("#tab-images")
    page.click(".tile")
    page.find("#viewer[open] .sheet img")
    sheet = page.find("#viewer .sheet")
    webdriver.ActionChains(chromium).move_to_element_with_offset(
        sheet, 0, sheet.size["height"] // 2 - 5
    ).click().perform()
    page.until(lambda: "Segment 5" in page.text("#viewer .side"))
    page.keys("2")
    names = page.saved(lambda names: names.segments == {"shot_000000": {5: names.find("sky")}})
    assert names.clusters == before.clusters
    page.until(lambda: "this one segment" in page.text("#viewer .side"))
    page.keys("]", "3")
    page.saved(lambda names: len(names.segments["shot_000000"]) == 2)
    page.keys("0")
    page.saved(lambda names: names.segments == {"shot_000000": {5: names.find("sky")}})
    page.keys(Keys.ARROW_RIGHT)
    page.until(lambda: page.text("#viewer-title") == "shot_000001")
    page.keys(Keys.ESCAPE)

    # Teach: the command is another process.
    served.explored.jobs._program = (sys.executable, "-c", "print('taught 12 images')")
    page.click("#teach")
    page.until(lambda: page.text("#job") == "Taughttaught 12 images")

    # Export: so is this one, with the format that was chosen.
    served.explored.jobs._program = (sys.executable, "-c", "import sys; print(*sys.argv[1:])")
    page.click("#export")
    page.until(lambda: page.script("return document.getElementById('format') !== null"))
    page.script("document.getElementById('format').value = 'coco-panoptic'")
    page.click("#export-dialog .main")
    page.until(lambda: f"export {served.run.uri} --format coco-panoptic" in page.text("#job"))
    assert page.errors() == []


def test_classes_are_renamed_coloured_ignored_joined_and_removed(chromium: Any, serve: Serve) -> None:
    served = serve()
    for number, title in enumerate(("road", "sky", "tree")):
        served.edit(number, do="clusters", clusters=[number], name=title)
    page = Page(chromium, served)
    page.click("#edit-0")
    page.script(
        "document.getElementById('class-name').value = 'street';"
        "document.getElementById('class-colour').value = '#123456'"
    )
    page.click("#class-ignore")
    page.click("#edit-class .main")
    first = page.saved(lambda names: names.find("street") == 0).classes[0]
    assert (first.name, first.colour, first.ignore) == ("street", "#123456", True)
    page.until(lambda: not page.browser.find_elements(By.CSS_SELECTOR, "#edit-class[open]"))
    page.click("#edit-1")
    page.script("document.getElementById('class-into').value = 'tree'")
    page.click("#edit-class .main")
    page.saved(lambda names: names.find("sky") is None and named(names, "tree") == {1, 2})
    page.until(lambda: not page.browser.find_elements(By.CSS_SELECTOR, "#edit-class[open]"))
    page.click("#edit-0")
    page.click("#edit-class .danger")
    page.saved(lambda names: [found.name for found in names.classes] == ["tree"] and set(names.clusters) == {1, 2})
    page.until(lambda: not page.browser.find_elements(By.CSS_SELECTOR, "#edit-class[open]"))
    page.click("#alike button")  # the pair that looks alike
    page.saved(lambda names: set(names.clusters) != {1, 2})
    assert page.errors() == []


def test_names_that_are_markup_are_shown_as_text(chromium: Any, serve: Serve) -> None:
    served = serve(ids=[f"{EVIL}{i}" for i in range(3)], classes=(EVIL,))
    served.edit(0, do="clusters", clusters=list(range(6)), name=EVIL[:80].strip())
    served.edit(1, do="segments", image=0, segments=[0], name="</script><script>document.title='owned'</script>")
    page = Page(chromium, served)
    page.find(".card .crops img")
    page.keys(" ")
    page.click(".card .open")
    page.find("#detail[open] .picture")
    page.script("document.getElementById('detail').close()")
    page.click("#tab-images")
    page.click(".tile")
    page.until(lambda: EVIL in page.text("#viewer-title"))
    assert EVIL[:40] in page.text("#classes")
    assert chromium.title == "holiday: DatUS² explorer"
    assert not page.script("return document.querySelectorAll('body script, img[src=x]').length")
    assert page.errors() == []


def test_another_person_is_seen_and_never_overwritten(chromium: Any, serve: Serve) -> None:
    served = serve()
    page = Page(chromium, served)
    # A page that nobody sees asks for nothing, so what the other person does is not seen before the edit.
    page.script("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    names, number = open_names(served.run)
    append_change(served.run, Change.between(names, edits.name_clusters(names, range(12), "road")), number, "somebody")
    page.focus(page.cards()[0])
    page.keys(Keys.ENTER)
    page.keys("sky", Keys.ENTER)
    page.until(lambda: "elsewhere" in page.message)
    page.until(lambda: "100 %" in page.text("#progress-text"))
    assert len(read_names(served.run).classes) == 1
    # What was typed stands in the field still; leaving it saves nothing, Enter does.
    page.focus(page.cards()[1])
    page.focus(page.cards()[0])
    time.sleep(0.3)
    assert len(read_names(served.run).classes) == 1
    page.click(".card .name")
    page.keys(Keys.ENTER)
    page.saved(lambda names: named(names, "sky") == page.leaves(page.cards()[0]))
    page.script("delete document.hidden")
    storage.remove(served.run.path("names.yaml"))
    page.until(lambda: "road" not in page.text("#classes"))


def test_everything_has_a_name_and_the_focus_is_seen(chromium: Any, serve: Serve) -> None:
    page = Page(chromium, serve(leaves=16, k=6))
    assert page.script(UNNAMED_CONTROLS) == []
    for opener in ("#help", "#add-class"):
        page.click(opener)
        assert page.script(UNNAMED_CONTROLS) == []
        page.script("document.querySelector('dialog[open]').close()")
    # Tab reaches every control, and each shows that it has the focus.
    page.script("document.body.focus(); document.activeElement.blur()")
    seen = set()
    for _ in range(40):
        page.keys(Keys.TAB)
        look = page.script(FOCUSED)
        seen.add(look[0])
        assert look[1] != "none", look
    assert {"tab-clusters", "teach", "k", "filter", "find"} <= seen
    assert any(one.startswith("card") for one in seen)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window_and_text_has_contrast(
    chromium: Any, serve: Serve, width: int, scheme: str
) -> None:
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    )
    chromium.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    try:
        served = serve(ids=[f"{'long_name_of_a_folder/' * 6}{i}" for i in range(5)])
        served.edit(0, do="clusters", clusters=[0], name="a long name of a class that somebody needed for a reason")
        page = Page(chromium, served)
        for tab in ("#tab-clusters", "#tab-images"):
            page.click(tab)
            assert page.script("return document.documentElement.scrollWidth") <= width
        assert page.script(PALE_TEXT) == []
        assert page.errors() == []
    finally:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
