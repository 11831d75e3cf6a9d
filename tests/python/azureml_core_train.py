"""A training script as SDK v1's examples have it: it finds its run, logs to it and keeps a model."""

import os
import pathlib
import tempfile

from azureml.core import Datastore, Run

run = Run.get_context(allow_offline=False)
print("run", run.id, "of", run.experiment.name, "in", run.experiment.workspace.name)
for loss in [0.5, 0.25]:
    run.log("loss", loss)
run.log("steps", 3)
run.log("device", "cpu")
run.log_list("accuracies", [0.1, 0.2, 0.2])
run.log_row("once", number=1, accuracy=0.3)
for epoch in range(2):
    run.log_row("epoch", number=epoch, note=f"epoch {epoch}")
run.log_table("table", {"x": [1, 2], "y": [0.5, 0.25]})
run.tag("kind", "v1")
run.add_properties({"made": "by v1"})
pathlib.Path("outputs/model.txt").write_text("weights\n")
run.flush()
for name, value in sorted(run.get_metrics().items()):
    print(name, value)
print("by name", run.get_metrics("epoch"))
print(run.get_status(), run.get_tags(), "outputs/model.txt" in run.get_file_names())

with tempfile.TemporaryDirectory() as folder:
    run.download_file("outputs/model.txt", f"{folder}/one.txt")
    run.download_files(prefix="outputs", output_directory=folder)
    for name in ["one.txt", "outputs/model.txt"]:
        print("downloaded", name, pathlib.Path(folder, name).read_text().strip())
store = Datastore.get(run.experiment.workspace, "workspaceblobstore")
print("datastore", store.name, store.datastore_type, store.container_name)


def refused(name, call):
    """Prints the hint of a call that must fail, and fail at once."""
    try:
        call()
    except Exception as error:
        print("refused", name, "UploadNeedsHttps" in str(error), "hint: write the file to" in str(error))


pathlib.Path("picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
refused("upload_file", lambda: run.upload_file("extra/model.txt", "outputs/model.txt"))
refused("upload_folder", lambda: run.upload_folder("extra", "outputs"))
refused("log_image", lambda: run.log_image("picture", path="picture.png"))
run.complete()
# Without this address, the workspace itself says where its services are.
del os.environ["AZUREML_DISCOVERY_SERVICE_ENDPOINT"]
experiment, again = Run._load_scope()
print("again", again, "in", experiment.workspace.name)
