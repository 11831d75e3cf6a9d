"""What the official azure-ai-ml client downloads from the local workspace, and what it is told is not there.

Usage: azure_ai_ml_downloads.py URL TOKEN. Prints one JSON object of what the client saw.
"""

from azure_session import client, ended, files, quietly, report, root, url  # first: it silences the client

from azure.ai.ml import Output, command
from azure.ai.ml.entities import AzureBlobDatastore, Data, Environment, Model
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, ContentSettings

seen = {}

job = client.jobs.create_or_update(
    command(
        command=(
            "mkdir -p outputs/model/deep && echo weights > outputs/model/weights.txt && echo deep > outputs/model/deep/a.txt"
            " && echo other > outputs/model2.txt && echo table > ${{outputs.table}}/table.csv"
            " && echo net > ${{outputs.net}}/net.txt"
        ),
        environment="rust-tch-gpu:1",
        compute="cpu-cluster",
        experiment_name="downloads",
        outputs={"table": Output(type="uri_folder"), "net": Output(type="custom_model")},
    )
)
seen["job"] = ended(job.name)

for name, named in {"table": {"output_name": "table"}, "net": {"output_name": "net"}, "all": {"all": True}}.items():
    target = root / "jobs" / name
    quietly(client.jobs.download, job.name, download_path=target, **named)
    seen[f"download {name}"] = {path: text for path, text in files(target).items() if "_log" not in path}

local = root / "net"
(local / "deep").mkdir(parents=True)
(local / "net.txt").write_text("local\n")
(local / "deep" / "b.txt").write_text("deep\n")
paths = {
    "by-job": f"azureml://jobs/{job.name}/outputs/artifacts/paths/outputs/model/",
    "by-output": f"azureml://jobs/{job.name}/outputs/net",
    "by-run": f"runs:/{job.name}/outputs/model",
    "by-file": f"azureml://jobs/{job.name}/outputs/artifacts/paths/outputs/model2.txt",
    "by-upload": str(local),
}
for name, path in paths.items():
    model = client.models.create_or_update(Model(name=name, path=path, type="custom_model"))
    again = client.models.get(name, version=model.version)
    target = root / "models"
    quietly(client.models.download, name, model.version, download_path=str(target))
    seen[name] = {"version": model.version, "files": files(target / name), "same": again.path == model.path}
    seen[f"{name} at"] = again.path.split("/datastores/")[-1].replace(job.name, "NAME") if name != "by-upload" else None

# Archiving all versions of a name, and back.
client.environments.create_or_update(Environment(name="mine", version="1", image="ubuntu:24.04"))
client.data.create_or_update(Data(name="numbers", version="1", path=str(local), type="uri_folder"))
for kind, operations, name in [
    ("models", client.models, "by-job"),
    ("environments", client.environments, "mine"),
    ("data", client.data, "numbers"),
]:
    listed = lambda **view: name in [item.name for item in operations.list(**view)]  # noqa: E731
    before = listed()
    operations.archive(name)
    hidden = not listed()
    operations.restore(name)
    seen[f"archive {kind}"] = [before, hidden, listed()]

seen["workspaces"] = [
    [workspace.name for workspace in client.workspaces.list(scope=scope)] for scope in ("resource_group", "subscription")
]


def refusal(call):
    """What the client is told."""
    try:
        answer = call()
        return f"no refusal: {list(answer) if hasattr(answer, '__iter__') else answer}"
    except HttpResponseError as error:
        return str(error)


from azure.ai.ml.entities import ManagedOnlineEndpoint, WorkspaceConnection  # noqa: E402

seen["refusals"] = {
    "components": refusal(lambda: list(client.components.list())),
    "component": refusal(lambda: client.components.get("x", version="1")),
    "schedules": refusal(lambda: list(client.schedules.list())),
    "endpoints": refusal(lambda: list(client.online_endpoints.list())),
    "endpoint": refusal(lambda: client.online_endpoints.get("x")),
    "batch endpoints": refusal(lambda: list(client.batch_endpoints.list())),
    "registries": refusal(lambda: list(client.registries.list())),
    "connections": refusal(lambda: list(client.connections.list())),
    "sizes": refusal(lambda: list(client.compute.list_sizes())),
    "other workspace": refusal(lambda: client.workspaces.get("other")),
    "datastore": refusal(
        lambda: client.datastores.create_or_update(AzureBlobDatastore(name="mine", account_name="a", container_name="b"))
    ),
    "delete datastore": refusal(lambda: client.datastores.delete("workspaceblobstore")),
}

# Properties of blobs, as the storage client sends and reads them.
place = client.datastores.get("workspaceblobstore", include_secrets=True)
blob = BlobClient(f"{url}/{place.account_name}", place.container_name, "settings.csv", credential=place.credentials.sas_token)
settings = ContentSettings("text/csv", "x-plain", "ko", "attachment", "max-age=60")
blob.upload_blob(b"1,2\n" * 3, content_settings=settings, metadata={"kind": "table"}, overwrite=True)
kept = blob.get_blob_properties()
seen["settings"] = {
    **{name: kept.content_settings[name] for name in ("content_type", "content_encoding", "content_language", "cache_control")},
    "metadata": kept.metadata,
}
copy = BlobClient(f"{url}/{place.account_name}", place.container_name, "copy.csv", credential=place.credentials.sas_token)
copy.start_copy_from_url(blob.url)
seen["copy"] = [copy.download_blob().readall().decode(), copy.get_blob_properties().content_settings.content_type]

report(seen)
