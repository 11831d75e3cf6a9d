"""What the official azure-ai-ml client sends for one environment of each kind and one job.

Usage: azure_ai_ml_submits.py URL TOKEN, in a folder that holds `source`, `dataset`, `table.csv` and `context`. The local
workspace records what is sent; nothing is printed but an empty JSON object.
"""

from pathlib import Path

from azure_session import client, report  # first: it silences the client

from azure.ai.ml import Input, Output, PyTorchDistribution, command
from azure.ai.ml.entities import BuildContext, Environment

folder = Path.cwd()

image = Environment(name="image", version="1", image="ubuntu:24.04", description="an image")
client.environments.create_or_update(image)
built = BuildContext(path=str(folder / "context"), dockerfile_path="Dockerfile")
client.environments.create_or_update(Environment(name="built", version="1", build=built))

job = command(
    command="python main.py ${{inputs.rate}} ${{inputs.folder}} ${{inputs.table}} ${{inputs.far}} "
    "${{outputs.result}} ${{outputs.named}}",
    code=str(folder / "source"),
    environment="image:1",
    compute="cpu-cluster",
    experiment_name="compared",
    display_name="a job",
    description="the same from two clients",
    tags={"lab": "02", "kind": "compared"},
    environment_variables={"EPOCHS": "3", "NAME": "a b"},
    inputs={
        "rate": 0.5,
        "count": 3,
        "word": "two words",
        "folder": Input(type="uri_folder", path=str(folder / "dataset"), mode="download"),
        "table": Input(type="uri_file", path=str(folder / "table.csv")),
        "far": Input(type="uri_folder", path="azureml://datastores/workspaceblobstore/paths/far/", mode="direct"),
        "mounted": Input(type="uri_folder", path="azureml://datastores/workspaceblobstore/paths/far/", mode="ro_mount"),
    },
    outputs={
        "result": Output(type="uri_folder", mode="upload"),
        "named": Output(
            type="uri_file", path="azureml://datastores/workspaceblobstore/paths/out/named.txt", mode="rw_mount"
        ),
        "kept": Output(type="uri_folder", name="kept"),
    },
    distribution=PyTorchDistribution(process_count_per_instance=2),
    instance_count=2,
    instance_type="Standard_D4s_v3",
    shm_size="4g",
    docker_args="--ipc=host",
    timeout=300,
)
client.jobs.create_or_update(job)
report({})
