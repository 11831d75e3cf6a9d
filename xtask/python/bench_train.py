"""Measures a training program from outside and says what comes out, one JSON object a line.

    bench_train.py measure COMMAND…       runs a program that prints as the workshop's train.py does
    bench_train.py data FROM TO COUNT     writes MNIST with the first COUNT pictures to learn from

Events: {"at": what the program does now}, {"sample": name, "value": number}; at the end {"cpu": seconds of processor
time that the program took}.

What is measured: `first_batch`, seconds from the start of the process to its first loss; `images_per_s` between the first
and the last line of an epoch, so without testing; `job`, seconds from start to end; `memory`, the most that the process
itself held, in MB; `accuracy` after the last epoch, in percent.
"""

import gzip
import json
import os
import pathlib
import re
import subprocess
import sys
import time

PROGRESS = re.compile(r"Train Epoch: (\d+) \[(\d+)/(\d+) ")
ACCURACY = re.compile(r"Accuracy: (\d+)/(\d+) ")


def say(**event):
    print(json.dumps(event), flush=True)


def measure(*command):
    begin = time.monotonic()
    epochs, accuracy = {}, None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        for line in program.stdout:
            now = time.monotonic() - begin
            if found := PROGRESS.match(line):
                epoch, seen, total = map(int, found.groups())
                epochs.setdefault(epoch, []).append((now, seen))
                say(at=f"epoch {epoch}, {seen} of {total}")
            elif found := ACCURACY.search(line):
                accuracy = 100 * int(found[1]) / int(found[2])
        _, status, used = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
    job = time.monotonic() - begin
    if program.returncode != 0 or accuracy is None:
        sys.exit(f"{command[0]} ended with {program.returncode} and accuracy {accuracy}")
    say(sample="first_batch", value=epochs[1][0][0])
    for lines in epochs.values():
        (start, first), (end, last) = lines[0], lines[-1]
        say(sample="images_per_s", value=(last - first) / (end - start))
    say(sample="job", value=job)
    say(sample="memory", value=used.ru_maxrss / 1024)
    say(sample="accuracy", value=accuracy)
    say(cpu=used.ru_utime + used.ru_stime)


def data(origin, target, count):
    target = pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    for name, header, entry in (
        ("train-images-idx3-ubyte", 16, 784),
        ("train-labels-idx1-ubyte", 8, 1),
        ("t10k-images-idx3-ubyte", 16, 784),
        ("t10k-labels-idx1-ubyte", 8, 1),
    ):
        content = bytearray(gzip.decompress((pathlib.Path(origin) / f"{name}.gz").read_bytes()))
        if name.startswith("train"):
            content[4:8] = int(count).to_bytes(4, "big")
            content = content[: header + int(count) * entry]
        (target / name).write_bytes(content)


if __name__ == "__main__":
    {"measure": measure, "data": data}[sys.argv[1]](*sys.argv[2:])
