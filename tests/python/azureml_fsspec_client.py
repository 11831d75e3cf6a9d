"""A job whose script reads data through azureml-fsspec and mltable, in the local workspace.

Usage: azureml_fsspec_client.py URL TOKEN. Prints one JSON object of what the script has seen.
"""

import json
import pathlib
import sys
import tempfile

from azureml_job import NAMES, WORKSPACE, Service

service = Service(*sys.argv[1:])
service.upload("data/a.csv", b"a,b\n1,2\n")
service.upload("data/deep/b é.csv", b"c\n3\n")
uri = "azureml://datastores/workspaceblobstore/paths/data/a.csv"
service.ask("PUT", f"{WORKSPACE}/data/mine/versions/1", {"properties": {"dataType": "uri_file", "dataUri": uri}})
script = pathlib.Path(__file__).with_name("azureml_fsspec_train.py")
# It keeps logs in its user's home.
with tempfile.TemporaryDirectory() as home:
    command = f"'{sys.executable}' '{script}' {' '.join(NAMES)}"
    details, lines = service.run("reads", command, {"HOME": home})
seen = [json.loads(line.removeprefix("SEEN ")) for line in lines if line.startswith("SEEN ")]
# What else is in the log explains what is missing.
print(json.dumps({"status": details["status"], "seen": seen[0] if seen else lines[-40:]}))
