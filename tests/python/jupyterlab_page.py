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


# How well text can be read: the contrast of each text's colour with the first colour behind it, as WCAG counts it.
CONTRASTS = """elements => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = colour => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const luminance = colour => {
        const [r, g, b] = [...rgba(colour)].map(part => part / 255)
            .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = element => {
        const colour = getComputedStyle(element).backgroundColor;
        return rgba(colour)[3] === 255 || !element.parentElement ? colour : behind(element.parentElement);
    };
    return elements.map(element => {
        const style = getComputedStyle(element);
        const text = luminance(element instanceof SVGElement ? style.fill : style.color);
        const [dark, light] = [text, luminance(behind(element))].sort((one, other) => one - other);
        return [element.textContent, (light + 0.05) / (dark + 0.05)];
    });
}"""


def choose_theme(notebook, name):
    notebook.page.get_by_role("menuitem", name="Settings", exact=True).click()
    notebook.page.locator(".lm-Menu-item[data-type=submenu]", has_text=re.compile("^Theme$")).hover()
    notebook.page.locator(".lm-Menu-item[data-command='apputils:change-theme']", has_text=re.compile(f"^{name}$")).click()
    light = "false" if "Dark" in name else "true"
    notebook.page.locator(f"body[data-jp-theme-light={light}]").wait_for(state="attached")
    # The styles of the theme before it are gone when those of this one are there.
    notebook.page.wait_for_function(
        """light => getComputedStyle(document.body).getPropertyValue("--jp-layout-color0").trim()
            .match(light ? /^(white|#fff)/ : /^(black|#[01]|var)/)""",
        arg=light == "true",
    )


def widgets(notebook, pictures):
    """A bar, a choice, a button and a chart: shown, and Rust and the page hear of each other, while a cell runs and after."""
    within = notebook.panel
    notebook.run_all()
    running = notebook.cell("for step in 1..")
    notebook.expect_begun(running)
    bar, choice, button = within.locator("progress"), within.locator("label.notebook-widget > select"), within.get_by_role("button", name="push")
    done = within.locator("label.notebook-widget > progress + output")
    chart = within.locator("svg.notebook-widget")
    lines = chart.locator("path")
    for widget in [bar, choice, button, chart]:
        expect(widget).to_be_visible(timeout=CELL_TAKES_AT_MOST)
    expect(choice.locator("option")).to_have_text(["sgd", "adam", "lbfgs"])
    expect(choice).to_have_value("sgd")
    # The cell pushes into both; one series has a line when it has two points.
    expect(done).to_have_text(re.compile(r"^([2-9]|\d{2,}) / 60$"), timeout=CELL_TAKES_AT_MOST)
    expect(lines).to_have_count(1)
    earlier = lines.first.get_attribute("d")
    expect(lines.first).not_to_have_attribute("d", earlier)

    # While the cell runs.
    choice.select_option("adam")
    expect(within).to_contain_text("Rust heard adam")
    button.click()
    expect(within).to_contain_text("pushed 1")
    expect(running.locator(".jp-InputPrompt")).to_have_text("[*]:")
    choice.select_option("lbfgs")
    notebook.expect_done(running)
    assert "the cell saw lbfgs" in shown(running)[-1], shown(running)

    # After it.
    choice.select_option("sgd")
    expect(within).to_contain_text("Rust heard sgd")
    before = int(done.inner_text().partition(" ")[0])
    for _ in range(2):
        button.click()
    expect(within).to_contain_text("pushed 3")
    expect(done).to_have_text(f"{before + 2} / 60")
    assert bar.evaluate("bar => [bar.value, bar.max]") == [before + 2, 60]
    # The button has begun a series of its own.
    expect(lines).to_have_count(2)
    expect(chart).to_contain_text("● by hand")

    notebook.page.set_viewport_size({"width": 1180, "height": 1200})
    for theme, name in [("JupyterLab Light", "light"), ("JupyterLab Dark", "dark")]:
        choose_theme(notebook, theme)
        within.locator(".jp-CodeCell").first.evaluate("cell => cell.scrollIntoView()")
        save_picture(notebook.page, pictures, f"widgets-{name}")
        texts = within.locator(".notebook-widget:is(button), label.notebook-widget > :is(span, output, select)")
        # Of a chart's lines and names, which are large, a look must suffice.
        for of, least in [(texts, 4.5), (chart.locator("text"), 3)]:
            contrasts = of.evaluate_all(CONTRASTS)
            assert contrasts and all(contrast >= least for _, contrast in contrasts), (theme, contrasts)


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
    "widgets": ("widgets.ipynb", widgets),
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
