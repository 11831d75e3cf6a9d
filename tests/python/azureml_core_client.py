"""A job whose script uses SDK v1 (azureml-core), in the local workspace.

Usage: azureml_core_client.py URL TOKEN. Prints one JSON object of what became of the job.
"""

import json
import pathlib
import sys
import tempfile
import time
import urllib.request

url, token = sys.argv[1:]
WORKSPACE = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local"
    "/providers/Microsoft.MachineLearningServices/workspaces/local"
)
HISTORY = f"/history/v1.0{WORKSPACE}/runs/v1"


def ask(method, path, body=None):
    request = urllib.request.Request(
        url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)


script = pathlib.Path(__file__).with_name("azureml_core_train.py")
# It keeps what it finds out in its user's home.
with tempfile.TemporaryDirectory() as home:
    job = {
        "jobType": "Command",
        "command": f"'{sys.executable}' '{script}'",
        "environmentId": "azureml:rust-tch-gpu:1",
        "computeId": f"{WORKSPACE}/computes/cpu-cluster",
        "experimentName": "v1",
        "environmentVariables": {"HOME": home},
    }
    ask("PUT", f"{WORKSPACE}/jobs/v1", {"properties": job})
    deadline = time.monotonic() + 120
    while (details := ask("GET", f"{HISTORY}/details"))["status"] not in ["Completed", "Failed", "Canceled"]:
        assert time.monotonic() < deadline, details
        time.sleep(0.1)
with urllib.request.urlopen(details["logFiles"]["user_logs/std_log.txt"]) as log:
    lines = log.read().decode().splitlines()
history = ask("GET", f"/mlflow/v2.0{WORKSPACE}/api/2.0/mlflow/metrics/get-history?run_id=v1&metric_key=loss")
print(
    json.dumps(
        {
            "status": details["status"],
            "error": details["error"],
            "tags": details["tags"],
            "made": details["properties"].get("made"),
            "lines": lines,
            "losses": [metric["value"] for metric in history["metrics"]],
        }
    )
)
