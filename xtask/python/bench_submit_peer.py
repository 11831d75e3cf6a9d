"""The official client's side of `cargo xtask bench submit`; `tests/examples/submit.rs` does the same by the SDK.

    bench_submit_peer.py URL TOKEN ROW=FOLDER…

Submits each folder as the code of a job, in this order, and says how long each took until the job was accepted; the next
one begins when the job has ended. The row `log` is the job whose log is streamed to standard output instead.
"""

import json
import pathlib
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).parents[2] / "tests/python"))

import azure_loopback  # noqa: E402
from azure.ai.ml import command  # noqa: E402

url, token, *rows = sys.argv[1:]
with tempfile.TemporaryDirectory() as own:
    client = azure_loopback.connect(url, token, pathlib.Path(own))
    client.workspaces.get("local")
    for argument in rows:
        row, folder = argument.split("=", 1)
        job = command(
            command="python3 clock.py" if row == "log" else "true",
            code=folder,
            environment="rust-tch-gpu:1",
            compute="cpu-cluster",
            experiment_name="bench",
        )
        begin = time.monotonic()
        job = client.jobs.create_or_update(job)
        if row == "log":
            client.jobs.stream(job.name)
        else:
            print(json.dumps({"sample": row, "value": time.monotonic() - begin}), flush=True)
            while client.jobs.get(job.name).status not in ("Completed", "Failed", "Canceled"):
                time.sleep(0.2)
