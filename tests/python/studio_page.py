"""A reader in front of the local workspace's pages: opens them in Chromium and looks at what they show.

    studio_page.py SCENE URL TOKEN PICTURES [LINK…]

SCENE is one of the functions of `SCENES`, URL and TOKEN are the local workspace's, PICTURES takes what the reader saw, and
a LINK is what `run.portal_url()` gave. The browser is $AZUREML_TEST_CHROMIUM.
"""

import json
import os
import re
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

SECOND = 1000
EVENT_TAKES_AT_MOST = 60 * SECOND
TRAINING_TAKES_AT_MOST = 600 * SECOND

expect.set_options(timeout=EVENT_TAKES_AT_MOST)

STATUSES = ["Queued", "Preparing", "Running", "Finalizing", "Completed"]
SCOPE = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local"
    "/providers/Microsoft.MachineLearningServices/workspaces/local"
)
DESKTOP, PHONE = (1180, 860), (390, 780)
NOW = 1_767_225_600_000
HOSTILE = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>"

# Notes every status and every state of the charts. What it notes would be gone after the page was loaded again.
WATCH = """() => {
    const seen = (window.seen = { charts: [], statuses: [] });
    const note = (list, state) => state && list.at(-1) !== state && list.push(state);
    const look = () => {
        note(seen.charts, [...document.querySelectorAll("figure svg")].map(svg => svg.outerHTML).join(""));
        for (const step of document.querySelectorAll(".steps li:not(.coming) span"))
            if (!seen.statuses.includes(step.textContent)) seen.statuses.push(step.textContent);
    };
    look();
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""

# A small training: values of two metrics, one after the other, by MLflow's REST.
TRAINING = """
import json, math, os, sys, time, urllib.request
lr = float(sys.argv[1])
def tell(call, **body):
    request = urllib.request.Request(
        os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/" + call,
        json.dumps({"run_id": os.environ["MLFLOW_RUN_ID"], **body}).encode(),
        {"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"], "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).read()
tell("log-parameter", key="lr", value=str(lr))
tell("log-parameter", key="batch_size", value="64")
for step in range(200):
    loss = 2.3 * math.exp(-step * lr / 60) + 0.1 + 0.04 * math.sin(step)
    tell("log-metric", key="Train loss", value=loss, timestamp=step, step=step)
    if step % 50 == 49:
        tell("log-metric", key="Accuracy", value=99 - 40 * math.exp(-step * lr / 40), timestamp=step, step=step // 50 + 1)
        print(f"Train Epoch: {step // 50 + 1}  Loss: {loss:.4f}", flush=True)
os.makedirs("outputs/model", exist_ok=True)
open("outputs/model/model.pt", "wb").write(bytes(1 << 20))
"""


class Workspace:
    """The local workspace's REST calls, by its owner."""

    def __init__(self, url, token):
        self.url, self.token = url, token

    def ask(self, method, path, body=None):
        request = urllib.request.Request(
            self.url + path,
            json.dumps(body).encode() if body is not None else None,
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def submit(self, name, command, **properties):
        environment, compute = f"{SCOPE}/environments/rust-tch-gpu/versions/1", f"{SCOPE}/computes/cpu-cluster"
        job = {"jobType": "Command", "command": command, "environmentId": environment, "computeId": compute}
        self.ask("PUT", f"{SCOPE}/jobs/{name}", {"properties": {**job, "experimentName": "pages", **properties}})

    def train(self, name, lr):
        command = f"'{sys.executable}' - {lr} <<'END'{TRAINING}END"
        self.submit(name, command, displayName=f"digits lr={lr}", tags={"lab": "02"}, experimentName="train-model")

    def status(self, name):
        return self.ask("GET", f"{SCOPE}/jobs/{name}")["properties"]["status"]

    def reach(self, name, *statuses):
        end = time.monotonic() + EVENT_TAKES_AT_MOST / SECOND
        while (status := self.status(name)) not in statuses:
            assert time.monotonic() < end, f"{name} is {status}"
            time.sleep(0.05)

    def mlflow(self, call, **body):
        return self.ask("POST", f"/mlflow/v2.0{SCOPE}/api/2.0/mlflow/{call}", body)

    def run(self, name, status, parent=None, **params):
        """A run that is no job, with a metric; gives its id."""
        tags = [{"key": "mlflow.parentRunId", "value": parent}] if parent else []
        run = self.mlflow("runs/create", run_name=name, start_time=NOW, tags=tags)["run"]["info"]["run_id"]
        metrics = [{"key": "loss", "value": 2.3 / (1 + step), "timestamp": NOW + step, "step": step} for step in range(9)]
        self.mlflow("runs/log-batch", run_id=run, metrics=metrics, params=[{"key": key, "value": value} for key, value in params.items()])
        if status != "RUNNING":
            self.mlflow("runs/update", run_id=run, status=status, end_time=NOW + 61_000)
        return run

    def upload(self, files):
        """Files by path in a place of their own; gives its address."""
        place = self.ask("POST", f"{SCOPE}/codes/any/versions/1/startPendingUpload", {"pendingUploadType": "TemporaryBlobReference"})
        place = place["blobReferenceForConsumption"]
        signature = place["credential"]["sasUri"].split("?")[1]
        for path, content in files.items():
            url = f"{place['blobUri']}/{urllib.parse.quote(path)}?{signature}"
            request = urllib.request.Request(url, content.encode(), {"x-ms-blob-type": "BlockBlob"}, method="PUT")
            urllib.request.urlopen(request).read()
        return place["blobUri"]

    def link(self, name):
        return self.ask("GET", f"{SCOPE}/jobs/{name}")["properties"]["services"]["Studio"]["endpoint"]


class Reader:
    """Somebody with a browser who has opened a job's link once."""

    def __init__(self, chromium, workspace, link, pictures, **options):
        self.chromium, self.workspace, self.pictures = chromium, workspace, pictures
        self.told = []
        context = self.context(**options)
        self.page = self.open(context)
        self.page.goto(link)
        self.page.wait_for_url("**/studio/jobs/**")
        assert "ticket" not in self.page.url, self.page.url
        self.cookies = context.cookies()

    def context(self, locale="en-US", scheme="light", size=DESKTOP, **options):
        viewport = {"width": size[0], "height": size[1]}
        return self.chromium.new_context(locale=locale, color_scheme=scheme, viewport=viewport, **options)

    def open(self, context, path=None):
        page = context.new_page()
        page.set_default_timeout(EVENT_TAKES_AT_MOST)
        page.on("console", lambda message: self.told.append(f"{page.url}: {message.text}"))
        page.on("pageerror", lambda error: self.told.append(f"{page.url}: {error}"))
        page.on("dialog", lambda dialog: (self.told.append(f"{page.url}: {dialog.message}"), dialog.dismiss()))
        if path is not None:
            page.goto(f"{self.workspace.url}/studio/{path}")
        return page

    def another(self, **options):
        """The same reader with a browser that is set up differently."""
        context = self.context(**options)
        context.add_cookies(self.cookies)
        return context

    def picture(self, page, name, **options):
        page.screenshot(path=self.pictures / f"{name}.png", **options)

    def done(self):
        """A script that the policy refused, an error of ours, a file that is missing: the browser would have told."""
        assert not self.told, self.told


def fits(page):
    """Nothing is wider than the window."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), page.url


def accessible(page):
    """axe finds nothing serious."""
    found = Axe().run(page).response["violations"]
    grave = [(rule["id"], node["html"]) for rule in found if rule["impact"] in ("serious", "critical") for node in rule["nodes"]]
    assert not grave, (page.url, grave)


def until(page, script, argument=None):
    """Until the script is true. The policy refuses what `wait_for_function` does: it evaluates a text in the page."""
    end = time.monotonic() + TRAINING_TAKES_AT_MOST / SECOND
    while not page.evaluate(script, argument):
        assert time.monotonic() < end, script
        page.wait_for_timeout(50)


def at_end(log):
    return log.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight < 40")


def visits(chromium, workspace, pictures, waiting, lab):
    """The four visits of Lab 02, to its own job while it trains; another one has the only node first."""
    reader = Reader(chromium, workspace, lab, pictures)
    job = reader.page
    job.evaluate(WATCH)
    korean = reader.open(reader.another(locale="ko-KR", scheme="dark"), job.url.split("/studio/")[1])
    korean.evaluate(WATCH)
    expect(job.locator(".steps li:not(.coming)")).to_have_text([re.compile("Queued")])

    # Compute: the cluster is there, and its node has something to do.
    compute = reader.open(job.context, "computes")
    row = compute.get_by_role("row").filter(has_text="cc-aml-gpu")
    expect(row).to_contain_text("1 / 1")
    # One has the node, one is in the queue.
    expect(row.get_by_role("link")).to_have_count(2)
    content = compute.locator("main").bounding_box()
    reader.picture(compute, "compute", clip={"x": 0, "y": 0, "width": DESKTOP[0], "height": content["y"] + content["height"]})

    # The job that has it is canceled, from its own page.
    other = Reader(chromium, workspace, waiting, pictures)
    expect(other.page.locator(".steps")).to_contain_text("Running")
    other.page.get_by_role("button", name="Cancel").click()
    expect(other.page.locator(".steps li").last).to_contain_text("Canceled")
    other.picture(other.page, "canceled")
    other.done()

    # The job: statuses, points and lines come by themselves.
    expect(job.locator(".steps li:not(.coming)").nth(2)).to_contain_text("Running", timeout=TRAINING_TAKES_AT_MOST)
    log = job.get_by_role("log")
    expect(log).to_contain_text("Train Epoch: 1", timeout=TRAINING_TAKES_AT_MOST)
    until(job, "window.seen.charts.length >= 3")
    assert at_end(log), "the log follows"
    reader.picture(job, "training")
    # Whoever reads further up is left in peace.
    log.evaluate("log => log.scrollTop = 0")
    length = len(log.inner_text())
    until(job, "length => document.querySelector('[data-log]').innerText.length > length", length)
    assert log.evaluate("log => log.scrollTop") == 0
    expect(job.locator(".steps li").last).to_have_class(re.compile("Completed(?! coming)"), timeout=TRAINING_TAKES_AT_MOST)
    assert job.evaluate("window.seen.statuses") == STATUSES
    expect(korean.locator(".steps li").last).to_contain_text("완료")
    assert korean.evaluate("window.seen.statuses") == ["대기 중", "준비 중", "실행 중", "마무리 중", "완료"]
    assert len(korean.evaluate("window.seen.charts")) >= 3
    reader.picture(korean, "job-korean-dark", full_page=True)

    # Metrics, outputs and logs.
    for name in ["Train loss", "Test loss", "Accuracy"]:
        expect(job.locator("figcaption").filter(has_text=name)).to_be_visible()
    job.evaluate("scrollTo(0, 0)")
    reader.picture(job, "job")
    reader.picture(job, "job-whole", full_page=True)
    with job.expect_download() as download:
        job.get_by_role("link", name="Download outputs/model/model.pt").click()
    assert download.value.path().stat().st_size > 1_000_000
    job.get_by_label("Find in the log").fill("train epoch: 2")
    job.get_by_role("button", name="Find").click()
    expect(job.locator(".found li").first).to_contain_text("Train Epoch: 2")
    reader.picture(job, "found")

    # Compute instances, Stop.
    expect(row).to_contain_text(re.compile("[01] / 1"))
    for button, state in [("Stop", "Stopped"), ("Start", "Running")]:
        compute.get_by_role("button", name=f"{button} ci-aml-workshop").click()
        expect(compute.locator(".instances li")).to_contain_text(state)
        if state == "Stopped":
            reader.picture(compute, "stopped")
    reader.done()


def pages(chromium, workspace, pictures):
    """Every page in both languages, light and dark, wide and on a phone; two jobs are compared."""
    workspace.train("digits-1", 1.0)
    workspace.train("digits-2", 0.5)
    workspace.submit("failed", "echo begun; echo 'out of digits' >&2; exit 3", displayName="a job that fails")
    workspace.submit("hostile", f'mkdir -p outputs; echo "{HOSTILE}" | tee "outputs/<b>.html"', displayName=HOSTILE, tags={HOSTILE: HOSTILE})
    source = {"train.rs": "fn main() {}\n", "src/model.rs": "// 합성곱\n", f"<b>{HOSTILE.replace('/', '')}.rs": HOSTILE}
    code = {"codeUri": workspace.upload(source), "properties": {"hash_sha256": "0" * 64, "hash_version": "202208"}}
    code = workspace.ask("PUT", f"{SCOPE}/codes/lab/versions/1", {"properties": code})["id"]
    workspace.submit("with-code", "cat train.rs", codeId=code, displayName="with its code")
    for lr, status in (("1.0", "FINISHED"), ("0.5", "FAILED"), ("0.1", "RUNNING")):
        workspace.run(f"trial lr={lr}", status, parent="with-code", lr=lr)
    alone = workspace.run("made by MLflow alone", "FINISHED", lr="0.3")
    files = ["MLmodel", "mnist/config.pbtxt", "mnist/1/model.pt", "mnist/2/model.pt"]
    repository = workspace.upload(dict.fromkeys(files, "x" * 1000))
    plain = "azureml://jobs/digits-1/outputs/artifacts/paths/outputs/model"
    for name, uri in (("mnist-triton", repository), ("mnist-cnn", plain)):
        workspace.ask("PUT", f"{SCOPE}/models/{name}/versions/1", {"properties": {"modelUri": uri, "description": "Reads digits"}})
    for name in ["digits-1", "digits-2", "failed", "hostile", "with-code"]:
        workspace.reach(name, "Completed", "Failed")
    reader = Reader(chromium, workspace, workspace.link("digits-1"), pictures)

    page = reader.open(reader.page.context, "jobs?experiment=train-model")
    reader.picture(page, "jobs")
    for name in ["digits lr=1.0", "digits lr=0.5"]:
        page.get_by_role("checkbox", name=f"Compare {name}").check()
    page.get_by_role("button", name="Compare the chosen jobs").click()
    expect(page.locator("figure")).to_have_count(2)
    loss = page.locator("figure").filter(has_text="Train loss")
    # A line for each, with its name.
    expect(loss.locator("svg")).to_contain_text("digits lr=0.5")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="lr", exact=True))
    expect(row.get_by_role("cell")).to_have_text(["0.5", "1.0"])
    expect(row).to_have_class(re.compile("differs"))
    reader.picture(page, "compare", full_page=True)
    compare = page.url.split("/studio/")[1]

    paths = {
        "jobs": "jobs",
        "job": "jobs/digits-1",
        "failed": "jobs/failed",
        "hostile": "jobs/hostile",
        "file": "jobs/digits-1/files/user_logs/std_log.txt?find=epoch",
        "hostile-file": "jobs/hostile/files/outputs/%3Cb%3E.html",
        "with-code": "jobs/with-code",
        "children": "jobs?parent=with-code",
        "alone": f"jobs/{alone}",
        "code": "codes/lab/1",
        "code-file": "codes/lab/1/files/src/model.rs",
        "model": "models/mnist-cnn/1",
        "triton": "models/mnist-triton/1",
        "compare": compare,
        "compute": "computes",
        "environments": "environments",
        "data": "data",
        "models": "models",
        "missing": "jobs/nothing",
    }
    for name, options in {
        "light": {},
        "korean-dark": {"locale": "ko-KR", "scheme": "dark"},
        "phone": {"size": PHONE},
        "korean-phone-dark": {"locale": "ko-KR", "scheme": "dark", "size": PHONE},
    }.items():
        # axe is a script that the pages' policy would refuse.
        context = reader.another(**options, bypass_csp=True)
        for path_name, path in paths.items():
            page = reader.open(context, path)
            page.wait_for_load_state("load")
            fits(page)
            accessible(page)
            assert page.evaluate("window.hit") is None, page.url
            lang = page.locator("html").get_attribute("lang")
            assert lang == ("ko" if "korean" in name else "en"), (page.url, lang)
            reader.picture(page, f"{path_name}-{name}", full_page=True)
            page.close()
        context.close()
    # The browser tells of a page that is not there, and of nothing else.
    reader.told = [told for told in reader.told if "404" not in told]

    # A job's code, its children, and where they come from.
    page = reader.open(reader.page.context, "jobs/with-code")
    code = page.locator("section").filter(has=page.get_by_role("heading", name="Code", exact=True))
    expect(code.get_by_role("link", name="model.rs", exact=True)).to_be_visible()
    children = page.locator("section").filter(has=page.get_by_role("heading", name="Child runs"))
    expect(children.locator("tbody .status")).to_have_text(["Completed", "Failed", "Running"])
    children.get_by_role("link", name="trial lr=0.5").click()
    expect(page.locator(".steps")).to_contain_text("Failed")
    page.get_by_role("link", name="with-code").click()
    code.get_by_role("link", name="model.rs", exact=True).click()
    expect(page.locator("pre.log")).to_have_text(re.compile("// 합성곱"))
    page = reader.open(reader.page.context, "jobs")
    expect(page.get_by_role("link", name="made by MLflow alone")).to_be_visible()
    expect(page.get_by_role("link", name="trial lr=0.5")).to_have_count(0)
    page.get_by_role("checkbox", name="With child runs").check()
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("link", name="trial lr=0.5")).to_be_visible()
    page = reader.open(reader.page.context, "models/mnist-triton/1")
    expect(page.get_by_role("row").filter(has_text="PyTorch")).to_contain_text("1/model.pt 2/model.pt")
    page = reader.open(reader.page.context, "models/mnist-cnn/1")
    expect(page.get_by_text("mnist-cnn/1/model.pt")).to_be_visible()

    # What is folded and chosen stays so while something new comes.
    workspace.submit("lives", "while sleep 0.2; do echo tick; done")
    workspace.reach("lives", "Running")
    workspace.run("first child", "RUNNING", parent="lives")
    page = reader.open(reader.page.context, "jobs/lives")
    folder = page.locator("details[data-path=user_logs]")
    folder.locator("summary").click()
    expect(folder).not_to_have_attribute("open", "")
    page.get_by_role("checkbox").check()
    size = folder.locator(".quiet").text_content()
    workspace.run("second child", "RUNNING", parent="lives")
    expect(page.get_by_role("checkbox")).to_have_count(2)
    expect(folder.locator(".quiet")).not_to_have_text(size)
    expect(folder).not_to_have_attribute("open", "")
    expect(page.get_by_role("checkbox").first).to_be_checked()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".steps")).to_contain_text("Canceled")

    # With the policy, too, nothing of it runs; and without JavaScript everything can be read.
    page = reader.open(reader.page.context, "jobs/hostile")
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    expect(page.get_by_role("log")).to_contain_text("<script>")
    assert page.evaluate("window.hit") is None
    page = reader.open(reader.another(java_script_enabled=False), "jobs/digits-1")
    expect(page.get_by_role("log")).to_contain_text("Train Epoch: 4")
    expect(page.locator("figure svg")).to_have_count(2)

    # By the keyboard alone: past the navigation, into the list, to a job.
    page = reader.open(reader.page.context, "jobs")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('th a')"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/studio/jobs/*")
    reader.done()


def long_log(chromium, workspace, pictures):
    """A line of a gigabyte, and a log of a hundred megabytes: the page stays usable."""
    workspace.submit("line", "echo begun; head -c 1000000000 /dev/zero | tr '\\0' x; echo; echo needle", displayName="one long line")
    workspace.reach("line", "Running", "Finalizing", "Completed")
    reader = Reader(chromium, workspace, workspace.link("line"), pictures)
    page = reader.page
    log = page.get_by_role("log")
    expect(log).to_contain_text("needle", timeout=TRAINING_TAKES_AT_MOST)
    expect(page.locator(".steps li").last).to_have_class(re.compile("Completed(?! coming)"))
    assert log.evaluate("log => log.textContent.length") < 1 << 20
    assert at_end(log)
    page.get_by_label("Find in the log").fill("NEEDLE")
    page.get_by_role("button", name="Find").click()
    expect(page.locator(".found li")).to_have_text(["needle"])
    page.locator(".found a").click()
    expect(page.locator("pre.log")).to_contain_text("needle")

    workspace.submit("lines", "seq -f 'Train Epoch: %010.0f  Loss: 0.25 and what else there is to say about it' 1300000; echo done")
    page = reader.open(page.context, "jobs/lines")
    log = page.get_by_role("log")
    # As it is written, and nothing is long in coming: a frame is drawn all the while.
    page.evaluate("""() => {
        window.slowest = 0;
        let last = performance.now();
        const frame = now => { window.slowest = Math.max(window.slowest, now - last); last = now; requestAnimationFrame(frame); };
        requestAnimationFrame(frame);
    }""")
    expect(log).to_contain_text("done", timeout=TRAINING_TAKES_AT_MOST)
    expect(log).to_contain_text("0001300000")
    assert log.evaluate("log => log.textContent.length") < 1 << 20
    print(f"the longest frame took {page.evaluate('window.slowest'):.0f} ms")
    reader.picture(page, "long-log")
    reader.done()


SCENES = {"visits": visits, "pages": pages, "long_log": long_log}


def main():
    scene, url, token, pictures, *links = sys.argv[1:]
    pictures = Path(pictures)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=os.environ["AZUREML_TEST_CHROMIUM"])
        try:
            SCENES[scene](chromium, Workspace(url, token), pictures, *links)
        except BaseException:
            pages = [page for context in chromium.contexts for page in context.pages]
            for number, page in enumerate(pages):
                page.screenshot(path=pictures / f"{scene}-failed-{number}.png")
            raise
        finally:
            chromium.close()


main()
