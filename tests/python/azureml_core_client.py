"""A job whose script uses SDK v1 (azureml-core), in the local workspace.

Usage: azureml_core_client.py URL TOKEN. Prints one JSON object of what became of the job.
"""

import json
import pathlib
import sys
import tempfile

from azureml_job import WORKSPACE, Service

service = Service(*sys.argv[1:])
script = pathlib.Path(__file__).with_name("azureml_core_train.py")
# It keeps what it finds out in its user's home.
with tempfile.TemporaryDirectory() as home:
    details, lines = service.run("v1", f"'{sys.executable}' '{script}'", {"HOME": home})
address = f"/mlflow/v2.0{WORKSPACE}/api/2.0/mlflow/metrics/get-history?run_id=v1&metric_key=loss"
history = service.ask("GET", address)
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
