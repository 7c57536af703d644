#!/usr/bin/env python3
"""Draw README's picture of the console: the demo's observatory and burst, in Chromium, as docs/console.png.

Run by ``make picture``; needs the developers' tools and Debian's chromium.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from pyros import config as configuration
from pyros.cli.common import program
from pyros.cli.demo.demo import console_link, fill, flare, own_config
from pyros.cli.demo.observatory import ObservatoryProcess

HERE = Path(__file__).resolve().parent.parent
PICTURE = HERE / "docs" / "console.png"
PATIENCE = 120_000
CHIPS, EVENTS = (f"document.querySelector('[data-panel={name}]').textContent" for name in ("chips", "events"))


def main() -> None:
    """Start the demo's observatory, send it the burst, and take the picture when its light curve has four points."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("console-picture: needs chromium (tools/system-packages)")
    os.environ["LOGNAME"] = "observer"  # who is signed in
    with tempfile.TemporaryDirectory(prefix="pyros-picture-") as folder:
        config = own_config(configuration.load(configuration.demo_file()), Path(folder))
        assert config.broker is not None
        with ObservatoryProcess(config, Path(folder) / "observatory.log") as process, sync_playwright() as playwright:
            process.wait_until_up(PATIENCE / 1000, lambda up, total: None)
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1400, "height": 937}, color_scheme="dark")
            page.set_default_timeout(PATIENCE)
            page.goto(console_link(config))
            page.wait_for_function(f"() => /✓ SAFE/.test({CHIPS})")
            page.wait_for_function(  # the weather is kept each minute, and asked for each minute
                "() => document.querySelectorAll('[data-trend] canvas').length === 4", timeout=3 * PATIENCE
            )
            packet = fill(config.path.parent / "observatory" / "demo-alert.xml", config, Path(folder))
            flare(config, packet)
            subprocess.run(
                [sys.executable, program("comet-sendvo"), "--host=127.0.0.1", f"--port={config.broker.receiver_port}",
                 "-f", str(packet.file)],
                check=True, capture_output=True,
            )  # fmt: skip
            page.wait_for_function(f"() => /image 4 of 4|nothing more/.test({CHIPS})")
            page.wait_for_function("() => document.querySelector('[data-panel=image] img')?.naturalWidth > 0")
            page.wait_for_function(
                "() => /i \\d\\d\\.\\d\\d/.test(document.querySelector('[data-panel=events]').textContent)"
            )
            page.wait_for_function("() => document.querySelector('#curve canvas')")
            page.wait_for_timeout(8000)  # the sky is asked for every five seconds
            page.screenshot(path=PICTURE)
            browser.close()
    print(PICTURE)  # noqa: T201


if __name__ == "__main__":
    main()
