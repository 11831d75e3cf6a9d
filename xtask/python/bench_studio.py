"""Measures the pages of a local workspace, or of MLflow's server, and says what comes out, one JSON object a line.

    bench_studio.py fill WHOM FOLDER POINTS [PROGRAM]     makes the same runs, metrics and points for either
    bench_studio.py measure WHOM FOLDER [PROGRAM]         starts the server on them and looks at its pages

WHOM is `ours` (PROGRAM is azureml-local) or `peer` (MLflow's server of this Python).
Events: {"at": what happens now}, {"sample": name, "value": number}; at the end {"cpu": seconds of processor time that all of it took}.

What there is: 10,000 runs with five metrics, five parameters and three tags each; one run with 100 metrics of POINTS values each. A page is asked
for as its browser does, without files that do not change, and its measures are seconds to the `first_byte` of what it shows, seconds until all of
it is there, and kB `sent`. Ours is one document. The peer's is what its UI asks for: for the list `runs/search`; for a run `runs/get`
and `get-history-bulk-interval` for each chart, six at a time. Then 50 watchers look at a running job while values are logged: seconds until the last of them has a
value, kB sent to all and seconds of processor time for that, and MB of memory of the server. Ours pushes; the peer's UI asks again every 30 seconds.
"""

import concurrent.futures
import contextlib
import functools
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse

RUNS, METRICS, WATCHERS, WATCHED = 10_000, 100, 50, (3, 1000)
SHOWN = 50
INTERVAL = 30
CONNECTIONS = 6
# As many as it has by itself.
WORKERS = 4
STARTS_WITHIN = 120
NOW = 1_767_225_600_000
PARAMS, TAGS, LAST = ("lr", "batch_size", "epochs", "seed", "optimizer"), ("lab", "team", "note"), 5
SCOPE = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.MachineLearningServices/workspaces/local"
# A falling curve with noise; the same in Python and in SQL, where the step is `n`.
VALUE = "1.0 / (1 + n / 5000.0) + ((n * 7919 + {metric} * 104729) % 1000) / 10000.0"


def say(**event):
    print(json.dumps(event), flush=True)


def value(metric, step):
    return 1.0 / (1 + step / 5000.0) + ((step * 7919 + metric * 104729) % 1000) / 10000.0


class Server:
    """A process that answers, and a connection to it."""

    def __init__(self, url, process, headers):
        self.url, self.process, self.headers = url, process, headers
        self.connection = self.connect()

    def connect(self):
        return http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=600)

    def send(self, connection, method, path, body=None, headers=None):
        """Gives the answer's head; its body is still to come."""
        body = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip", **(self.headers if headers is None else headers)}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        if answer.status >= 400:
            sys.exit(f"{method} {path} is answered by {answer.status}: {answer.read()[:500]}")
        return answer

    def ask(self, method, path, body=None, connection=None):
        return self.send(connection or self.connection, method, path, body).read()

    def get(self, connection, path, body=None):
        """Seconds from now to the first byte and to the last one, and the bytes."""
        begin = time.perf_counter()
        answer = self.send(connection, "POST" if body else "GET", path, body)
        first = answer.read(1)
        at = time.perf_counter()
        rest = answer.read()
        return at - begin, time.perf_counter() - begin, first + rest

    def tree(self):
        """The processes: who started whom is in /proc."""
        parents = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parents[int(entry.parent.name)] = int(entry.read_text().rpartition(") ")[2].split()[1])
        found = {self.process.pid}
        while more := {child for child, parent in parents.items() if parent in found and child not in found}:
            found |= more
        return found

    def busy(self):
        """Seconds of processor time so far."""
        ticks = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                ticks += sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """MB; what processes share counts once."""
        kilobytes = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                kilobytes += int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])
        return kilobytes / 1024

    def watch(self, looks, log):
        """Seconds, and seconds of processor time, until what `log` logs has come to all watchers; each of `looks` ends when one has it."""
        with concurrent.futures.ThreadPoolExecutor(WATCHERS) as pool:
            busy, begin = self.busy(), time.perf_counter()
            all_of_them = [pool.submit(look) for look in looks]
            log()
            for one in all_of_them:
                one.result()
            took = time.perf_counter() - begin
        return took, self.busy() - busy


class Ours(Server):
    """A local workspace."""

    @staticmethod
    def folder(folder):
        return folder / "ours"

    @classmethod
    def start(cls, folder, program):
        home = cls.folder(folder)
        home.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen([program, "serve"], env={**os.environ, "AZUREML_LOCAL_HOME": str(home)}, stdout=subprocess.DEVNULL)
        end = time.monotonic() + STARTS_WITHIN
        while True:
            with contextlib.suppress(OSError, ValueError):
                server = json.loads((home / "server.json").read_text())
                if server["pid"] == process.pid:
                    break
            if time.monotonic() > end or process.poll() is not None:
                sys.exit(f"{program} does not start; see {home}/server.log")
            time.sleep(0.02)
        return cls(server["url"], process, {"Authorization": f"Bearer {server['token']}"})

    @classmethod
    def fill(cls, server, points):
        """By its own calls; the jobs wait for an instance that is switched off, and are canceled."""
        server.ask("POST", f"{SCOPE}/computes/ci-aml-workshop/stop")
        for number in range(RUNS):
            if number % 100 == 0:
                say(at=f"run {number} of {RUNS}")
            name = f"run-{number:05}"
            server.submit(name, "train-model", "true", "ci-aml-workshop", {tag: f"{tag} of run {number}" for tag in TAGS})
            metrics = [f'{{"key":"metric-{k}","value":{(number * 7919 + k * 104729) % 1000 / 1000},"timestamp":{NOW},"step":1}}' for k in range(LAST)]
            params = ",".join(f'{{"key":"{key}","value":"{key} {number % 7}"}}' for key in PARAMS)
            server.log(name, metrics, params)
            server.ask("POST", f"{SCOPE}/jobs/{name}/cancel")
        server.submit("points", "points", "true", "ci-aml-workshop", {})
        batches = ((metric, first) for metric in range(METRICS) for first in range(0, points, 1000))
        local = threading.local()

        def log(batch):
            metric, first = batch
            if not hasattr(local, "connection"):
                local.connection = server.connect()
            if first == 0:
                say(at=f"metric {metric} of {METRICS}")
            server.log("points", server.metrics(metric, range(first, min(first + 1000, points))), connection=local.connection)

        # While one waits for its answer, the other writes JSON.
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(log, batches))
        server.ask("POST", f"{SCOPE}/jobs/points/cancel")

    @staticmethod
    def metrics(metric, steps):
        return [f'{{"key":"metric-{metric:03}","value":{value(metric, step)},"timestamp":{NOW + step},"step":{step}}}' for step in steps]

    def submit(self, name, experiment, command, compute, tags):
        properties = {
            "jobType": "Command", "command": command, "experimentName": experiment, "tags": tags,
            "environmentId": f"{SCOPE}/environments/rust-tch-gpu/versions/1", "computeId": f"{SCOPE}/computes/{compute}",
        }
        self.ask("PUT", f"{SCOPE}/jobs/{name}", {"properties": properties})

    def log(self, run, metrics, params="", connection=None):
        body = f'{{"run_id":"{run}","metrics":[{",".join(metrics)}],"params":[{params}]}}'.encode()
        self.ask("POST", f"/mlflow/v2.0{SCOPE}/api/2.0/mlflow/runs/log-batch", body, connection)

    def enter(self, name):
        """Opens a job's link; gives what lets a browser see the pages."""
        job = json.loads(self.ask("GET", f"{SCOPE}/jobs/{name}"))
        link = urllib.parse.urlsplit(job["properties"]["services"]["Studio"]["endpoint"])
        answer = self.send(self.connection, "GET", f"{link.path}?{link.query}", headers={})
        cookie = answer.getheader("Set-Cookie").split(";")[0]
        answer.read()
        self.headers["Cookie"] = cookie

    def page(self, path):
        connection = self.connect()
        first, whole, body = self.get(connection, path)
        connection.close()
        return first, whole, len(body)

    def jobs(self):
        return self.page("/studio/jobs")

    def points(self):
        return self.page("/studio/jobs/points")

    def watchers(self, name):
        self.submit(name, "watched", "exec sleep 3600", "cpu-cluster", {})
        end = time.monotonic() + STARTS_WITHIN
        while json.loads(self.ask("GET", f"{SCOPE}/jobs/{name}"))["properties"]["status"] != "Running":
            if time.monotonic() > end:
                sys.exit(f"{name} does not run")
            time.sleep(0.05)
        count, steps = WATCHED
        for metric in range(count):
            self.log(name, self.metrics(metric, range(steps)))
        pages = [Watcher(self, name) for _ in range(WATCHERS)]
        say(sample="memory", value=self.memory())
        results = []
        for number in range(10):
            seen = 1000 + number
            looks = [functools.partial(page.until, f"<b>{seen}</b>") for page in pages]
            before = sum(page.received for page in pages)
            sample = f'{{"key":"metric-000","value":{seen},"timestamp":{NOW},"step":{steps + number}}}'
            took, busy = self.watch(looks, lambda: self.log(name, [sample]))
            results.append((took, sum(page.received for page in pages) - before, busy))
        say(sample="memory", value=self.memory())
        for page in pages:
            page.close()
        self.ask("POST", f"{SCOPE}/jobs/{name}/cancel")
        took, sent, busy = zip(*results)
        return statistics.median(took), statistics.median(sent), statistics.mean(busy)


class Watcher:
    """Somebody who has a job's page open."""

    def __init__(self, server, name):
        self.connection, self.received = server.connect(), 0
        _, _, page = server.get(self.connection, f"/studio/jobs/{name}")
        events = re.search(rb'data-events="([^"]+)"', page)[1].decode()
        for entity in ("&#38;", "&amp;"):
            events = events.replace(entity, "&")
        self.answer = server.send(self.connection, "GET", events)

    def until(self, wanted):
        while wanted not in (line := self.answer.readline().decode()):
            if not line:
                sys.exit("the events ended")
            self.received += len(line)
        self.received += len(line)

    def close(self):
        self.connection.close()


class Peer(Server):
    """MLflow's server."""

    API = "/ajax-api/2.0/mlflow"

    @staticmethod
    def database(folder):
        return folder / "peer" / "mlflow.db"

    @classmethod
    def start(cls, folder, _program=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        home = folder / "peer"
        home.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", str(WORKERS), "--backend-store-uri", f"sqlite:///{cls.database(folder)}", "--artifacts-destination", str(home / "artifacts")]
        quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        # A group of its own: its workers end with it.
        with (home / "server.log").open("w") as log:
            process = subprocess.Popen(command, cwd=home, env=quiet, stdout=log, stderr=log, start_new_session=True)
        server = cls(f"http://127.0.0.1:{port}", process, {})
        end = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                server.ask("GET", "/health")
                break
            except OSError:
                server.connection.close()
            if time.monotonic() > end or process.poll() is not None:
                sys.exit(f"MLflow's server does not start; see {home}/server.log")
            time.sleep(0.1)
        # Each of its workers opens the store when it is first asked for something.
        with concurrent.futures.ThreadPoolExecutor(4 * WORKERS) as pool:
            list(pool.map(lambda _: server.jobs(), range(8 * WORKERS)))
        return server

    @classmethod
    def fill(cls, folder, points):
        """Into its tables: its calls would take an hour."""
        database = cls.database(folder)
        database.parent.mkdir(parents=True, exist_ok=True)
        say(at="tables")
        subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{database}"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        store = sqlite3.connect(database)
        store.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000;")
        # They are made again when everything is there.
        indexes = store.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'metrics' AND sql IS NOT NULL").fetchall()
        for name, _ in indexes:
            store.execute(f"DROP INDEX {name}")

        def insert(table, columns, values, count):
            numbers = f"WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < {count})"
            store.execute(f"INSERT INTO {table} ({columns}) {numbers} SELECT {values} FROM number")

        for number, name in enumerate(["train-model", "points", "watched"], 1):
            store.execute(
                "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time) VALUES (?, ?, ?, 'active', ?, ?)",
                (number, name, f"mlflow-artifacts:/{number}", NOW, NOW),
            )
        of_run = "run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id"
        for name, count, experiment in (("printf('run-%05d', n)", RUNS, 1), ("'points'", 1, 2)):
            values = f"{name}, {name}, 'UNKNOWN', '', '', 'me', 'KILLED', {NOW} + n, {NOW} + n + 60000, '', 'active', 'mlflow-artifacts:/' || {name}, {experiment}"
            insert("runs", of_run, values, count)
            insert("tags", "key, value, run_uuid", f"'mlflow.runName', {name}, {name}", count)
        run = "printf('run-%05d', n)"
        for tag in TAGS:
            insert("tags", "key, value, run_uuid", f"'{tag}', '{tag} of run ' || n, {run}", RUNS)
        for key in PARAMS:
            insert("params", "key, value, run_uuid", f"'{key}', '{key} ' || (n % 7), {run}", RUNS)
        of_metric = "key, value, timestamp, run_uuid, step, is_nan"
        for table in ("metrics", "latest_metrics"):
            for metric in range(LAST):
                insert(table, of_metric, f"'metric-{metric}', ((n * 7919 + {metric} * 104729) % 1000) / 1000.0, {NOW}, {run}, 1, 0", RUNS)
        for metric in range(METRICS):
            say(at=f"metric {metric} of {METRICS}")
            values = f"'metric-{metric:03}', {VALUE.format(metric=metric)}, {NOW} + n, 'points', n, 0"
            insert("metrics", of_metric, values, points)
            store.execute(f"INSERT INTO latest_metrics ({of_metric}) SELECT {of_metric} FROM metrics WHERE key = 'metric-{metric:03}' AND timestamp = {NOW + points - 1}")
        store.commit()
        say(at="indexes")
        for _, sql in indexes:
            store.execute(sql)
        store.commit()
        store.close()

    def enter(self, _name):
        pass

    def jobs(self):
        connection = self.connect()
        body = {"experiment_ids": ["1"], "order_by": ["attributes.start_time DESC"], "run_view_type": "ACTIVE_ONLY", "filter": "", "max_results": SHOWN}
        first, whole, answer = self.get(connection, f"{self.API}/runs/search", body)
        connection.close()
        return first, whole, len(answer)

    def history(self, run, metric):
        return f"{self.API}/metrics/get-history-bulk-interval?run_ids={run}&metric_key=metric-{metric:03}&max_results=320"

    def points(self):
        begin = time.perf_counter()
        connection = self.connect()
        _, _, run = self.get(connection, f"{self.API}/runs/get?run_id=points")
        firsts, sent, local = [], [len(run)], threading.local()

        def chart(metric):
            if not hasattr(local, "connection"):
                local.connection = self.connect()
            asked = time.perf_counter()
            first, _, body = self.get(local.connection, self.history("points", metric))
            firsts.append(asked - begin + first)
            sent.append(len(body))

        with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(chart, range(METRICS)))
        return min(firsts), time.perf_counter() - begin, sum(sent)

    def watchers(self, name):
        # It has closed the connection meanwhile; the next call opens it again.
        self.connection.close()
        run = json.loads(self.ask("POST", f"{self.API}/runs/create", {"experiment_id": "3", "run_name": name, "start_time": NOW}))["run"]["info"]["run_id"]
        count, steps = WATCHED
        for metric in range(count):
            metrics = [{"key": f"metric-{metric:03}", "value": value(metric, step), "timestamp": NOW + step, "step": step} for step in range(steps)]
            self.ask("POST", f"{self.API}/runs/log-batch", {"run_id": run, "metrics": metrics})
        received = []
        begin = time.monotonic()

        def look(number):
            at = begin + number * INTERVAL / WATCHERS
            while True:
                time.sleep(max(0.0, at - time.monotonic()))
                at += INTERVAL
                # The server has closed the one before.
                connection = self.connect()
                answers = [self.get(connection, self.history(run, metric))[2] for metric in range(count)]
                connection.close()
                received.extend(map(len, answers))
                if any(metric["step"] == steps for metric in json.loads(answers[0])["metrics"]):
                    return

        looks = [functools.partial(look, number) for number in range(WATCHERS)]
        sample = {"run_id": run, "key": "metric-000", "value": 1000.0, "timestamp": NOW + steps, "step": steps}
        took, busy = self.watch(looks, lambda: self.ask("POST", f"{self.API}/runs/log-metric", sample))
        say(sample="memory", value=self.memory())
        return took, sum(received), busy


def page(name, look, times):
    for number in range(times):
        say(at=f"{name} {number + 1} of {times}")
        first, whole, sent = look()
        say(sample=f"{name}_first_byte", value=first)
        say(sample=name, value=whole)
        say(sample=f"{name}_sent", value=sent / 1000)


def main():
    what, whom, folder, *rest = sys.argv[1:]
    folder, kind = pathlib.Path(folder), {"ours": Ours, "peer": Peer}[whom]
    if what == "fill":
        points, *program = rest
        shutil.rmtree(folder / whom, ignore_errors=True)
        if kind is Peer:
            Peer.fill(folder, int(points))
            return
        with running(kind, folder, program) as server:
            kind.fill(server, int(points))
        return
    with running(kind, folder, rest) as server:
        server.enter("points")
        page("jobs_10k", server.jobs, 5)
        page("job_10m_points", server.points, 1)
        say(at="50 watchers")
        took, sent, busy = server.watchers(f"watched-{os.getpid()}")
        say(sample="watchers_50", value=took)
        say(sample="watchers_50_sent", value=sent / 1000)
        say(sample="watchers_50_busy", value=busy)


@contextlib.contextmanager
def running(kind, folder, program):
    server = kind.start(folder, *program)
    try:
        yield server
    finally:
        if kind is Peer:
            os.killpg(server.process.pid, signal.SIGTERM)
        else:
            server.process.terminate()
        server.process.wait()


if __name__ == "__main__":
    main()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    say(cpu=sum(usage.ru_utime + usage.ru_stime for usage in used))
