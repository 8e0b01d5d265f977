"""Open pages of `lrfinder report` in a real browser: do they render, toggle and say values; is anything inaccessible?

    python tests/benchmarks/page.py PAGE.html ... --axe axe.min.js

prints, for light and dark, errors of the console, broken switches, and the violations that axe-core finds (`npm pack
axe-core` gets it). Without --axe that last part is left out. Exit status 1 if there is any.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
THEMES = {"light": 1, "dark": 0}  # Chromium's own numbers
PROBE = """
const outcome = {errors: [], layers: 0, stuck: [], hovered: 0, silent: [], axe: null};
addEventListener("error", (event) => outcome.errors.push(event.message));
addEventListener("securitypolicyviolation", (event) => outcome.errors.push("refused: " + event.blockedURI));
addEventListener("load", async () => {
  for (const box of document.querySelectorAll("[data-toggles]")) {
    const layers = box.closest("ul").previousElementSibling.querySelectorAll(`[data-layer="${box.dataset.toggles}"]`);
    const seen = () => [...layers].map((layer) => getComputedStyle(layer).display !== "none");
    outcome.layers += layers.length;
    const before = seen(); box.click(); const off = seen(); box.click(); const again = seen();
    if (!layers.length || box.hidden || !before.every(Boolean) || off.some(Boolean) || !again.every(Boolean))
      outcome.stuck.push(box.dataset.toggles);
  }
  for (const picture of document.querySelectorAll(".picture")) {
    const points = JSON.parse(picture.querySelector("script").textContent);
    const plot = picture.querySelector("svg"), frame = plot.getBoundingClientRect();
    for (const [x, y, text] of points.slice(0, 5)) {
      plot.dispatchEvent(new PointerEvent("pointermove",
        {clientX: frame.left + x * frame.width / 720, clientY: frame.top + y * frame.height / 360}));
      const said = picture.querySelector(".readout").textContent;
      const same = points.filter((point) => Math.hypot(point[0] - x, point[1] - y) < 0.2).map((point) => point[2]);
      outcome.hovered += 1;
      if (!same.includes(said)) outcome.silent.push([text, said]);
    }
  }
  for (const details of document.querySelectorAll("details")) details.open = true;
  if (window.axe) outcome.axe = (await axe.run(document)).violations.map((it) => [it.id, it.nodes.map((n) => n.html)]);
  const shown = document.createElement("pre");
  shown.id = "outcome";
  shown.textContent = JSON.stringify(outcome);
  document.body.append(shown);
});
"""


def find_browser() -> str | None:
    """Return the path of a Chromium, None if there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name)) is not None), None)


def visit(page: str, browser: str, *, theme: str = "light", axe: str = "") -> dict:
    """Return what happened to the page: `errors`, `stuck` switches, `silent` points, and violations by `axe`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(page.replace("<head>", f"<head><script>{axe}</script><script>{PROBE}</script>", 1))
        done = subprocess.run(
            [
                browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
                "--virtual-time-budget=60000", f"--user-data-dir={folder}/profile",
                f"--blink-settings=preferredColorScheme={THEMES[theme]}", "--dump-dom", file.as_uri(),
            ],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
    found = re.search(r'<pre id="outcome">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, done.stderr[-2000:]
    outcome = json.loads(html.unescape(found[1]))
    outcome["errors"] += [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--axe", type=Path, help="axe.min.js of axe-core")
    options = parser.parse_args()
    browser = find_browser()
    if browser is None:
        sys.exit(f"no browser found: install one of {', '.join(BROWSERS)}")
    axe = options.axe.read_text(encoding="utf-8") if options.axe else ""
    bad = 0
    for path in options.pages:
        text = path.read_text(encoding="utf-8")
        for theme in THEMES:
            outcome = visit(text, browser, theme=theme, axe=axe)
            problems = {key: outcome[key] for key in ("errors", "stuck", "silent", "axe") if outcome[key]}
            bad += bool(problems)
            judged = "not judged by axe" if outcome["axe"] is None else f"{len(outcome['axe'])} violations"
            print(
                f"{path}: {len(text.encode()) / 1000:.0f} KB, {theme}: {len(outcome['errors'])} errors, "
                f"{outcome['layers']} layers switched, {outcome['hovered']} values shown, {judged}"
            )
            if problems:
                print(json.dumps(problems, indent=1))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
