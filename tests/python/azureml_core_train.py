"""A training script as SDK v1's examples have it: it finds its run, logs to it and keeps a model."""

import os
import pathlib

from azureml.core import Run

run = Run.get_context(allow_offline=False)
print("run", run.id, "of", run.experiment.name, "in", run.experiment.workspace.name)
for loss in [0.5, 0.25]:
    run.log("loss", loss)
run.log_list("accuracies", [0.1, 0.2])
run.log_row("epoch", number=1, accuracy=0.3)
run.tag("kind", "v1")
run.add_properties({"made": "by v1"})
pathlib.Path("outputs/model.txt").write_text("weights\n")
run.flush()
for name, value in sorted(run.get_metrics().items()):
    print(name, value)
print(run.get_status(), run.get_tags(), "outputs/model.txt" in run.get_file_names())
run.complete()
# Without this address, the workspace itself says where its services are.
del os.environ["AZUREML_DISCOVERY_SERVICE_ENDPOINT"]
experiment, again = Run._load_scope()
print("again", again, "in", experiment.workspace.name)
