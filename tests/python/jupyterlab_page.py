"""A reader in front of JupyterLab: opens a notebook in Chromium, runs it and looks at what the page shows.

    jupyterlab_page.py SCENE FOLDER PICTURES

SCENE is one of the functions of `SCENES`, FOLDER holds the notebooks, and PICTURES takes what the reader saw. The
browser is $AZUREML_TEST_CHROMIUM; whatever JupyterLab writes stays in folders that the environment names.
"""

import os
import re
import secrets
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

SECOND = 1000
# The kernel is installed, but the machine may be busy.
CELL_TAKES_AT_MOST = 120 * SECOND
TRAINING_TAKES_AT_MOST = 600 * SECOND

RUN_ALL = "runmenu:run-all"
STATUSES = ["Queued", "Preparing", "Running", "Finalizing", "Completed"]

# Notes, while the cell that waits for the run is running, every state of its charts and of the run.
WATCH = """cell => {
    const seen = (window.seen = { charts: [], statuses: [] });
    const note = (list, state) => state && list.at(-1) !== state && list.push(state);
    const look = () => {
        if (!cell.querySelector(".jp-InputPrompt").textContent.includes("*")) return;
        note(seen.charts, [...cell.querySelectorAll(".jp-OutputArea svg")].map(svg => svg.outerHTML).join(""));
        note(seen.statuses, cell.querySelector(".jp-OutputArea table")?.textContent);
    };
    new MutationObserver(look).observe(cell, { subtree: true, childList: true, characterData: true });
}"""


@contextmanager
def jupyterlab(folder):
    """JupyterLab on `folder`; gives its address and its token."""
    token = secrets.token_hex()
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
        + [f"--ServerApp.root_dir={folder}"],
        # On the command line others could read it.
        env={**os.environ, "JUPYTER_TOKEN": token},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        log = []
        for line in server.stderr:
            log.append(line)
            if address := re.search(r"http://127\.0\.0\.1:\d+/", line):
                break
        else:
            raise AssertionError("JupyterLab did not start:\n" + "".join(log))
        # A full pipe would stop it.
        threading.Thread(target=lambda: log.extend(server.stderr), daemon=True).start()
        yield address.group(), token
    finally:
        server.terminate()
        server.wait()


@contextmanager
def browser_page(address, token):
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=os.environ["AZUREML_TEST_CHROMIUM"])
        context = chromium.new_context(viewport={"width": 1180, "height": 860})
        page = context.new_page()
        page.set_default_timeout(30 * SECOND)
        # The server answers with a cookie, so that the token is on no picture.
        page.goto(f"{address}login?token={token}")
        yield page
        chromium.close()


class Notebook:
    """An open notebook."""

    def __init__(self, page, address, name):
        self.page = page
        page.goto(f"{address}lab/tree/{name}?reset")
        self.panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        # The notebook's own indicator says that the kernel is idle before there is one.
        status = page.locator("#jp-main-statusbar").get_by_text(re.compile(r"Rust \(Azure ML\) \| Idle"))
        expect(status).to_be_visible(timeout=CELL_TAKES_AT_MOST)
        # What is open beside the notebook takes its room.
        sidebar = page.locator(".jp-SideBar .lm-TabBar-tab.lm-mod-current[data-id=filebrowser]")
        if sidebar.count():
            sidebar.click()

    def cell(self, code):
        """The first cell that has `code` in it."""
        return self.panel.locator(".jp-CodeCell").filter(has=self.page.locator(".jp-InputArea", has_text=code)).first

    def run_all(self):
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator(f".lm-Menu-item[data-command='{RUN_ALL}']").click()

    def expect_begun(self, cell):
        expect(cell.locator(".jp-InputPrompt")).to_have_text("[*]:", timeout=CELL_TAKES_AT_MOST)

    def expect_done(self, cell, timeout=CELL_TAKES_AT_MOST):
        expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"^\[\d+\]:$"), timeout=timeout)

    def run(self, cell):
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        self.expect_done(cell)

    def stop(self):
        self.panel.locator(".jp-NotebookPanel-toolbar [data-jp-item-name=interrupt]").click()


def shown(cell):
    return cell.locator(".jp-OutputArea-output").all_inner_texts()


def stderr(cell):
    """Errors, too: JupyterLab shows them in the same way."""
    return cell.locator("[data-mime-type='application/vnd.jupyter.stderr']")


def save_picture(page, pictures, name):
    page.screenshot(path=pictures / f"{name}.png")


def lab(notebook, pictures):
    """Runs the lab; its chart moves while the job trains."""
    waiting = notebook.cell("run.wait_for_completion(true)")
    waiting.evaluate(WATCH)
    notebook.run_all()
    notebook.expect_begun(waiting)
    # The chart of a few values, and another with more of them.
    notebook.page.wait_for_function("window.seen.charts.length >= 3", timeout=TRAINING_TAKES_AT_MOST)
    waiting.evaluate("cell => cell.scrollIntoView()")
    save_picture(notebook.page, pictures, "lab-02-training")
    notebook.expect_done(waiting, TRAINING_TAKES_AT_MOST)
    seen = notebook.page.evaluate("window.seen")
    assert len(set(seen["charts"])) >= 2, seen["charts"]
    lines = "\n".join(shown(waiting)).splitlines()
    statuses = [word for line in lines for word, _, rest in [line.partition(" ")] if rest.strip().startswith("after ")]
    assert statuses == STATUSES, lines
    # After a cell that fails no other would run.
    notebook.expect_done(notebook.panel.locator(".jp-CodeCell").last, TRAINING_TAKES_AT_MOST)
    notebook.cell("run.metrics()?").evaluate("cell => cell.scrollIntoView()")
    save_picture(notebook.page, pictures, "lab-02-metrics")


def column(lines, part):
    """Where `part` is first seen, and in which of the lines."""
    row = next(row for row, line in enumerate(lines) if part in line)
    return row, lines[row].index(part)


def errors_and_warnings(notebook, pictures):
    """What the compiler says stands under the place that it means, in the cell's own lines; a warning stops nothing."""
    notebook.run_all()
    wrong, later = notebook.cell("is not a number"), notebook.cell("count * 7")
    expect(stderr(wrong)).to_contain_text("mismatched types", timeout=CELL_TAKES_AT_MOST)
    save_picture(notebook.page, pictures, "compile-error")
    lines = stderr(wrong).inner_text().splitlines()
    assert lines[0] == "error[E0308]: mismatched types", lines
    assert lines[1].strip() == "--> line 4, column 18", lines
    row, quoted = column(lines, '"is not a number"')
    assert lines[row].startswith("4 |"), lines
    assert column(lines, "^" * len('"is not a number"')) == (row + 1, quoted), lines
    link = stderr(wrong).get_by_role("link")
    assert link.get_attribute("href") == "https://doc.rust-lang.org/error_codes/E0308.html"

    warned = notebook.cell("remove_file")
    assert "warning: unused `Result` that must be used" in stderr(warned).inner_text(), shown(warned)
    assert shown(warned)[-1].strip() == "42", shown(warned)
    # The error stopped the rest, and nothing that was there is lost.
    expect(later.locator(".jp-InputPrompt")).to_have_text("[ ]:")
    notebook.run(later)
    assert shown(later) == ["42"], shown(later)


def interrupt(notebook, pictures):
    """Stop, while a cell waits for a run: the cell ends as interrupted, and the run is still there."""
    waiting, canceled = notebook.cell("wait_for_completion"), notebook.cell("run.cancel()")
    notebook.run(notebook.cell("Workspace::local"))
    waiting.locator(".cm-content").click()
    notebook.page.keyboard.press("Control+Enter")
    notebook.expect_begun(waiting)
    expect(waiting.locator(".jp-OutputArea")).to_contain_text("Running ", timeout=CELL_TAKES_AT_MOST)
    notebook.stop()
    notebook.expect_done(waiting)
    expect(stderr(waiting).last).to_contain_text("Interrupted")
    notebook.run(canceled)
    assert "still the same run" in shown(canceled)[-1], shown(canceled)
    save_picture(notebook.page, pictures, "interrupted")


def slider(notebook, pictures):
    """A slider that is dragged: Rust hears of it and answers."""
    shows, reads = notebook.cell("Slider::new"), notebook.cell("rate.value()")
    notebook.run(shows)
    handle = shows.locator("input[type=range]")
    expect(handle).to_be_visible(timeout=CELL_TAKES_AT_MOST)
    box = handle.bounding_box()
    middle = box["y"] + box["height"] / 2
    notebook.page.mouse.move(box["x"] + 2, middle)
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + box["width"] - 2, middle, steps=10)
    notebook.page.mouse.up()
    expect(notebook.panel).to_contain_text("Rust heard 20", timeout=CELL_TAKES_AT_MOST)
    notebook.run(reads)
    assert shown(reads) == ["20"], shown(reads)
    save_picture(notebook.page, pictures, "slider")


def variables(notebook, pictures):
    """The variable panel shows the names and types of Rust's variables."""
    notebook.panel.locator("[data-command='debugger:toggle-debug'], .jp-DebuggerBugButton").first.click()
    notebook.run(notebook.cell("let epochs"))
    notebook.page.get_by_role("tab", name="Debugger").click()
    panel = notebook.page.locator(".jp-DebuggerVariables")
    for text in ["epochs", "i32", "names", "Vec<String>"]:
        expect(panel).to_contain_text(text, timeout=CELL_TAKES_AT_MOST)
    save_picture(notebook.page, pictures, "variables")


SCENES = {
    "slider": ("slider.ipynb", slider),
    "variables": ("variables.ipynb", variables),
    "interrupt": ("interrupt.ipynb", interrupt),
    "lab": ("02-train-model.ipynb", lab),
    "errors_and_warnings": ("errors-and-warnings.ipynb", errors_and_warnings),
}


def main():
    name, folder, pictures = sys.argv[1:4]
    opened, scene = SCENES[name]
    pictures = Path(pictures)
    with jupyterlab(folder) as (address, token), browser_page(address, token) as page:
        try:
            scene(Notebook(page, address, opened), pictures)
        except BaseException:
            print(*shown(page.locator(".jp-NotebookPanel")), sep="\n", file=sys.stderr)
            save_picture(page, pictures, f"{name}-failed")
            raise


main()
