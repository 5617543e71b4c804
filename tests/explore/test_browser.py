"""The page in a real browser, on made runs: classes, text from data, several people, looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from datus2_ray.core.names import edits
from datus2_ray.core.names.changes import Change
from datus2_ray.store import storage
from datus2_ray.store.names import append_change, open_names, read_names
from tests.explore.conftest import Served
from tests.explore.page import Page, named

Serve = Callable[..., Served]

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


def test_what_the_rail_offers_is_seen_in_either_view(chromium: Any, serve: Serve) -> None:
    served = serve(images=6)
    served.edit(0, do="clusters", clusters=[0, 1], name="road")
    served.edit(1, do="segments", image=2, segments=[0], name="sky")
    page = Page(chromium, served)
    page.click("#tab-images")
    page.until(lambda: page.text("#image-count") == "6 images")
    page.click("#class-1")  # in the images: those that have it
    page.until(lambda: page.text("#image-count") == "1 image")
    assert page.find("#class-1").get_attribute("aria-pressed") == "true"
    served.edit(2, do="remove", name="sky")
    page.until(lambda: page.text("#image-count") == "6 images")
    page.click("#next button")  # a card that is not seen has a dialog instead
    page.find("#detail[open]")
    page.keys(Keys.ESCAPE)
    page.click("#tab-clusters")
    page.click("#class-0")
    page.until(
        lambda: all(
            "road" in card.get_attribute("aria-label") or "mixed" in card.get_attribute("aria-label")
            for card in page.browser.find_elements(By.CSS_SELECTOR, ".card")
        )
    )
    page.script("document.activeElement.blur()")
    page.keys("n")
    page.find("#viewer[open]")
    assert page.errors() == []


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
