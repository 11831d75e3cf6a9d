"""The official mlflow client against the local workspace.

Usage: mlflow_client.py URL TOKEN. Prints one JSON object of what the client saw.
"""

import json
import math
import os
import sys
import tempfile
from pathlib import Path

WORKSPACE = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local"
    "/providers/Microsoft.MachineLearningServices/workspaces/local"
)

url, token = sys.argv[1:3]
# Only the result goes to standard output; what the client says is not part of it.
result, sys.stdout = sys.stdout, sys.stderr
os.environ["MLFLOW_TRACKING_URI"] = f"{url}/mlflow/v2.0{WORKSPACE}"
os.environ["MLFLOW_TRACKING_TOKEN"] = token
# An error is to be seen at once, not after minutes of trying again.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"

import mlflow  # noqa: E402  (reads the environment)
from mlflow.entities import Metric, Param, RunTag, ViewType  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

seen = {"version": mlflow.__version__}
client = mlflow.MlflowClient()

mlflow.set_experiment("mlflow-client")
with mlflow.start_run(run_name="first", tags={"made": "here"}) as run:
    mlflow.log_param("epochs", 2)
    mlflow.log_params({"lr": 1.0, "optimizer": "adadelta"})
    for step, loss in enumerate([0.9, 0.5, 0.25]):
        mlflow.log_metric("loss", loss, step=step)
    mlflow.log_metrics({"accuracy": 98.5, "odd": math.nan, "huge": math.inf}, step=3)
    mlflow.set_tag("kind", "test")
    mlflow.set_tags({"passing": "1", "gone": "1"})
    mlflow.delete_tag("gone")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "note.txt")
        path.write_text("hello\n")
        mlflow.log_artifact(str(path), "outputs/notes")
    mlflow.log_text("plain", "text/plain.txt")
    mlflow.log_dict({"a": 1}, "dict.json")
    with mlflow.start_run(run_name="child", nested=True) as child:
        mlflow.log_metric("loss", 0.1)
run_id = run.info.run_id

found = client.get_run(run_id)
seen["run"] = {
    "name": found.info.run_name,
    "status": found.info.status,
    "ended": found.info.end_time >= found.info.start_time,
    "lifecycle": found.info.lifecycle_stage,
    "params": dict(sorted(found.data.params.items())),
    "loss": found.data.metrics["loss"],
    "accuracy": found.data.metrics["accuracy"],
    "odd_is_nan": math.isnan(found.data.metrics["odd"]),
    "huge_is_infinite": math.isinf(found.data.metrics["huge"]),
    "tags": {key: value for key, value in sorted(found.data.tags.items()) if not key.startswith("mlflow.")},
}
seen["history"] = [[metric.step, metric.value] for metric in client.get_metric_history(run_id, "loss")]

# More values than one page holds.
many = mlflow.MlflowClient().create_run(found.info.experiment_id, run_name="many")
for start in range(0, 2500, 1000):
    values = [Metric("steps", float(step), step, step) for step in range(start, min(start + 1000, 2500))]
    client.log_batch(many.info.run_id, metrics=values, params=[Param(f"p{start}", "1")], tags=[RunTag("t", "1")])
client.set_terminated(many.info.run_id, "FAILED")
history = client.get_metric_history(many.info.run_id, "steps")
seen["many"] = {
    "values": len(history),
    "in_order": [metric.step for metric in history] == list(range(2500)),
    "status": client.get_run(many.info.run_id).info.status,
}

experiment_id = found.info.experiment_id
seen["search"] = {
    "all": sorted(run.info.run_name for run in client.search_runs([experiment_id])),
    "by_metric": [run.info.run_name for run in client.search_runs([experiment_id], "metrics.accuracy > 98")],
    "by_param": [run.info.run_name for run in client.search_runs([experiment_id], "params.optimizer = 'adadelta'")],
    "by_status": [run.info.run_name for run in client.search_runs([experiment_id], "attributes.status = 'FAILED'")],
    "by_tag": [run.info.run_name for run in client.search_runs([experiment_id], "tags.kind LIKE 'te%'")],
    "ordered": [
        run.info.run_name for run in client.search_runs([experiment_id], order_by=["metrics.loss ASC"])
    ],
    "parent": [
        run.info.run_name
        for run in client.search_runs([experiment_id], f"tags.mlflow.parentRunId = '{run_id}'")
    ],
}
pages, token_of_page = [], None
while True:
    page = client.search_runs([experiment_id], max_results=2, page_token=token_of_page)
    pages.append(len(page))
    token_of_page = page.token
    if not token_of_page:
        break
seen["pages"] = pages

seen["artifacts"] = {
    "root": sorted(item.path for item in client.list_artifacts(run_id)),
    "folder": sorted((item.path, item.is_dir, item.file_size) for item in client.list_artifacts(run_id, "outputs/notes")),
    "note": Path(client.download_artifacts(run_id, "outputs/notes/note.txt")).read_text(),
    "text": mlflow.artifacts.load_text(f"runs:/{run_id}/text/plain.txt"),
    "whole": sorted(
        str(path.relative_to(folder))
        for folder in [Path(client.download_artifacts(run_id, ""))]
        for path in folder.rglob("*")
        if path.is_file()
    ),
}

client.delete_run(child.info.run_id)
seen["after_delete"] = sorted(run.info.run_name for run in client.search_runs([experiment_id]))
seen["deleted"] = [
    run.info.run_name for run in client.search_runs([experiment_id], run_view_type=ViewType.DELETED_ONLY)
]
client.restore_run(child.info.run_id)
seen["restored"] = client.get_run(child.info.run_id).info.lifecycle_stage

seen["experiments"] = sorted(
    experiment.name for experiment in client.search_experiments(filter_string="name LIKE 'mlflow%'")
)
seen["experiment"] = client.get_experiment_by_name("mlflow-client").experiment_id == experiment_id
seen["no_experiment"] = client.get_experiment_by_name("nobody-made-this") is None


def refused(call):
    """The error code of a call that must fail."""
    try:
        call()
    except MlflowException as error:
        return error.error_code
    return None


seen["errors"] = {
    "unknown_run": refused(lambda: client.get_run("nobody")),
    "changed_param": refused(lambda: client.log_param(run_id, "epochs", 3)),
    "same_experiment": refused(lambda: client.create_experiment("mlflow-client")),
    "bad_filter": refused(lambda: client.search_runs([experiment_id], "metrics.loss !! 3")),
}

# Runs of the jobs that the workspace has run, whoever logged to them.
seen["jobs"] = {
    run.info.run_id: {
        "experiment": experiment.name,
        "status": run.info.status,
        "metrics": dict(sorted(run.data.metrics.items())),
        "params": dict(sorted(run.data.params.items())),
        "histories": {
            key: [[metric.step, metric.value] for metric in client.get_metric_history(run.info.run_id, key)]
            for key in sorted(run.data.metrics)
        },
    }
    for experiment in client.search_experiments()
    if experiment.name != "mlflow-client"
    for run in client.search_runs([experiment.experiment_id])
}

print(json.dumps(seen), file=result)
