"""The official azure-ai-ml client against the local workspace.

Usage: azure_ai_ml_client.py URL TOKEN. Prints one JSON object of what the client saw.
"""

import json

from azure_session import client, ended, printed, quietly, report, root, url  # first: it silences the client

from azure.ai.ml import Input, Output, command
from azure.ai.ml.entities import AmlCompute, Environment, Model
from azure.core.exceptions import ResourceNotFoundError

seen = {}
workspace = client.workspaces.get("local")
seen["workspace"] = {
    "name": workspace.name,
    "location": workspace.location,
    "tracks_here": workspace.mlflow_tracking_uri.startswith(url),
}
seen["computes"] = {compute.name: compute.type for compute in client.compute.list()}
cluster = client.compute.get("cc-aml-gpu")
seen["cluster"] = {"max": cluster.max_instances, "min": cluster.min_instances, "state": cluster.provisioning_state}

seen["environments"] = sorted(environment.name for environment in client.environments.list())
seen["latest"] = client.environments.get("rust-tch-gpu", label="latest").version
client.environments.create_or_update(Environment(name="mine", version="1", image="ubuntu:24.04", description="made here"))
seen["made"] = client.environments.get("mine", version="1").description
try:
    client.environments.get("nobody-made-this", version="1")
except ResourceNotFoundError as error:
    seen["missing"] = type(error).__name__

source = root / "source"
source.mkdir()
(source / "data").mkdir()
(source / "main.py").write_text(
    "import os, pathlib, sys\n"
    "print('arguments', *sys.argv[1:])\n"
    "print('data', pathlib.Path(sys.argv[2], 'numbers.txt').read_text().strip())\n"
    "print('helper', pathlib.Path('data/helper.txt').read_text().strip())\n"
    "print('run', os.environ['AZUREML_RUN_ID'])\n"
    "pathlib.Path('outputs/model').mkdir(parents=True)\n"
    "pathlib.Path('outputs/model/weights.txt').write_text('1 2 3\\n')\n"
    "pathlib.Path(sys.argv[3], 'named.txt').write_text('named\\n')\n"
)
(source / "data" / "helper.txt").write_text("from a folder\n")
data = root / "dataset"
data.mkdir()
(data / "numbers.txt").write_text("7 8 9\n")


def submit(line, **more):
    """Submits a command on the CPU cluster."""
    return client.jobs.create_or_update(
        command(
            command=line,
            code=str(source),
            environment="rust-tch-gpu:1",
            compute="cpu-cluster",
            experiment_name="official-client",
            **more,
        )
    )


def streamed(name):
    """What the client prints while it streams a job."""
    return printed(client.jobs.stream, name)


job = submit(
    "python3 main.py ${{inputs.epochs}} ${{inputs.data}} ${{outputs.result}}",
    display_name="official",
    inputs={"epochs": 2, "data": Input(type="uri_folder", path=str(data))},
    outputs={"result": Output(type="uri_folder")},
    tags={"made": "here"},
)
seen["submitted"] = {
    "status": job.status,
    "studio": job.studio_url.startswith(url),
    "experiment": job.experiment_name,
}
text = streamed(job.name)
seen["stream"] = {
    "run_id": f"RunId: {job.name}" in text,
    "summary": "Execution Summary" in text,
    "lines": [
        line.replace(job.name, "NAME")
        for line in text.splitlines()
        if line.split(" ")[0] in ("data", "helper", "run")
    ],
}
done = client.jobs.get(job.name)
seen["done"] = {"status": done.status, "display_name": done.display_name, "tags": dict(done.tags)}

again = submit("true")
ended(again.name)
seen["same_code"] = again.code == job.code

failing = submit("echo about to fail; exit 3")
try:
    streamed(failing.name)
    seen["failure"] = None
except Exception as error:  # the client raises its own class with the service's text in it
    seen["failure"] = "exited with code 3" in str(error)

slow = submit("sleep 600")
client.jobs.begin_cancel(slow.name).result()
seen["canceled"] = ended(slow.name)

names = [listed.name for listed in client.jobs.list()]
seen["listed"] = [name in names for name in (job.name, again.name, failing.name, slow.name)]
client.jobs.archive(failing.name)
seen["archived_is_hidden"] = failing.name not in [listed.name for listed in client.jobs.list()]

target = root / "download"
quietly(client.jobs.download, job.name, download_path=str(target))
seen["downloaded"] = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
seen["weights"] = (target / "artifacts" / "outputs" / "model" / "weights.txt").read_text()

model = client.models.create_or_update(
    Model(name="from-job", path=f"azureml://jobs/{job.name}/outputs/artifacts/paths/outputs/model/", type="custom_model")
)
seen["model"] = [model.name, model.version]
local = root / "model.txt"
local.write_text("weights\n")
uploaded = client.models.create_or_update(Model(name="from-file", path=str(local)))
seen["uploaded_model"] = [uploaded.name, uploaded.version]
seen["models"] = sorted(listed.name for listed in client.models.list())
seen["model_again"] = client.models.get("from-job", label="latest").version

scored = submit(
    "cat ${{inputs.model}}/weights.txt",
    inputs={"model": Input(type="custom_model", path="azureml:from-job:1")},
)
streamed(scored.name)
seen["scored"] = client.jobs.get(scored.name).status

made = client.compute.begin_create_or_update(
    AmlCompute(name="made-here", size="STANDARD_DS3_V2", min_instances=0, max_instances=3)
).result()
seen["compute_made"] = [made.name, made.max_instances]
client.compute.begin_delete("made-here").wait()
seen["compute_gone"] = "made-here" not in [compute.name for compute in client.compute.list()]


def sweeps():
    """A sweep: what becomes of it, its trials and the best one's files."""
    from azure.ai.ml.sweep import Choice

    job = command(
        command="mkdir -p outputs && echo ${{inputs.lr}} > outputs/lr.txt && cat ${{inputs.data}}/numbers.txt",
        code=str(source),
        environment="rust-tch-gpu:1",
        compute="cpu-cluster",
        inputs={"lr": 0.1, "data": Input(type="uri_folder", path=str(data))},
    )
    job = job(lr=Choice(values=[0.5, 1.0, 2.0]))
    sweep = job.sweep(sampling_algorithm="grid", primary_metric="Accuracy", goal="maximize")
    sweep.set_limits(max_total_trials=3, max_concurrent_trials=2, timeout=600)
    sweep.experiment_name = "official-client"
    sweep.display_name = "three of them"
    sweep = client.jobs.create_or_update(sweep)
    text = streamed(sweep.name)
    done = client.jobs.get(sweep.name)
    children = list(client.jobs.list(parent_job_name=sweep.name))
    child = client.jobs.get(f"{sweep.name}_1")
    quietly(client.jobs.download, child.name, download_path=str(root / "trial"))
    names = [listed.name for listed in client.jobs.list()]
    refused = None
    try:
        again = job.sweep(sampling_algorithm="bayesian", primary_metric="Accuracy", goal="maximize")
        again.set_limits(max_total_trials=3)
        client.jobs.create_or_update(again)
    except Exception as error:  # the client raises its own class with the service's text in it
        refused = "not by Bayesian" in str(error)
    return {
        "type": done.type,
        "status": done.status,
        "display_name": done.display_name,
        "summary": "Execution Summary" in text,
        "space": {name: values.values for name, values in done.search_space.items()},
        "goal": [done.objective.goal, done.objective.primary_metric],
        "at_once": done.limits.max_concurrent_trials,
        "children": sorted(listed.name.replace(sweep.name, "NAME") for listed in children),
        "statuses": sorted({listed.status for listed in children}),
        "hyperparameters": json.loads(child.tags["hyperparameters"]),
        "lr": (root / "trial" / "artifacts" / "outputs" / "lr.txt").read_text(),
        "listed": [sweep.name in names, child.name in names],
        "refused": refused,
    }


def data_assets():
    """Data of both kinds, registered, found and listed."""
    from azure.ai.ml.entities import Data

    made = client.data.create_or_update(
        Data(name="numbers", path=str(data), type="uri_folder", description="three", tags={"made": "here"})
    )
    (data / "numbers.txt").write_text("7 8 9 10\n")
    client.data.create_or_update(Data(name="numbers", path=str(data), type="uri_folder"))
    single = client.data.create_or_update(Data(name="single", path=str(data / "numbers.txt"), type="uri_file"))
    latest = client.data.get("numbers", label="latest")
    first = client.data.get("numbers", version=made.version)
    reading = submit(
        "cat ${{inputs.numbers}}/numbers.txt",
        inputs={"numbers": Input(type="uri_folder", path=f"azureml:numbers:{latest.version}")},
    )
    return {
        "versions": [made.version, latest.version],
        "listed": sorted(version.version for version in client.data.list("numbers")),
        "all": sorted(listed.name for listed in client.data.list()),
        "first": [first.type, first.description, dict(first.tags)],
        "single": [single.type, single.path.endswith("/numbers.txt")],
        "read": ended(reading.name),
    }


seen["sweep"] = sweeps()
seen["data"] = data_assets()

report(seen)
