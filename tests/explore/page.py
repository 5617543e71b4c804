"""What a person does with the explorer's page, in a browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException
from selenium.webdriver.common.by import By

from datus2_ray.core.names.names import Names
from datus2_ray.store.names import read_names
from tests.explore.conftest import Served

SECONDS = 30


class Page:
    """What a person does with the page."""

    def __init__(self, browser: Any, served: Served) -> None:
        self.browser, self.served = browser, served
        browser.get_log("browser")
        browser.get(served.address)
        self.until(lambda: self.script("return document.body.dataset.ready"))

    def script(self, text: str, *arguments: Any) -> Any:
        return self.browser.execute_script(text, *arguments)

    def until(self, condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"waited {seconds} s; the page says {self.message!r}"
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

    def slide(self, control: str, value: int) -> None:
        """Move a slider, or type a number into a field, by its id."""
        self.script(
            "const control = document.getElementById(arguments[0]); control.value = arguments[1];"
            "control.dispatchEvent(new Event(control.type === 'range' ? 'input' : 'change'))",
            control, value,
        )  # fmt: skip

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]


def named(names: Names, title: str) -> set[int]:
    found = names.find(title)
    return {number for number, of in names.clusters.items() if of == found}
