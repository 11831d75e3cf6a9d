"""A job of the local workspace that runs a Python script, through its REST API alone."""

import json
import time
import urllib.request

NAMES = ("00000000-0000-0000-0000-000000000000", "local", "local")
WORKSPACE = "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/workspaces/{}".format(*NAMES)


class Service:
    """The local workspace at a URL."""

    def __init__(self, url, token):
        self.url, self.token = url, token

    def ask(self, method, path, body=None):
        """The JSON of a response."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def upload(self, path, content):
        """Puts a blob into the default datastore."""
        secrets = self.ask("POST", f"{WORKSPACE}/datastores/workspaceblobstore/listSecrets", {})
        place = f"{self.url}/azuremllocal/azureml-blobstore/{urllib.request.quote(path)}?{secrets['sasToken']}"
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": "text/csv"}
        urllib.request.urlopen(urllib.request.Request(place, method="PUT", data=content, headers=headers)).close()

    def run(self, name, command, variables):
        """Runs a job to its end. Gives its details and the lines of its log."""
        job = {
            "jobType": "Command",
            "command": command,
            "environmentId": "azureml:rust-tch-gpu:1",
            "computeId": f"{WORKSPACE}/computes/cpu-cluster",
            "experimentName": name,
            "environmentVariables": variables,
        }
        self.ask("PUT", f"{WORKSPACE}/jobs/{name}", {"properties": job})
        deadline = time.monotonic() + 180
        address = f"/history/v1.0{WORKSPACE}/runs/{name}/details"
        while (details := self.ask("GET", address))["status"] not in ["Completed", "Failed", "Canceled"]:
            assert time.monotonic() < deadline, details
            time.sleep(0.1)
        with urllib.request.urlopen(details["logFiles"]["user_logs/std_log.txt"]) as log:
            return details, log.read().decode().splitlines()
