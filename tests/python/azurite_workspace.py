"""A workspace whose blobs lie in a real blob service, and a check of its content.

Usage: azurite_workspace.py AZURITE ACCOUNT KEY. The first line of standard output is the workspace's address. Then each line of
standard input is a question in JSON, and each line of standard output its answer.

The calls to the blob service pass through here, so that they can be held, cut off and counted; the signatures in them are made by
the official library and checked by the blob service.
"""

import hashlib
import http.client
import json
import sys
import threading
import uuid
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from azure.storage.blob import (
    BlobServiceClient,
    ContainerSasPermissions,
    generate_container_sas,
)

azurite, account, key = sys.argv[1:]
VERSION = "2021-08-06"
service = BlobServiceClient(
    f"{azurite}/{account}", credential={"account_name": account, "account_key": key}, api_version=VERSION
)
DATASTORE = "data"
service.create_container(DATASTORE)
LOGS = "logs"
service.create_container(LOGS)
log = service.get_blob_client(LOGS, "user_logs/std_log.txt")

lock = threading.Condition()
# What opens a door and has passed through here.
secrets = {key}
codes = {}
jobs = {}
uploads = []
status = "Running"
details = 0
# Of the log: from where each read wanted to read.
reads = []
cut_logs = False
# After so many blobs and blocks the next ones wait.
hold_after = None
puts = 0
held = 0


def ends():
    return datetime.now(timezone.utc) + timedelta(hours=1)


def signed(container, permission):
    """The address of a container, and its signature."""
    sas = generate_container_sas(
        account, container, account_key=key, permission=ContainerSasPermissions.from_string(permission), expiry=ends()
    )
    return f"{url}/{account}/{container}", sas


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, text):
        self.send_response(403)
        self.send_header("content-type", "application/xml")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = urlsplit(self.path).path
        if path.startswith(f"/{account}/"):
            return self.blob(path, body)
        with lock:
            code, value = self.workspace(path.rstrip("/").split("/")[1:], json.loads(body or "null"))
        self.answer(code, value)

    do_GET = do_PUT = do_POST = do_HEAD = do

    def workspace(self, parts, body):
        """Answers a call to the workspace."""
        global details
        if parts == ["discovery"]:
            return 200, {"api": url}
        if parts[0] == "history":
            details += 1
            where, sas = signed(LOGS, "r")
            logs = {"user_logs/std_log.txt": f"{where}/user_logs/std_log.txt?{sas}"}
            return 200, {"runId": parts[-2], "status": status, "logFiles": logs}
        path = "/" + "/".join(parts)
        match self.command, parts[8:]:
            case "GET", []:
                return 200, {"id": path, "name": parts[7], "properties": {"discoveryUrl": f"{url}/discovery"}}
            case "GET", ["codes", name, "versions"]:
                found = [code for code in codes.values() if [code["hash"]] == parse_qs(urlsplit(self.path).query)["hash"]]
                return 200, {"value": [{"id": code["id"], "properties": {}} for code in found]}
            case "POST", ["codes", name, "versions", _, "startPendingUpload"]:
                container = str(uuid.uuid4())
                service.create_container(container)
                uploads.append(container)
                where, sas = signed(container, "rcwl")
                credential = {"credentialType": "SAS", "sasUri": f"{where}?{sas}"}
                return 200, {"blobReferenceForConsumption": {"blobUri": where, "credential": credential}}
            case "PUT", ["codes", name, "versions", _]:
                properties = body["properties"]
                codes[name] = {
                    "id": path,
                    "hash": properties["properties"]["hash_sha256"],
                    "uri": properties["codeUri"].removeprefix(f"{url}/{account}/"),
                }
                return 201, {"id": path, "properties": {}}
            case "PUT", ["jobs", name]:
                jobs[name] = body["properties"]
                return 201, {"id": path, "name": name, "properties": {**body["properties"], "status": "Starting"}}
            case "GET", ["datastores"]:
                return 200, {"value": [self.datastore()]}
            case "GET", ["datastores", _]:
                return 200, self.datastore()
            case "POST", ["datastores", _, "listSecrets"]:
                return 200, {"secretsType": "AccountKey", "key": key}
            case "GET", ["models", name, "versions"]:
                # Its files are those that the last job was given.
                properties = {"modelUri": list(jobs.values())[-1]["inputs"]["data"]["uri"], "modelType": "custom_model"}
                return 200, {"value": [{"id": f"{path}/1", "name": "1", "properties": properties}]}
        return 404, {"error": {"code": "NotFound", "message": f"{self.command} {self.path.split('?')[0]} is not here"}}

    def datastore(self):
        properties = {
            "datastoreType": "AzureBlob",
            "accountName": account,
            "containerName": DATASTORE,
            "endpoint": url.removeprefix("http://"),
            "protocol": "http",
            "credentials": {"credentialsType": "AccountKey"},
        }
        return {"name": "workspaceblobstore", "properties": properties}

    def blob(self, path, body):
        """Hands a call on to the blob service."""
        global puts, held
        secrets.update(self.path.partition("sig=")[2].partition("&")[:1], parse_qs(urlsplit(self.path).query)["sig"])
        if "broken" in path:
            self.close_connection = True
            return
        if "forbidden" in path and self.command == "PUT":
            # As the service says it, with the signature in its detail.
            found = parse_qs(urlsplit(self.path).query)["sig"][0]
            detail = f"The MAC signature found in the HTTP request '{found}' is not the same as any computed signature."
            return self.refuse(
                "<Error><Code>AuthenticationFailed</Code><Message>Server failed to authenticate the request.</Message>"
                f"<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>"
            )
        is_log = path.startswith(f"/{account}/{LOGS}/") and self.command == "GET"
        with lock:
            if is_log:
                reads.append(int(self.headers["range"].removeprefix("bytes=").split("-")[0]))
            cut = is_log and cut_logs and len(reads) % 3 == 0
            if self.command == "PUT":
                puts += 1
                if hold_after is not None and puts > hold_after:
                    held += 1
                    lock.wait_for(lambda: hold_after is None)
        connection = http.client.HTTPConnection(azurite.removeprefix("http://"))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "keep-alive", "date", "server"):
                self.send_header(name, value)
        length = response.getheader("content-length") if self.command == "HEAD" else str(len(content))
        self.send_header("content-length", length or "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True


def digest(content):
    return hashlib.sha256(content).hexdigest()


def differences(container, prefix, folder):
    """In what the blobs below a prefix differ from the files in a folder."""
    client = service.get_container_client(container)
    there = {name.removeprefix(prefix): digest(client.download_blob(name).readall()) for name in names(container, prefix)}
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    here = {str(path.relative_to(folder)): digest(path.read_bytes()) for path in files}
    return sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))


def names(container, prefix=""):
    return [blob.name for blob in service.get_container_client(container).list_blobs(prefix)]


def ask(question):
    """Answers a question of the test's."""
    global status, hold_after, cut_logs
    match question:
        case ["uploads"]:
            return uploads
        case ["codes"]:
            return [code["uri"] for code in codes.values()]
        case ["job"]:
            return list(jobs.values())[-1]
        case ["differences", container, prefix, folder]:
            return differences(container, prefix, folder)
        case ["names", container, prefix]:
            return names(container, prefix)
        case ["blocks", container, name]:
            return len(service.get_blob_client(container, name).get_block_list("committed")[0])
        case ["metadata", container, name]:
            return service.get_blob_client(container, name).get_blob_properties().metadata
        case ["hold", after]:
            with lock:
                hold_after = None if after is None else puts + after
                lock.notify_all()
        case ["held"]:
            return held
        case ["put", name, text]:
            service.get_blob_client(DATASTORE, name).upload_blob(text)
        case ["log"]:
            log.create_append_blob()
            cut_logs = True
        case ["append", text]:
            log.append_block(text.encode())
        case ["status", word]:
            status = word
        case ["secrets"]:
            return sorted(secrets)
        case ["seen"]:
            return {"details": details, "reads": reads}
        case _:
            raise ValueError(question)
    return None


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        # A client that was killed is no news.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


server = Server(("127.0.0.1", 0), Handler)
server.daemon_threads = True
url = f"http://127.0.0.1:{server.server_port}"
threading.Thread(target=server.serve_forever, daemon=True).start()
print(url, flush=True)
for line in sys.stdin:
    print(json.dumps(ask(json.loads(line))), flush=True)
