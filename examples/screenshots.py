"""Take a picture of every view of the demos' reports, on a desk and on a phone, light and dark.

Run ``python examples/screenshots.py FOLDER``; with ``--readme`` the two that the README shows are
made anew as well. It needs what the tests need: Playwright and Debian's Chromium.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from attnreport import Report
from attnreport.build import build_run
from attnreport.sources import Request

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from browser import ARGUMENTS, chromium, wait_until_ready  # as the tests find it

EXAMPLES = Path(__file__).parent
COLOURS = 256
SIZES = {1440: 1000, 390: 844}  # width: height
THEMES = ("light", "dark")
INPUTS = {
    "translate": "Thursday, 5 March 2021",
    "text": "Ada met Grace. Then Ada met Grace again, and Ada smiled.",
    "vision": str(EXAMPLES / "bar.png"),
}
# What is shown: the demo, and the address of the view.
VIEWS = {
    "heatmap": ("translate", "#layer=5&head=1&query=4&key=17"),
    "arrows": ("translate", "#layer=5&head=1&view=arrows"),
    "arcs": ("text", "#layer=2&head=1&view=arrows&graph=arcs&edges=50"),
    "text": ("text", "#layer=2&head=1&view=text&query=32"),
    "two-texts": ("translate", "#layer=5&head=1&view=text&query=1"),
    "picture": ("vision", "#layer=3&head=0&view=overlay&query=0"),
    "contours": ("vision", "#layer=3&head=0&view=overlay&query=0&mode=contours"),
    "beside": ("vision", "#layer=3&head=0&view=overlay&query=0&mode=beside"),
    "heads": ("vision", "#layer=3&head=0,1,2,3&view=overlay&query=0&mode=heads"),
    "scores": ("text", "#layer=2&head=1&sort=induction&tiles=chart"),
    "joined": ("text", "#map=0&head=0"),
    "keys": ("text", "#layer=2&head=1"),
}
README = (("arrows", "light"), ("picture", "dark"))  # wide, without what stands below the desk


def reports(folder: Path) -> dict[str, Path]:
    """Write the report of every demo and return where."""
    paths = {name: folder / f"{name}.html" for name in INPUTS}
    for name, path in paths.items():
        Report(build_run(Request(f"demo:{name}", INPUTS[name]))).save(path)
    return paths


def pages(
    browser: Browser, paths: dict[str, Path], width: int, theme: str
) -> Iterator[tuple[str, Page]]:
    """Yield every view by name, as a page that shows it."""
    viewport = {"width": width, "height": SIZES[width]}
    context = browser.new_context(viewport=viewport, color_scheme=theme)  # type: ignore[arg-type]
    for view, (demo, fragment) in VIEWS.items():
        page = context.new_page()
        page.goto(paths[demo].as_uri() + fragment)
        wait_until_ready(page)
        if view == "keys":
            page.click("#open-help")
        else:
            # As high as the page: what a screenshot adds below the window may not be painted yet.
            whole = page.evaluate("document.documentElement.scrollHeight")
            page.set_viewport_size({"width": width, "height": whole})
        page.wait_for_timeout(300)
        yield view, page
        page.close()
    context.close()


def smaller(png: bytes) -> Image.Image:
    """Return a screenshot with a palette of its own, which takes a fraction of the bytes."""
    return Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)


def main() -> None:
    """Take every picture and say how many there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--readme", action="store_true", help="make the README's two anew")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        paths = reports(Path(name))
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        for width in SIZES:
            for theme in THEMES:
                for view, page in pages(browser, paths, width, theme):
                    whole = smaller(page.screenshot())
                    whole.save(options.folder / f"{view}-{width}-{theme}.png", optimize=True)
                    if options.readme and width == max(SIZES) and (view, theme) in README:
                        end = page.locator(".desk").bounding_box()
                        upper = whole.crop((0, 0, width, round(end["y"] + end["height"] + 14)))
                        upper.save(EXAMPLES / f"page-{view}.png", optimize=True)
        browser.close()
    print(f"{len(VIEWS) * len(SIZES) * len(THEMES)} pictures in {options.folder}")


if __name__ == "__main__":
    main()
