"""Takes the pictures of the documentation from the running UI and portal: publishes the demo into a temporary home,
starts `d4c ui` on free ports, opens its pages in headless Chromium, and writes docs/images/*.png.

    .venv/bin/python docs/take_screenshot.py [--chromium /usr/bin/chromium]
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
DATASET = "geonames_populated_places_canada"
STEPS = ("raw", "processed", "checksums", "doi", "copies", "torrent", "stac_item", "deposit", "latest")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *(
        "--enable-unsafe-swiftshader",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-proxy-server",
    ),
]
MOST_BYTES = 200_000


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    chromium = parser.parse_args().chromium
    with tempfile.TemporaryDirectory(prefix="d4c-screenshot-") as folder:
        files_port, ui_port = free_ports(2)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("D4C_", "DAGSTER_"))}
        environment |= {"D4C_HOME": str(Path(folder) / "home"), "D4C_PORT": str(files_port)}
        d4c = [sys.executable, "-m", "d4c_pipeline.commands.main"]
        subprocess.run([*d4c, "demo"], env=environment, check=True, stdout=subprocess.DEVNULL)
        ui = running([*d4c, "ui", "--port", str(ui_port)], environment, f"http://127.0.0.1:{ui_port}")
        with ui as url, sync_playwright() as driver:
            context = driver.chromium.launch_persistent_context(
                Path(folder) / "browser", executable_path=chromium, args=FLAGS
            )
            page = context.new_page()
            take_graph(page, url)
            take_materialization(page, url)
            take_portal(page, f"http://127.0.0.1:{files_port}")
            context.close()


def take_graph(page: Page, url: str) -> None:
    """The ten assets of a dataset, in a window as wide as the graph: names stay readable when a README shrinks it."""
    page.set_viewport_size({"width": 1720, "height": 560})
    page.goto(f"{url}/locations/__repository__@d4c_pipeline/asset-groups/{DATASET}/lineage")
    page.get_by_text("Hide navigation").click()
    page.reload()  # the graph takes the width that is free now
    for name in (*STEPS, "catalogue"):
        page.get_by_text(name, exact=True).first.wait_for()
    page.wait_for_timeout(3000)  # colours come with the state of the partitions
    page.mouse.move(800, 500)
    page.mouse.down()
    page.mouse.move(775, 440, steps=5)  # from behind the buttons at the right
    page.mouse.up()
    page.wait_for_timeout(500)
    save(page.screenshot(clip={"x": 0, "y": 0, "width": 1720, "height": 470}), "asset-graph.png", 1600)


def take_materialization(page: Page, url: str) -> None:
    """What `processed` left: row count, schema, preview, and the map picture."""
    page.set_viewport_size({"width": 1600, "height": 1000})
    page.goto(f"{url}/assets/{DATASET}/processed?view=events")
    page.get_by_text("dagster/row_count").first.wait_for()
    page.locator("img[alt='map of the geometry']").first.wait_for()
    page.wait_for_timeout(500)
    save(page.screenshot(), "materialization.png", 1600)


def take_portal(page: Page, url: str) -> None:
    """The portal: home, a release with map and table, SQL in French and dark, a release on a phone."""
    query = "SELECT province_territory, count(*) AS n FROM data GROUP BY province_territory ORDER BY n DESC"
    page.set_viewport_size({"width": 1200, "height": 940})
    page.goto(f"{url}/en/")
    save(page.screenshot(), "portal-home.png", 900)
    page.set_viewport_size({"width": 1200, "height": 1160})
    page.goto(f"{url}/en/datasets/{DATASET}/")
    show_map(page)
    save(page.screenshot(), "portal-release.png", 900)
    page.emulate_media(color_scheme="dark")
    page.goto(f"{url}/fr/datasets/{DATASET}/#{urlencode({'sql': query})}")
    show_map(page)
    page.locator("#panel-sql tbody tr").first.wait_for()
    save(page.screenshot(), "portal-sql.png", 900)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{url}/en/datasets/{DATASET}/")
    save(page.screenshot(), "portal-phone.png", 390)


def show_map(page: Page) -> None:
    """Bring the map into view, wait until it is drawn, and go back to the beginning of the page."""
    page.locator("#map").scroll_into_view_if_needed()
    page.wait_for_timeout(4000)  # base map and data
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(500)


def save(png: bytes, name: str, width: int) -> None:
    """Write a picture `width` pixels wide at most, of 128 colours: enough for text and lines."""
    with Image.open(BytesIO(png)) as image:
        picture = image.convert("RGB")
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    target = IMAGES / name
    target.parent.mkdir(exist_ok=True)
    picture.quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)
    size = target.stat().st_size
    sys.stdout.write(f"{target} {picture.width} x {picture.height}, {size:,} bytes\n")
    if size > MOST_BYTES:
        sys.exit(f"{target} is larger than {MOST_BYTES:,} bytes")


@contextmanager
def running(command: list[str], environment: dict[str, str], url: str) -> Iterator[str]:
    """Run the UI until the block ends."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 180
        while not answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("The UI did not start")
            time.sleep(1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=90)


def answers(url: str) -> bool:
    """Whether the webserver is up."""
    try:
        return httpx.get(f"{url}/server_info", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


if __name__ == "__main__":
    main()
