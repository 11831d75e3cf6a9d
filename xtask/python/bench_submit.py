"""Measures submitting to a local workspace of its own from outside, one JSON object a line.

    bench_submit.py FOLDER LOCAL LAB ours|peer PROGRAM…

FOLDER is made, and left; LOCAL is the local workspace's program, LAB the folder of the lab's script. PROGRAM gets
ROW=FOLDER for each job, `peer` the workspace's address and token before them.

Events: {"at": what is done now}, {"sample": name, "value": number}; at the end {"cpu": seconds of processor time that
the program and the local workspace took}.

What is measured, all with clients that are loaded and connected, and while no job runs: `submit`, seconds from the call
to the accepted job with the lab's script as its code, which nobody has uploaded before; `submit_unchanged`, the same again;
`submit_2k_files` with 2,000 files; `submit_10k_tree` with 10,000, of which 9,000 are ignored; `log_latency`, seconds
from a line of a job to that line on standard output; `memory`, the most that the client held, in MB.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import uuid

LINES = 10
# Lines come at moments that have nothing to do with anybody's polls.
CLOCK = f"""import time
for number in range({LINES}):
    time.sleep(1.37)
    print("tick", time.time(), flush=True)
time.sleep(1.37)
"""


def say(**event):
    print(json.dumps(event), flush=True)


def tree(folder, count, ignored=0):
    """A folder of files, many of them in folders of a hundred that .amlignore names."""
    folder.mkdir()
    for number in range(count):
        below = folder / ("data" if number < ignored else "src") / str(number // 100)
        below.mkdir(parents=True, exist_ok=True)
        (below / f"{number}.txt").write_text(f"file {number}\n" * 20)
    if ignored:
        (folder / ".amlignore").write_text("data/\n")


def fresh(folder):
    """Nobody has uploaded this content before."""
    (folder / "unique.txt").write_text(str(uuid.uuid4()))


def main(folder, local, lab, who, *program):
    folder = pathlib.Path(folder)
    home = folder / "home"
    home.mkdir(parents=True)
    say(at="making files")
    shutil.copytree(lab, folder / "script", ignore=shutil.ignore_patterns("target"))
    tree(folder / "2k", 1999)
    tree(folder / "10k", 10_000, 9000)
    (folder / "clock").mkdir()
    (folder / "clock/clock.py").write_text(CLOCK)
    for name in ("script", "2k", "10k", "clock"):
        fresh(folder / name)
    rows = [
        f"submit={folder}/script",
        f"submit_unchanged={folder}/script",
        f"submit_2k_files={folder}/2k",
        f"submit_10k_tree={folder}/10k",
        f"log={folder}/clock",
    ]
    environment = {**os.environ, "AZUREML_LOCAL_HOME": str(home), "AZUREML_LOCAL_BIN": local}
    server = subprocess.Popen([local, "serve"], env=environment, stdout=subprocess.DEVNULL)
    try:
        file = home / "server.json"
        while not file.exists():
            time.sleep(0.02)
        where = json.loads(file.read_text())
        address = [where["url"], where["token"]] if who == "peer" else []
        command = [*program, *address, *rows]
        ticks = 0
        with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as client:
            for line in client.stdout:
                now = time.time()
                if line.startswith("{"):
                    print(line, end="", flush=True)
                    say(at=json.loads(line)["sample"])
                elif line.startswith("tick "):
                    ticks += 1
                    say(sample="log_latency", value=now - float(line.split()[1]))
            _, status, used = os.wait4(client.pid, 0)
            client.returncode = os.waitstatus_to_exitcode(status)
        if client.returncode != 0 or ticks != LINES:
            sys.exit(f"{program[0]} ended with {client.returncode} and showed {ticks} lines")
        say(sample="memory", value=used.ru_maxrss / 1024)
    finally:
        server.send_signal(signal.SIGTERM)
        _, _, served = os.wait4(server.pid, 0)
        server.returncode = 0
    say(cpu=sum(one.ru_utime + one.ru_stime for one in (used, served)))


main(*sys.argv[1:])
