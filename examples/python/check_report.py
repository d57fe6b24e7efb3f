"""Opens the page that a command wrote with `--report DIR` in a headless browser and checks what it shows.

    python3 examples/python/check_report.py DIR [FILE] [--browser PATH] [--screenshots DIR]

At the size of a phone and of a desktop, in the light and the dark theme: every row of FILE, which `tradeoffs --json`
wrote beside its page, is on the page and visible, every picture is visible, has a name and its files, nothing is wider than the page, no text leaves its picture, the
headings sort, and there is neither an error nor a network request. Needs Chromium or Chrome, and no Python packages: the
browser is controlled through a pipe.
"""

import argparse
import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
SIZES = {"phone": (390, 844, True), "desk": (1280, 900, False)}

# What is looked at in the page. A picture or a row counts if it has a box.
LOOK = """(() => {
  const box = e => { const b = e.getBoundingClientRect(); return b.width > 0 && b.height > 0; };
  const pictures = [...document.querySelectorAll("figure")].map(f => {
    const svg = f.querySelector("svg"), around = svg.getBoundingClientRect();
    const inside = e => {
      const b = e.getBoundingClientRect();
      return b.left >= around.left - 1 && b.right <= around.right + 1 && b.top >= around.top - 1
        && b.bottom <= around.bottom + 1;
    };
    return {
      id: f.id, seen: box(svg), wide: around.width, role: svg.getAttribute("role"),
      title: svg.querySelector("title")?.textContent || "", description: svg.querySelector("desc")?.textContent || "",
      marks: svg.querySelectorAll("path").length,
      cut: [...svg.querySelectorAll("text")].filter(t => !inside(t)).map(t => t.textContent),
      small: Math.min(...[...svg.querySelectorAll("text")].map(t => t.getBoundingClientRect().height)),
      files: [...f.querySelectorAll("a")].map(a => a.getAttribute("href")),
    };
  });
  const rows = [...document.querySelectorAll("section[data-set]")].flatMap(s =>
    [...s.querySelectorAll("table.measured tbody tr")].map(r => ({
      data: s.dataset.set, model: r.cells[0].textContent, seen: box(r) && [...r.cells].every(box) })));
  const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
  return {
    pictures, rows, twice: ids.filter((id, k) => ids.indexOf(id) !== k),
    over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    lang: document.documentElement.lang, ground: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.querySelector(".q-title")).fill,
    broken: [...document.images].filter(i => i.naturalWidth === 0).map(i => i.src),
  };
})()"""

# A press on each heading puts that column in order; a second press turns it round.
SORT = """(() => {
  const wrong = [];
  for (const table of document.querySelectorAll("table.measured")) {
    for (const [column, button] of [...table.querySelectorAll("thead button")].entries()) {
      const numbers = () => [...table.tBodies[0].rows].map(r => parseFloat(r.cells[column].textContent))
        .filter(v => !isNaN(v));
      for (const turn of [1, -1]) {
        button.click();
        const now = numbers(), sorted = [...now].sort((a, b) => turn * (a - b));
        const name = button.textContent, state = button.closest("th").getAttribute("aria-sort");
        if (column > 0 && now.join() !== sorted.join()) wrong.push(name);
        if (state !== (turn > 0 ? "ascending" : "descending")) wrong.push(name + " says " + state);
      }
    }
  }
  return wrong;
})()"""


class Browser:
    """Chromium, driven through its debugging pipe: messages are JSON, each ended by a zero byte."""

    def __init__(self, path, profile):
        to_browser, self.out = os.pipe()
        self.inward, from_browser = os.pipe()

        def pipes():
            # The browser reads from 3 and writes to 4; either may be what the other pipe has now.
            reading, writing = os.dup(to_browser), os.dup(from_browser)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        command = [path, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run",
                   "--disable-dev-shm-usage", "--hide-scrollbars", "--disable-background-networking",
                   f"--user-data-dir={profile}", "about:blank"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, preexec_fn=pipes, close_fds=False, **quiet)
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.events, self.number, self.session = b"", [], 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Network", "Log"]:
            self.call(f"{domain}.enable")

    def message(self):
        while b"\0" not in self.buffer:
            read = os.read(self.inward, 1 << 16)
            if not read:
                raise RuntimeError("the browser went away")
            self.buffer += read
        one, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, **params):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.out, json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def run(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"]["description"])
        return result["result"].get("value")

    def open(self, url):
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.message())

    def complaints(self, page):
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if url != page and not url.startswith("data:"):
                    yield f"asked for {url}"
            elif method == "Runtime.exceptionThrown":
                yield f"error: {params['exceptionDetails'].get('exception', {}).get('description')}"
            elif method == "Runtime.consoleAPICalled":
                yield f"console.{params['type']}"
            elif method == "Log.entryAdded":
                yield f"log: {params['entry']['text']}"

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=20)


def check(look, expected, folder):
    """What is wrong with the page, in words."""
    shown = [(row["data"], row["model"]) for row in look["rows"]]
    if expected is not None and sorted(shown) != sorted(expected):
        yield f"rows: {sorted(set(expected) ^ set(shown))} are in one of page and file only, of {len(expected)}"
    for row in look["rows"]:
        if not row["seen"]:
            yield f"row {row['model']} of {row['data']} has no box"
    if not look["pictures"]:
        yield "no picture"
    for picture in look["pictures"]:
        name = picture["id"]
        if not picture["seen"] or picture["marks"] == 0:
            yield f"picture {name} is not to be seen"
        if picture["role"] != "img" or not picture["title"] or not picture["description"]:
            yield f"picture {name} has no name or description"
        if picture["cut"]:
            yield f"picture {name}: text outside of it: {picture['cut']}"
        if picture["small"] < 7:
            yield f"picture {name}: text {picture['small']:.1f} pixels high"
        for file in picture["files"]:
            if not (folder / file).is_file() or (folder / file).stat().st_size == 0:
                yield f"picture {name}: {file} is missing"
        if len(picture["files"]) != 2:
            yield f"picture {name} has {len(picture['files'])} files, not 2"
    if look["over"] > 0:
        yield f"the page is {look['over']} pixels wider than the screen"
    if look["broken"]:
        yield f"broken images: {look['broken']}"
    if look["twice"]:
        yield f"ids given twice: {look['twice']}"
    if not look["lang"]:
        yield "no language"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("json", type=pathlib.Path, nargs="?")
    parser.add_argument("--browser", default=next(filter(None, map(shutil.which, BROWSERS)), None))
    parser.add_argument("--screenshots", type=pathlib.Path)
    args = parser.parse_args()
    if args.browser is None:
        sys.exit(f"no browser: none of {', '.join(BROWSERS)} is installed")
    expected = None
    if args.json is not None:
        expected = [(row["data"], row["model"]) for row in json.loads(args.json.read_text())["rows"]]
    page = (args.folder / "index.html").resolve().as_uri()
    wrong, grounds = [], {}
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(args.browser, profile)
        try:
            for size, (width, height, mobile) in SIZES.items():
                for theme in ["light", "dark"]:
                    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                                 deviceScaleFactor=1, mobile=mobile)
                    browser.call("Emulation.setEmulatedMedia",
                                 features=[{"name": "prefers-color-scheme", "value": theme}])
                    browser.open(page)
                    look = browser.run(LOOK)
                    grounds[theme] = (look["ground"], look["ink"])
                    found = list(check(look, expected, args.folder))
                    if args.screenshots:
                        args.screenshots.mkdir(parents=True, exist_ok=True)
                        shot = browser.call("Page.captureScreenshot", captureBeyondViewport=True)
                        path = args.screenshots / f"{size}-{theme}.png"
                        path.write_bytes(base64.b64decode(shot["data"]))
                    found += [f"{text} is out of order" for text in browser.run(SORT)]
                    found += browser.complaints(page)
                    wrong += [f"{size}, {theme}: {text}" for text in found]
        finally:
            browser.close()
    if any(light == dark for light, dark in zip(grounds["light"], grounds["dark"])):
        wrong.append(f"light and dark are the same: {grounds}")
    if wrong:
        sys.exit("\n".join(wrong))
    rows = "" if expected is None else f"{len(expected)} rows and "
    print(f"{rows}{len(look['pictures'])} pictures are shown, on a phone and a desk, light and dark.")


if __name__ == "__main__":
    main()
