"""The page in a real browser, without a window: click, drag, draw, keys; no error on its console."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.cli.explore import onnx_export, page
from genlab.cli.explore.server import Server
from genlab.cli.explore.session import Session
from genlab.nn.diffusion.solvers import evenly, last, solve
from tests.support.untrained import flow, loaded_run

webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install selenium")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
RUNTIME = os.environ.get("GENLAB_ONNXRUNTIME_WEB")  # the unpacked npm package
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium and chromedriver")
PIXELS = """
const canvas = document.querySelector(arguments[0]);
return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data].filter((_, i) => i % 4 === 0);
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1200,2400",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@contextmanager
def served(session: Session) -> Iterator[str]:
    with Server(session.answer, page.served_files(session.described)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


def wait(browser: Any, condition: str, *arguments: Any) -> None:
    """Until a JavaScript expression of `arguments` is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20, 0.02).until(lambda _: browser.execute_script(f"return {condition}", *arguments))


def opened(browser: Any, url: str) -> None:
    browser.get(url)
    wait(browser, "document.documentElement.dataset.ready")
    assert browser.find_element("id", "status").text == "ready"


def pixels(browser: Any, canvas: str) -> list[int]:
    return [int(value) for value in browser.execute_script(PIXELS, canvas)]


def changes(browser: Any, canvas: str, act: Any) -> None:
    """Whether a canvas shows something else after `act`."""
    before = browser.execute_script("return document.querySelector(arguments[0]).toDataURL()", canvas)
    act()
    wait(browser, "document.querySelector(arguments[0]).toDataURL() !== arguments[1]", canvas, before)


def no_errors(browser: Any) -> None:
    assert browser.get_log("browser") == []
    assert "error" not in (browser.find_element("id", "status").get_attribute("class") or "")


def slide(browser: Any, selector: str, value: float) -> None:
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
    browser.execute_script(script, browser.find_element("css selector", selector), value)


def test_codes_are_clicked_dragged_and_typed_and_drawings_reconstructed(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    session = Session(loaded_run("vae"), n=40)
    with served(session) as url:
        opened(browser, url)
        plot = browser.find_element("id", "map")
        changes(browser, "#decoded", plot.click)
        assert not browser.find_element("id", "source").get_attribute("hidden")  # the image of that code
        index = int(browser.find_element("id", "status").text.split()[1]) - 1
        wanted = session.decoded(session.map.codes[index : index + 1])
        assert (torch.tensor(pixels(browser, "#decoded")) - 255 * wanted.flatten()).abs().max() <= 0.51

        changes(browser, "#decoded", lambda: plot.send_keys(Keys.ARROW_LEFT * 12))
        browser.find_element("css selector", "#view option[value=space]").click()
        drag = ActionChains(browser).click_and_hold(plot).move_by_offset(60, 20).release()
        changes(browser, "#map", drag.perform)
        changes(browser, "#decoded", lambda: slide(browser, "#slider-0", 2.5))
        changes(browser, "#strip", browser.find_element("id", "set-b").click)

        paper = browser.find_element("id", "paper")
        browser.find_element("css selector", "#draw .clear").click()
        wait(browser, "!document.querySelector('#code').textContent.includes('NaN')")
        stroke = ActionChains(browser).move_to_element_with_offset(paper, -30, -30).click_and_hold()
        changes(browser, "#redrawn", stroke.move_by_offset(20, 50).move_by_offset(30, 10).release().perform)
        assert max(pixels(browser, "#paper")) > 200
        changes(browser, "#decoded", browser.find_element("id", "follow").click)
        changes(browser, "#sample .result", browser.find_element("css selector", "#sample .next").click)
        assert browser.save_screenshot(str(tmp_path / "page.png"))
        no_errors(browser)


def test_every_control_has_a_name(browser: Any) -> None:
    for preset, model in (("stylegan2", {}), ("cvae", {}), ("flow_matching", {"conditional": True})):
        with served(Session(loaded_run(preset, **model), n=20)) as url:
            opened(browser, url)
            for each in browser.find_elements("css selector", "button, input, select, canvas"):
                assert each.accessible_name or not each.is_displayed(), each.get_attribute("outerHTML")
            no_errors(browser)


def test_a_drawing_is_translated(browser: Any) -> None:
    with served(Session(loaded_run("cyclegan"))) as url:
        browser.get(url)
        wait(browser, "document.documentElement.dataset.ready")
        paper = browser.find_element("css selector", "#translate .paper")
        changes(browser, "#translated", paper.click)
        browser.get_log("browser")  # the digits are no pairs, so that there was no image to begin with


@pytest.mark.skipif(RUNTIME is None, reason="GENLAB_ONNXRUNTIME_WEB names no unpacked npm package onnxruntime-web")
@pytest.mark.parametrize("preset", ["vae", "stylegan2"])
def test_the_single_file_decodes_as_the_model_does(browser: Any, tmp_path: Path, preset: str) -> None:
    session = Session(loaded_run(preset), n=40)
    graph = onnx_export.export(session)
    file = tmp_path / "page.html"
    file.write_bytes(page.single_file(session, graph, onnx_export.read_runtime(RUNTIME)))
    opened(browser, file.as_uri())
    wanted = 255 * session.decoded(session.map.codes.mean(0, keepdim=True)).flatten()
    assert (torch.tensor(pixels(browser, "#decoded")) - wanted).abs().max() <= 2
    changes(browser, "#decoded", browser.find_element("id", "map").click)
    no_errors(browser)


SAMPLED = """
const [n, options, done] = arguments;
lab.ask("sample", { n, seed: 5, options }).then(({ image, columns, width, height }) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  const context = canvas.getContext("2d", { willReadFrequently: true }), images = [];
  context.drawImage(image, 0, 0);
  for (let k = 0; k < n; k++) {
    const { data } = context.getImageData((k % columns) * width, Math.floor(k / columns) * height, width, height);
    images.push([...data].filter((_, i) => i % 4 === 0));
  }
  done([images, [...lab.noise(5, n * width * height)]]);
});
"""


@pytest.mark.skipif(RUNTIME is None, reason="GENLAB_ONNXRUNTIME_WEB names no unpacked npm package onnxruntime-web")
@pytest.mark.parametrize(
    "options", [{"solver": "heun"}, {"solver": "rk4", "guidance": 2.5}, {"solver": "euler", "label": 3}]
)
def test_the_single_file_samples_as_a_flow_does(browser: Any, tmp_path: Path, options: dict[str, Any]) -> None:
    session = Session(flow(conditional=True))
    file = tmp_path / "page.html"
    graph = onnx_export.export(session)
    file.write_bytes(page.single_file(session, graph, onnx_export.read_runtime(RUNTIME)))
    opened(browser, file.as_uri())
    browser.set_script_timeout(60)
    images, noise = browser.execute_async_script(SAMPLED, 4, {"steps": 20, **options})
    x = torch.tensor(noise).view(4, 1, 8, 8)
    assert abs(float(x.mean())) < 0.2
    assert abs(float(x.std()) - 1) < 0.2
    classes = {key: options[key] for key in ("guidance", "label") if key in options}
    states = solve(lambda x, t: session.model.velocity(x, t, **classes), x, evenly(0, 1, 20), options["solver"])
    wanted = 255 * session.model.to_image(last(states)).flatten(1)
    assert (torch.tensor(images) - wanted).abs().max() <= 2
    changes(browser, "#sample .result", browser.find_element("css selector", "#sample .next").click)
    wait(browser, "document.querySelector('#status').textContent === 'ready'")
    changes(
        browser, "#path .result", browser.find_element("css selector", "#path fieldset.classes button:last-child").click
    )
    no_errors(browser)
