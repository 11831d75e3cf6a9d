"""Measures a session with a kernel through Jupyter's own client and says what comes out, one JSON object a line.

    bench_kernel.py KERNEL SESSION CELL

KERNEL is the name of a kernelspec, SESSION one of the functions below; CELL is the first cell of the sessions that
need one (`dependency`, `azureml`). Each session has a kernel and a temporary folder of its own, both gone afterwards.

Events: {"at": what is measured now}, {"sample": name, "value": number}; at the end {"cpu": seconds that this process
and the kernel's took}.
"""

import json
import os
import queue
import resource
import signal
import statistics
import sys
import tempfile
import time

from jupyter_client.manager import KernelManager

ANSWER_TAKES_AT_MOST = 900
DYING_TAKES_AT_MOST = 20
SETTLING_TAKES_AT_MOST = 10
LINES = 100_000

STATEMENTS = [
    "let answer = 41 + 1;",
    'let name = String::from("azure");',
    "let mut list = vec![1, 2, 3];",
    "list.push(answer);",
    'println!("{name} {}", list.len());',
    "let squares: Vec<i32> = list.iter().map(|x| x * x).collect();",
    "let mut counts = std::collections::HashMap::new();\nfor x in &squares {\n    *counts.entry(x % 3).or_insert(0) += 1;\n}",
    "let total = squares.iter().sum::<i32>();",
    "let pair = (total, name.len());",
    'let text = format!("{pair:?}");',
]
EXPRESSIONS = [
    "answer + 1",
    "list.len()",
    "name.to_uppercase()",
    "squares.iter().max()",
    "total * 2",
    "(1..=10).product::<u64>()",
    "pair.0",
    "text.len()",
    "counts.len()",
    "format!(\"{name}!\")",
]
COMPLETED = ["name.to_upp", "list.le", "text.spl", "squares.it", "counts.ke"]
INSPECTED = ["name", "list", "text", "squares", "counts"]


class Failure(Exception):
    """What a reader is told; the kernel is to blame, or the machine."""


def say(**event):
    print(json.dumps(event), flush=True)


def tree(root):
    """A process and all below it."""
    children = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue  # It has just ended.
        children.setdefault(parent, []).append(int(pid))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def megabytes(pids):
    """Memory of processes; what several share is counted once."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            continue
    return total * 1024 / 1e6


def ticks(pids):
    """Processor time of processes."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:
                total += sum(int(field) for field in file.read().rpartition(")")[2].split()[11:13])
        except OSError:
            continue
    return total


class Kernel:
    """A started kernel and its client."""

    def __init__(self, name):
        self.folder = tempfile.TemporaryDirectory(prefix="bench-kernel-")
        # Neither reads the user's settings for it, nor leaves anything behind.
        own = {"TMPDIR": "tmp", "EVCXR_CONFIG_DIR": "config", "XDG_STATE_HOME": "state"}
        environment = {**os.environ, **{name: self.make(folder) for name, folder in own.items()}}
        environment.pop("EVCXR_TMPDIR", None)
        self.name = name
        self.manager = KernelManager(kernel_name=name)
        self.since = time.perf_counter()
        self.manager.start_kernel(env=environment, cwd=self.make("notebook"))
        self.client = self.manager.client()
        self.client.start_channels(hb=False, stdin=False)

    def make(self, folder):
        path = os.path.join(self.folder.name, folder)
        os.mkdir(path)
        return path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pids = tree(self.manager.provisioner.pid)
        self.client.stop_channels()
        self.manager.shutdown_kernel()
        deadline = time.monotonic() + DYING_TAKES_AT_MOST
        while any(os.path.exists(f"/proc/{pid}") for pid in pids):
            if time.monotonic() > deadline:
                alive = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
                for pid in alive:
                    os.kill(pid, signal.SIGKILL)
                raise Failure(f"{self.name} has been shut down, but {len(alive)} of its processes had to be killed")
            time.sleep(0.01)
        self.folder.cleanup()

    def message(self, channel, request):
        """The next message that belongs to a request."""
        deadline = time.monotonic() + ANSWER_TAKES_AT_MOST
        while True:
            try:
                message = channel.get_msg(timeout=1)
            except queue.Empty:
                if not self.manager.is_alive():
                    raise Failure(f"{self.name} has died") from None
                if time.monotonic() > deadline:
                    raise Failure(f"{self.name} did not answer within {ANSWER_TAKES_AT_MOST} s") from None
                continue
            if message["parent_header"].get("msg_id") == request:
                return message

    def reply(self, request):
        return self.message(self.client.shell_channel, request)["content"]

    def ready(self):
        """Seconds from the start until it says what it is."""
        self.reply(self.client.kernel_info())
        return time.perf_counter() - self.since

    def first(self, code):
        """Seconds from the start until the first cell is answered."""
        self.expect("ok", code, self.reply(self.client.execute(code)))
        took = time.perf_counter() - self.since
        self.listen()
        return took

    def listen(self):
        """Waits until broadcasts arrive: a subscription takes effect some time after the sockets are connected."""
        while True:
            request = self.client.kernel_info()
            self.reply(request)
            try:
                while True:
                    message = self.client.get_iopub_msg(timeout=0.2)
                    if message["parent_header"].get("msg_id") == request:
                        return
            except queue.Empty:
                pass

    def cell(self, code, expected="ok"):
        """Seconds until a cell is answered and its last output is there, and what it printed."""
        since = time.perf_counter()
        request = self.client.execute(code)
        printed = []
        while True:
            message = self.message(self.client.iopub_channel, request)
            content = message["content"]
            if message["msg_type"] == "stream":
                printed.append(content["text"])
            elif content.get("execution_state") == "idle":
                break
        reply = self.reply(request)
        took = time.perf_counter() - since
        self.expect(expected, code, reply)
        return took, "".join(printed)

    def expect(self, expected, code, reply):
        if reply["status"] != expected:
            why = f"{reply.get('ename', '')} {reply.get('evalue', '')}".strip()
            raise Failure(f"{self.name} answered `{reply['status']}` to the cell {code!r}: {why}")

    def cells(self, name, codes, expected="ok"):
        """Measures cells of a kind."""
        for number, code in enumerate(codes, 1):
            say(at=f"{name} {number}/{len(codes)}")
            say(sample=name, value=self.cell(code, expected)[0])

    def kind(self, name, code, expected="ok"):
        """Measures ten cells like one, after another that makes the preparations that only the first needs."""
        say(at=f"the first {name}")
        self.cell(code(0), expected)
        self.cells(name, [code(number) for number in range(1, 11)], expected)

    def asked(self, name, ask, codes):
        """Measures questions that are no cells, after the first one."""
        say(at=name)
        for number, code in enumerate([codes[-1], *codes]):
            since = time.perf_counter()
            reply = self.reply(ask(code, len(code)))
            took = time.perf_counter() - since
            self.expect("ok", code, reply)
            if number > 0:
                say(sample=name, value=took)

    def settle(self):
        """Waits until it does nothing more in the background."""
        deadline = time.monotonic() + SETTLING_TAKES_AT_MOST
        pids = tree(self.manager.provisioner.pid)
        before = ticks(pids)
        while time.monotonic() < deadline:
            time.sleep(0.5)
            pids = tree(self.manager.provisioner.pid)
            now = ticks(pids)
            if now - before <= 1:
                break
            before = now
        return pids


def cells(name, _):
    """All that is asked of a kernel without other crates."""
    with Kernel(name) as kernel:
        say(at="start")
        say(sample="ready", value=kernel.ready())
        say(at="first cell")
        say(sample="first_cell", value=kernel.first("let first = 1;"))
        kernel.cells("statement", STATEMENTS)
        say(at="memory")
        say(sample="memory", value=megabytes(kernel.settle()))
        kernel.cell("answer")
        kernel.cells("expression", EXPRESSIONS)
        kernel.asked("completion", kernel.client.complete, COMPLETED)
        kernel.asked("inspect", kernel.client.inspect, INSPECTED)
        kernel.kind("compile_error", lambda number: f'let wrong{number}: i32 = "text";', "error")
        kernel.kind("question_mark", lambda number: f'let parsed{number}: i32 = "{number}".parse()?;')
        kernel.kind("await", lambda number: f"let awaited{number}: i32 = std::future::ready({number}).await;")
        say(at="lines_100k")
        took, printed = kernel.cell(f'for line in 0..{LINES} {{\n    println!("{{line}}");\n}}')
        if printed.count("\n") != LINES:
            raise Failure(f"{name} printed {printed.count(chr(10))} lines of {LINES}")
        say(sample="lines_100k", value=took)


def growth(name, _):
    """A notebook of 200 cells: how much slower cell 200 is than cell 10, each the median of ten."""
    codes = []
    for part in range(40):
        codes += [
            f"fn step{part}(x: i64) -> i64 {{\n    x * {part} + 1\n}}",
            f"let value{part} = step{part}({part});",
            f"#[derive(Debug, Clone)]\nstruct Point{part} {{\n    x: i64,\n    y: i64,\n}}",
            f"let point{part} = Point{part} {{ x: value{part}, y: {part} }};",
            f"point{part}.x + point{part}.y",
        ]
    took = []
    with Kernel(name) as kernel:
        kernel.ready()
        kernel.first("let first = 1;")
        for number, code in enumerate(codes, 1):
            say(at=f"cell {number}/{len(codes)}")
            took.append(kernel.cell(code)[0])
    # Ten cells hold two of each kind, the first ten also what only a first cell pays for.
    say(sample="growth", value=statistics.median(took[-10:]) / statistics.median(took[5:15]))


def dependency(name, cell):
    """A cell that asks for crates with `:dep` and uses them."""
    with Kernel(name) as kernel:
        kernel.ready()
        kernel.first("let first = 1;")
        say(at="dep_new_kernel")
        say(sample="dep_new_kernel", value=kernel.cell(cell)[0])


def azureml(name, cell):
    """The SDK in the first cell, then the statements of `cells`."""
    with Kernel(name) as kernel:
        say(at="prelude_first_use")
        kernel.ready()
        say(sample="prelude_first_use", value=kernel.first(cell))
        kernel.cell("let first = 1;")
        kernel.cells("statement_with_azureml", STATEMENTS)


def main():
    name, session, cell = sys.argv[1:]
    # Whoever ends it ends the kernel, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        {"cells": cells, "growth": growth, "dependency": dependency, "azureml": azureml}[session](name, cell)
    except Failure as failure:
        print(f"error: {failure}", flush=True)
        return 1
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    say(cpu=sum(usage.ru_utime + usage.ru_stime for usage in used))
    return 0


sys.exit(main())
