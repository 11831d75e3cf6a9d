"""What MLflow's own tests expect of a tracking server, in our words, asked by MLflow's own client and store.

Usage: mlflow_cases.py URL TOKEN. Prints one JSON object: the names of the cases that passed, and why others failed.
"""

import json
import math
import os
import sys
import tempfile
import time
import traceback
import uuid
from pathlib import Path

WORKSPACE = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local"
    "/providers/Microsoft.MachineLearningServices/workspaces/local"
)

url, token = sys.argv[1:3]
# Only the result goes to standard output; what the client says is not part of it.
result, sys.stdout = sys.stdout, sys.stderr
tracking_uri = f"{url}/mlflow/v2.0{WORKSPACE}"
os.environ["MLFLOW_TRACKING_URI"] = tracking_uri
os.environ["MLFLOW_TRACKING_TOKEN"] = token
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"

import mlflow  # noqa: E402  (reads the environment)
import mlflow.experiments  # noqa: E402
import requests  # noqa: E402
from click.testing import CliRunner  # noqa: E402
from mlflow.entities import (  # noqa: E402
    Dataset,
    DatasetInput,
    ExperimentTag,
    InputTag,
    Metric,
    Param,
    RunStatus,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: E402
from mlflow.store.tracking.rest_store import RestStore  # noqa: E402
from mlflow.utils.rest_utils import MlflowHostCreds  # noqa: E402

client = mlflow.MlflowClient()
store = RestStore(lambda: MlflowHostCreds(tracking_uri, token=token))
CASES = []


def case(call):
    CASES.append(call)
    return call


def fresh(**more):
    """A new experiment's id."""
    # Experiments made within one millisecond have no order.
    time.sleep(0.002)
    return store.create_experiment(f"case-{uuid.uuid4().hex}", **more)


def run_of(experiment=None, **config):
    config = {"user_id": "Anderson", "start_time": 1, "tags": [], "run_name": "name"} | config
    return store.create_run(experiment or fresh(), **config).info.run_id


def refused(text, call, *args, code="INVALID_PARAMETER_VALUE", **kwargs):
    try:
        call(*args, **kwargs)
    except MlflowException as error:
        assert text in str(error), f"{text!r} is not in {error}"
        assert error.error_code == code, error.error_code
        # No text of Rust's own.
        assert "Some(" not in str(error) and "None," not in str(error), str(error)
        return
    raise AssertionError(f"{text!r}: not refused")


def post(call, body):
    return requests.post(
        f"{tracking_uri}/api/2.0/mlflow/{call}", json=body, headers={"Authorization": f"Bearer {token}"}
    )


def bad(call, body, text):
    answer = post(call, body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE", answer.text
    assert text in answer.json()["message"], f"{text!r} is not in {answer.text}"


def search(experiments, filter_string="", **more):
    experiments = experiments if isinstance(experiments, list) else [experiments]
    more = {"run_view_type": ViewType.ALL} | more
    return [run.info.run_id for run in store.search_runs(experiments, filter_string, **more)]


def ordered(experiment, order_by):
    found = store.search_runs([experiment], "", ViewType.ALL, order_by=order_by)
    return [run.data.tags["mlflow.runName"] for run in found]


def inputs_of(run):
    return [
        (one.dataset.to_dictionary(), sorted((tag.key, tag.value) for tag in one.tags))
        for one in store.get_run(run).inputs.dataset_inputs
    ]


# Experiments


@case
def an_experiment_keeps_tags_and_place():
    made = client.create_experiment(
        f"kept-{uuid.uuid4().hex}", artifact_location="/tmp/kept", tags={"key1": "val1", "key2": "val2"}
    )
    found = client.get_experiment(made)
    assert found.tags == {"key1": "val1", "key2": "val2"}
    assert found.artifact_location == "/tmp/kept"
    run = client.create_run(made)
    assert run.info.artifact_uri == f"/tmp/kept/{run.info.run_id}/artifacts"


@case
def an_experiments_place_is_absolute():
    found = client.get_experiment(fresh(artifact_location="some location"))
    assert found.artifact_location.startswith("/") and found.artifact_location.endswith("/some location")
    found = client.get_experiment(fresh(artifact_location="file:here?a=b"))
    assert found.artifact_location.startswith("file:///") and found.artifact_location.endswith("/here?a=b")
    experiment = fresh(artifact_location="s3://bucket/root?creds=mine")
    run = store.get_run(run_of(experiment))
    assert run.info.artifact_uri == f"s3://bucket/root/{run.info.run_id}/artifacts?creds=mine"
    refused("can't include fragments", store.create_experiment, "x", artifact_location="s3://a#b")
    refused("Invalid query string", store.create_experiment, "x", artifact_location="s3://a?b=../c")


@case
def an_experiment_needs_a_name():
    refused("Missing value for required parameter 'name'", store.create_experiment, "")
    bad("experiments/create", {"name": 123}, "Invalid value 123 for parameter 'name'")
    bad("experiments/create", {}, "Missing value for required parameter 'name'")
    bad("experiments/create", {"name": "n", "artifact_location": 9.0}, "Invalid value 9.0 for parameter 'artifact_location'")
    bad("experiments/create", {"name": "n", "tags": "5"}, 'Invalid value "5" for parameter \'tags\'')
    refused("'name' exceeds the maximum length", store.create_experiment, "x" * 501)
    made = fresh()
    refused("'name' exceeds the maximum length", store.rename_experiment, made, "x" * 501)
    bad("experiments/update", {"experiment_id": made, "new_name": ""}, "Missing value for required parameter 'new_name'")
    bad("experiments/update", {"experiment_id": made}, "Missing value for required parameter 'new_name'")


@case
def an_experiments_name_is_its_own():
    name = store.get_experiment(fresh()).name
    refused("already exists", store.create_experiment, name, code="RESOURCE_ALREADY_EXISTS")
    refused("already exists", store.rename_experiment, fresh(), name, code="RESOURCE_ALREADY_EXISTS")


@case
def an_experiment_that_is_not_there():
    refused("No Experiment with id=100000 exists", store.get_experiment, "100000", code="RESOURCE_DOES_NOT_EXIST")
    refused("Experiment ID must be a valid integer", store.get_experiment, "invalid_id")
    assert store.get_experiment_by_name("idontexist") is None
    refused("No Experiment with id=100000", store.create_run, "100000", "u", 0, [], None, code="RESOURCE_DOES_NOT_EXIST")


@case
def experiments_are_deleted_and_restored_with_their_runs():
    made = fresh()
    runs = [run_of(made), run_of(made)]
    store.delete_run(runs[0])
    before = store.get_experiment(made)
    time.sleep(0.002)
    store.delete_experiment(made)
    deleted = store.get_experiment(made)
    assert deleted.lifecycle_stage == "deleted" and deleted.last_update_time > before.last_update_time
    assert store.get_experiment_by_name(deleted.name).experiment_id == made
    assert sorted(search(made, run_view_type=ViewType.DELETED_ONLY)) == sorted(runs)
    refused("No Experiment with id", store.delete_experiment, made, code="RESOURCE_DOES_NOT_EXIST")
    store.restore_experiment(made)
    assert store.get_experiment(made).lifecycle_stage == "active"
    assert sorted(search(made, run_view_type=ViewType.ACTIVE_ONLY)) == sorted(runs)
    refused("No Experiment with id", store.restore_experiment, made, code="RESOURCE_DOES_NOT_EXIST")


@case
def experiments_are_renamed():
    made = fresh()
    before = store.get_experiment(made)
    time.sleep(0.002)
    store.rename_experiment(made, f"{before.name}-new")
    after = store.get_experiment(made)
    assert after.name == f"{before.name}-new" and after.last_update_time > before.last_update_time


@case
def a_deleted_experiment_takes_nothing():
    made = fresh()
    store.delete_experiment(made)
    refused("must be in the 'active' state", store.create_run, made, "u", 0, [], None)
    refused("must be in the 'active' state", store.set_experiment_tag, made, ExperimentTag("a", "b"))
    refused("Cannot rename a non-active experiment", store.rename_experiment, made, "b", code="INVALID_STATE")


@case
def tags_of_an_experiment():
    made, other = fresh(), fresh()
    store.set_experiment_tag(made, ExperimentTag("tag0", "value0"))
    store.set_experiment_tag(made, ExperimentTag("tag0", "value00000"))
    assert store.get_experiment(made).tags == {"tag0": "value00000"}
    assert store.get_experiment(other).tags == {}
    store.set_experiment_tag(other, ExperimentTag("tag0", "another"))
    store.set_experiment_tag(made, ExperimentTag("multiline tag", "value2\nvalue2"))
    store.set_experiment_tag(made, ExperimentTag("empty", ""))
    assert store.get_experiment(made).tags == {"tag0": "value00000", "multiline tag": "value2\nvalue2", "empty": ""}
    refused("exceeds the maximum length of 5000", store.set_experiment_tag, made, ExperimentTag("long", "a" * 100_001))
    store.set_experiment_tag(made, ExperimentTag("long", "a" * 4999))
    client.delete_experiment_tag(made, "tag0")
    assert "tag0" not in store.get_experiment(made).tags
    refused("No tag with name", client.delete_experiment_tag, made, "tag0", code="RESOURCE_DOES_NOT_EXIST")


def experiments(suffix, filter_string="", **more):
    """Names of experiments with a suffix, without it."""
    found = store.search_experiments(filter_string=filter_string, **more)
    return [one.name.removesuffix(suffix) for one in found if one.name.endswith(suffix)]


@case
def experiments_are_searched_by_name():
    suffix = f"-{uuid.uuid4().hex}"
    for name in ["a", "ab", "Abc"]:
        time.sleep(0.002)
        store.create_experiment(name + suffix)
    for filter_string, expected in [
        (f"name = 'a{suffix}'", ["a"]),
        (f"attribute.name = 'a{suffix}'", ["a"]),
        (f"attribute.`name` = 'a{suffix}'", ["a"]),
        (f"attribute.`name` != 'a{suffix}'", ["Abc", "ab"]),
        ("name LIKE 'a%'", ["ab", "a"]),
        ("name ILIKE 'a%'", ["Abc", "ab", "a"]),
        (f"name ILIKE 'a%' AND name ILIKE '%b{suffix}'", ["ab"]),
    ]:
        assert experiments(suffix, filter_string) == expected, filter_string


@case
def experiments_are_searched_by_time_and_id():
    first, second = (store.get_experiment(fresh()) for _ in range(2))

    def ids(filter_string):
        return [one.experiment_id for one in store.search_experiments(filter_string=filter_string)]

    assert ids(f"creation_time = {first.creation_time}") == [first.experiment_id]
    assert first.experiment_id not in ids(f"creation_time != {first.creation_time}")
    assert ids(f"creation_time >= {first.creation_time}") == [second.experiment_id, first.experiment_id]
    assert second.experiment_id not in ids(f"creation_time < {second.creation_time}")
    assert ids(f"creation_time > {second.creation_time}") == []
    time.sleep(0.002)
    store.rename_experiment(first.experiment_id, f"{first.name}-new")
    assert ids(f"last_update_time > {second.last_update_time}") == [first.experiment_id]
    assert ids(f"experiment_id = '{first.experiment_id}'") == [first.experiment_id]
    assert ids(f"experiment_id IN ('{first.experiment_id}', '-1')") == [first.experiment_id]


@case
def experiments_are_searched_by_tag():
    suffix = f"-{uuid.uuid4().hex}"
    for name, tags in [
        ("1", {"key1": "value", "key2": "value"}),
        ("2", {"key1": "vaLue", "key2": "vaLue"}),
        ("3", {"k e y 1": "value"}),
        ("4", {}),
    ]:
        time.sleep(0.002)
        store.create_experiment(name + suffix, tags=[ExperimentTag(*tag) for tag in tags.items()])
    for filter_string, expected in [
        ("tag.key1 = 'value'", ["1"]),
        ("tags.key1 = 'value'", ["1"]),
        ("tag.`k e y 1` = 'value'", ["3"]),
        ("tag.\"k e y 1\" = 'value'", ["3"]),
        ("tag.key1 != 'value'", ["2"]),
        ("tag.key1 != 'VALUE'", ["2", "1"]),
        ("tag.key1 LIKE 'val%'", ["1"]),
        ("tag.key1 LIKE '%Lue'", ["2"]),
        ("tag.key1 ILIKE '%alu%'", ["2", "1"]),
        ("tag.key1 LIKE 'va%' AND tag.key2 LIKE '%Lue'", ["2"]),
        ("tag.KEY = 'value'", []),
        ("tag.key1 IS NOT NULL", ["2", "1"]),
        ("tag.key1 IS NULL", ["4", "3"]),
        (f"name ILIKE '%{suffix}' AND tags.key1 = 'value'", ["1"]),
    ]:
        assert experiments(suffix, filter_string) == expected, filter_string


@case
def experiments_come_in_the_order_that_was_asked_for():
    suffix = f"-{uuid.uuid4().hex}"
    ids = []
    for name in ["y", "x", "z"]:
        time.sleep(0.002)
        ids.append(store.create_experiment(name + suffix))
    for order_by, expected in [
        (None, ["z", "x", "y"]),
        (["name"], ["x", "y", "z"]),
        (["name ASC"], ["x", "y", "z"]),
        (["name DESC"], ["z", "y", "x"]),
        (["attribute.name desc"], ["z", "y", "x"]),
        (["experiment_id"], ["y", "x", "z"]),
        (["experiment_id DESC"], ["z", "x", "y"]),
        (["creation_time"], ["y", "x", "z"]),
        (["creation_time DESC", "name"], ["z", "x", "y"]),
    ]:
        assert experiments(suffix, order_by=order_by) == expected, order_by
    # As a query, too.
    for order_by, expected in [(["name"], "xyz"), (["attribute.creation_time DESC", "name"], "zxy")]:
        answer = requests.get(
            f"{tracking_uri}/api/2.0/mlflow/experiments/search",
            params={"order_by": order_by, "filter": f"name LIKE '%{suffix}'", "max_results": 5},
            headers={"Authorization": f"Bearer {token}"},
        ).json()
        assert "".join(one["name"][0] for one in answer["experiments"]) == expected, answer
    time.sleep(0.002)
    store.rename_experiment(ids[0], "w" + suffix)
    assert experiments(suffix, order_by=["last_update_time"]) == ["x", "z", "w"]


@case
def experiments_come_in_pages_and_views():
    suffix = f"-{uuid.uuid4().hex}"
    ids = [store.create_experiment(f"{number}{suffix}") for number in range(5) if time.sleep(0.002) is None]
    page = store.search_experiments(max_results=2, filter_string=f"name LIKE '%{suffix}'")
    assert [one.name[0] for one in page] == ["4", "3"] and page.token
    page = store.search_experiments(max_results=2, filter_string=f"name LIKE '%{suffix}'", page_token=page.token)
    assert [one.name[0] for one in page] == ["2", "1"] and page.token
    page = store.search_experiments(max_results=2, filter_string=f"name LIKE '%{suffix}'", page_token=page.token)
    assert [one.name[0] for one in page] == ["0"] and not page.token
    store.delete_experiment(ids[1])
    assert experiments(suffix) == ["4", "3", "2", "0"]
    assert experiments(suffix, view_type=ViewType.DELETED_ONLY) == ["1"]
    assert experiments(suffix, view_type=ViewType.ALL) == ["4", "3", "2", "1", "0"]
    refused("It must be a positive integer", store.search_experiments, max_results=0)
    refused("It must be at most 50000", store.search_experiments, max_results=1_000_000)
    refused("Invalid page token", store.search_experiments, page_token="nonsense")


@case
def searches_of_experiments_that_make_no_sense():
    for filter_string, text in [
        ("nonsense = 'a'", "Invalid attribute key"),
        ("attribute.nonsense = 'a'", "Invalid attribute key"),
        ("attributes.name = 'a'", "Invalid entity type"),
        ("metrics.a = 1", "Invalid entity type"),
        ("name = 1", "Expected a quoted string value"),
        ("name > 'a'", "Invalid comparator"),
        ("tag.a > 'a'", "Invalid comparator"),
        ("creation_time = 'a'", "Expected numeric value type"),
        ("name IS NULL", "IS NULL / IS NOT NULL is only supported for tags"),
        ("name = 'a' OR name = 'b'", "Invalid clause(s) in filter string"),
    ]:
        refused(text, store.search_experiments, filter_string=filter_string)
    for order_by, text in [
        (["tag.a"], "Invalid order_by entity"),
        (["nonsense"], "Invalid attribute key"),
        (["name ASC DESC"], "Could not be parsed"),
        (["name UP"], "Invalid ordering key"),
    ]:
        refused(text, store.search_experiments, order_by=order_by)


# Runs


@case
def a_run_keeps_what_it_was_made_with():
    tags = {"mlflow.user": "username", "mlflow.source.type": "LOCAL", "mlflow.parentRunId": "7", "my": "tag"}
    made = client.create_run(fresh(), start_time=456, run_name="my name", tags=tags)
    for run in [made, client.get_run(made.info.run_id)]:
        assert run.info.user_id == "username" and run.info.start_time == 456
        assert run.info.run_name == "my name" and run.info.status == "RUNNING" and run.info.end_time is None
        assert run.data.tags == tags | {"mlflow.runName": "my name"}
    assert client.create_run(fresh()).info.user_id == "unknown"
    assert store.get_run(run_of(start_time=0)).info.start_time == 0


@case
def a_run_without_a_name_gets_one():
    from mlflow.utils.name_utils import _GENERATOR_PREDICATES

    for name in [None, ""]:
        run = store.get_run(run_of(run_name=name))
        assert run.info.run_name.split("-")[0] in _GENERATOR_PREDICATES
        assert run.data.tags["mlflow.runName"] == run.info.run_name
    run = store.get_run(run_of(run_name=None, tags=[RunTag("mlflow.runName", "test")]))
    assert run.info.run_name == "test"
    refused(
        "Both 'run_name' argument and 'mlflow.runName' tag are specified",
        store.create_run,
        fresh(),
        "u",
        0,
        [RunTag("mlflow.runName", "test_2")],
        "test",
    )


@case
def a_run_is_renamed():
    run = run_of()

    def names():
        found = store.get_run(run)
        return found.info.run_name, found.data.tags.get("mlflow.runName")

    store.update_run_info(run, RunStatus.FINISHED, 1000, "new")
    assert names() == ("new", "new")
    for none in [None, ""]:
        store.update_run_info(run, RunStatus.FINISHED, 1000, none)
        assert names() == ("new", "new")
    store.set_tag(run, RunTag("mlflow.runName", "newest"))
    assert names() == ("newest", "newest")
    store.log_batch(run, [], [], [RunTag("mlflow.runName", "batch")])
    assert names() == ("batch", "batch")
    store.delete_tag(run, "mlflow.runName")
    assert names() == ("batch", None)
    info = store.update_run_info(run, None, None, "last")
    assert info.run_name == "last" and info.status == "FINISHED" and info.end_time == 1000


@case
def a_run_has_every_status():
    for status in ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]:
        info = store.update_run_info(run_of(), RunStatus.from_string(status), 1234, None)
        assert (info.status, info.end_time) == (status, 1234)
    run = run_of()
    bad("runs/update", {"run_id": run, "status": "HAPPY"}, 'Invalid value "HAPPY" for parameter \'status\'')
    client.set_terminated(run)
    found = client.get_run(run).info
    assert found.status == "FINISHED" and found.end_time <= time.time() * 1000


@case
def a_deleted_run_takes_nothing():
    run = run_of()
    store.restore_run(run)
    store.delete_run(run)
    store.delete_run(run)
    assert store.get_run(run).info.lifecycle_stage == "deleted"
    for call in [
        lambda: store.log_metric(run, Metric("m", 1.0, 1, 0)),
        lambda: store.log_param(run, Param("p", "v")),
        lambda: store.set_tag(run, RunTag("t", "v")),
        lambda: store.delete_tag(run, "mlflow.runName"),
        lambda: store.log_batch(run, [Metric("m", 1.0, 1, 0)], [], []),
        lambda: store.log_batch(run, [], [], []),
        lambda: store.log_inputs(run, [DatasetInput(Dataset("n", "d", "t", "s"), [])]),
        lambda: store.update_run_info(run, RunStatus.FINISHED, 1, None),
        lambda: store.update_run_info(run, None, None, "name"),
    ]:
        refused(f"The run {run} must be in the 'active' state", call)
    store.restore_run(run)
    store.restore_run(run)
    store.log_param(run, Param("p", "v22"))
    store.log_metric(run, Metric("m", 34.0, 85, 1))
    found = store.get_run(run)
    assert found.data.params == {"p": "v22"} and found.data.metrics == {"m": 34.0}


@case
def a_run_that_is_not_there():
    missing = uuid.uuid4().hex
    for call in [
        lambda: store.get_run(missing),
        lambda: store.log_batch(missing, [], [], []),
        lambda: store.delete_tag(missing, "k"),
        lambda: store.delete_run(missing),
        lambda: store.log_param(missing, Param("p", "v")),
    ]:
        refused(f"Run with id={missing} not found", call, code="RESOURCE_DOES_NOT_EXIST")


@case
def tags_of_a_run():
    experiment = fresh()
    first, second = run_of(experiment), run_of(experiment)
    for run in [first, second]:
        store.set_tag(run, RunTag("tag0", "val0"))
    store.set_tag(first, RunTag("tag0", "new"))
    store.set_tag(first, RunTag("empty", ""))
    store.delete_tag(first, "tag0")
    assert "tag0" not in store.get_run(first).data.tags and store.get_run(first).data.tags["empty"] == ""
    assert store.get_run(second).data.tags["tag0"] == "val0"
    refused("No tag with name: fakeTag", store.delete_tag, first, "fakeTag", code="RESOURCE_DOES_NOT_EXIST")
    refused("exceeds the maximum length of 250", store.set_tag, first, RunTag("k" * 251, "v"))
    # Nothing that was logged is cut.
    store.set_tag(first, RunTag("long", "a" * 20_000))
    assert len(store.get_run(first).data.tags["long"]) == 20_000


@case
def requests_whose_members_are_wrong():
    run = run_of()
    for call, body, text in [
        ("runs/log-metric", {"run_id": 31, "key": "m", "value": 41, "timestamp": 59}, "Invalid value 31 for parameter 'run_id' supplied"),
        ("runs/log-metric", {"run_id": run, "key": 31, "value": 41, "timestamp": 59}, "Invalid value 31 for parameter 'key' supplied"),
        ("runs/log-metric", {"run_id": run, "key": "f", "value": 31, "timestamp": 59, "step": "foo"}, "Invalid value \"foo\" for parameter 'step' supplied"),
        ("runs/log-metric", {"run_id": run, "key": "f", "value": 31, "timestamp": "foo"}, "Invalid value \"foo\" for parameter 'timestamp' supplied"),
        ("runs/log-metric", {"run_id": run, "key": "f", "value": "x", "timestamp": 1}, "Invalid value \"x\" for parameter 'value' supplied"),
        ("runs/log-metric", {"run_id": run, "key": "f", "value": True, "timestamp": 1}, "Invalid value true for parameter 'value' supplied"),
        ("runs/log-metric", {"run_id": run, "key": "f", "value": 1, "timestamp": -5}, "Invalid value -5 for parameter 'timestamp' supplied"),
        ("runs/log-metric", {"run_id": run, "key": "f", "value": 1, "timestamp": 1e30}, "for parameter 'timestamp' supplied"),
        ("runs/log-metric", {"run_id": None, "key": "f", "value": 31, "timestamp": 59}, "Missing value for required parameter 'run_id'"),
        ("runs/log-metric", {"run_id": run, "value": 31, "timestamp": 59}, "Missing value for required parameter 'key'"),
        ("runs/log-metric", {"run_id": run, "key": None, "value": 31, "timestamp": 59}, "Missing value for required parameter 'key'"),
        ("runs/log-metric", {"run_id": run, "key": "f", "value": 31}, "Missing value for required parameter 'timestamp'"),
        ("runs/log-metric", {"run_id": run, "key": "f", "timestamp": 1}, "Missing value for required parameter 'value'"),
        ("runs/log-metric", {"run_id": run, "key": "a/../b", "value": 1, "timestamp": 1}, "This name would resolve to 'b'"),
        ("runs/log-parameter", {"run_id": 31, "key": "p", "value": "41"}, "Invalid value 31 for parameter 'run_id' supplied"),
        ("runs/log-parameter", {"run_id": run, "key": 31, "value": "41"}, "Invalid value 31 for parameter 'key' supplied"),
        ("runs/log-parameter", {"run_id": run, "key": "", "value": "41"}, "Missing value for required parameter 'key'"),
        ("runs/set-tag", {"run_id": 31, "key": "t", "value": "41"}, "Invalid value 31 for parameter 'run_id' supplied"),
        ("runs/set-tag", {"run_id": run, "key": "t", "value": 41}, "Invalid value 41 for parameter 'value' supplied"),
        ("runs/set-tag", {"run_id": run, "value": "v"}, "Missing value for required parameter 'key'"),
        ("runs/set-tag", {"run_id": run, "key": ".", "value": "v"}, "This name would resolve to '.'"),
        ("runs/log-batch", {"run_id": run, "metrics": "foo"}, "Invalid value \"foo\" for parameter 'metrics' supplied"),
        ("runs/log-batch", {"run_id": run, "params": "foo"}, "Invalid value \"foo\" for parameter 'params' supplied"),
        ("runs/log-batch", {"run_id": run, "tags": "foo"}, "Invalid value \"foo\" for parameter 'tags' supplied"),
        ("runs/log-batch", {"run_id": run, "metrics": [{"key": "mae", "value": 2.5}]}, "Missing value for required parameter 'metrics[0].timestamp'"),
        ("runs/log-batch", {"run_id": run, "metrics": [{"key": "mae", "timestamp": 1}]}, "Missing value for required parameter 'metrics[0].value'"),
        ("runs/log-batch", {"run_id": run, "params": [{"key": "a", "value": "1"}, {"value": "b"}]}, "Missing value for required parameter 'params[1].key'"),
        ("runs/log-batch", {"run_id": run, "tags": [{"value": "b"}]}, "Missing value for required parameter 'tags[0].key'"),
        ("runs/log-inputs", {"datasets": []}, "Missing value for required parameter 'run_id'"),
        ("runs/search", {"experiment_ids": "0"}, "Invalid value \"0\" for parameter 'experiment_ids' supplied"),
        ("runs/search", {"experiment_ids": ["0"], "filter": 5}, "Invalid value 5 for parameter 'filter' supplied"),
        ("runs/search", {"experiment_ids": ["0"], "order_by": [5]}, "Invalid value [5] for parameter 'order_by' supplied"),
        ("runs/search", {"experiment_ids": ["0"], "run_view_type": "SOME"}, "for parameter 'run_view_type' supplied"),
    ]:
        bad(call, body, text)
    assert post("runs/set-tag", {"run_uuid": run, "key": "key", "value": "value"}).status_code == 200
    answer = post("runs/log-batch", {"run_id": run, "metrics": [{"key": "mae", "value": 2.5, "timestamp": 123456789}]})
    assert answer.status_code == 200, answer.text
    assert store.get_run(run).data.metrics == {"mae": 2.5}


# What runs log


@case
def values_that_are_no_finite_numbers():
    run = run_of()
    for key, value in [("nan", math.nan), ("inf", math.inf), ("-inf", -math.inf), ("one", 1)]:
        client.log_metric(run, key, value)
    metrics = store.get_run(run).data.metrics
    assert math.isnan(metrics["nan"]) and metrics["inf"] == math.inf and metrics["-inf"] == -math.inf
    assert metrics["one"] == 1.0


@case
def the_latest_value_of_a_metric():
    run = run_of()
    logged = [(0, 100, 1000), (3, 40, 100), (3, 50, 10), (3, 50, 20), (3, 50, 20), (-3, 900, 900), (-1, 800, 800)]
    for step, timestamp, value in reversed(logged):
        store.log_metric(run, Metric("m", value, timestamp, step))
    history = store.get_metric_history(run, "m")
    assert {(m.step, m.timestamp, m.value) for m in history} == set(logged) and len(history) == 6
    latest = store.get_run(run).data._metric_objs[0]
    assert (latest.step, latest.timestamp, latest.value) == (3, 50, 20)
    # The same within one batch, whatever came last; NaN is as zero.
    run = run_of()
    store.log_batch(run, [Metric("m", value, 1, 0) for value in [5.0, 7.0, 6.0]], [], [])
    store.log_batch(run, [Metric("n", value, 1, 0) for value in [-1.0, math.nan, -2.0]], [], [])
    metrics = store.get_run(run).data.metrics
    assert metrics["m"] == 7.0 and math.isnan(metrics["n"])


@case
def the_history_of_a_metric_in_pages():
    run = run_of()
    for number in range(10):
        store.log_metric(run, Metric("m", float(number), 1000 + number, number))
    first = store.get_metric_history(run, "m", max_results=4)
    second = store.get_metric_history(run, "m", max_results=4, page_token=first.token)
    third = store.get_metric_history(run, "m", max_results=4, page_token=second.token)
    assert [len(first), len(second), len(third)] == [4, 4, 2] and third.token is None
    assert [m.value for page in [first, second, third] for m in page] == [float(number) for number in range(10)]
    assert list(store.get_metric_history(run, "m", max_results=0)) == []
    assert len(store.get_metric_history(run, "m", max_results=20)) == 10
    assert list(store.get_metric_history(run, "unknown")) == []
    refused("Invalid page token", store.get_metric_history, run, "m", page_token="invalid_token")


@case
def a_parameter_never_changes():
    run = run_of()
    store.log_param(run, Param("p", "1"))
    store.log_param(run, Param("p", "1"))
    store.log_param(run, Param("empty", ""))
    refused("Changing param values is not allowed", store.log_param, run, Param("p", "2"))
    refused(
        "Changing param values is not allowed",
        store.log_batch,
        run,
        [Metric("m", 3.0, 1, 0)],
        [Param("new", "1"), Param("p", "2")],
        [RunTag("t", "v")],
    )
    refused("Duplicate parameter keys have been submitted", store.log_batch, run, [], [Param("d", "1"), Param("d", "2")], [])
    store.log_batch(run, [], [Param("p", "1"), Param("c", "2")], [])
    data = store.get_run(run).data
    assert data.params == {"p": "1", "empty": "", "c": "2"} and data.metrics == {} and "t" not in data.tags


@case
def batches_have_limits():
    run = run_of()
    store.log_batch(run, [Metric(f"m{i}", i, 12345, i * 2) for i in range(1000)], [], [])
    assert len(store.get_run(run).data.metrics) == 1000
    metrics = [{"key": "m", "value": i, "timestamp": i} for i in range(1001)]
    pairs = [{"key": f"k{i}", "value": "v"} for i in range(101)]
    bad("runs/log-batch", {"run_id": run, "metrics": metrics}, "at most 1000 metrics. Got 1001 metrics")
    bad("runs/log-batch", {"run_id": run, "params": pairs}, "at most 100 params. Got 101 params")
    bad("runs/log-batch", {"run_id": run, "tags": pairs}, "at most 100 tags. Got 101 tags")
    bad("runs/log-batch", {"run_id": run, "metrics": metrics[:1000], "params": pairs[:1]}, "at most 1000 metrics, params, and tags. Got 1001")


@case
def batches_may_be_sent_again():
    run = run_of()
    metrics = [Metric(f"m{i}", float(i), 1, 0) for i in range(150)]
    for _ in range(2):
        store.log_batch(run, metrics, [Param("p", "v")], [RunTag("t", "v"), RunTag("t", "w")])
    store.log_batch(run, metrics + [Metric("m0", 2.0, 3, 0)], [], [])
    found = store.get_run(run)
    assert found.data.tags["t"] == "w" and found.data.metrics["m0"] == 2.0
    assert [m.value for m in store.get_metric_history(run, "m0")] == [0.0, 2.0]
    assert [m.value for m in store.get_metric_history(run, "m1")] == [1.0]


@case
def datasets_that_a_run_has_read():
    experiment = fresh()
    run, other = run_of(experiment), run_of(experiment)
    dataset = Dataset("name", "digest", "st", "source", "schema", "profile")
    tags = [InputTag("key1", "value1"), InputTag("key2", "value2")]
    kept = [(dataset.to_dictionary(), [("key1", "value1"), ("key2", "value2")])]
    store.log_inputs(run, [DatasetInput(dataset, tags), DatasetInput(dataset, tags)])
    assert inputs_of(run) == kept
    # What was logged stays as it is.
    store.log_inputs(run, [DatasetInput(Dataset("name", "digest", "x", "x", "x", "x"), [InputTag("key3", "value3")])])
    assert inputs_of(run) == kept
    another = Dataset("name", "other digest", "st", "source")
    store.log_inputs(run, [DatasetInput(another, [])])
    assert inputs_of(run) == [*kept, (another.to_dictionary(), [])]
    store.log_inputs(other, [DatasetInput(dataset, [InputTag("k", "v")])])
    assert inputs_of(other) == [(dataset.to_dictionary(), [("k", "v")])]
    store.log_inputs(other)
    found = {r.info.run_id: r for r in store.search_runs([experiment], "", ViewType.ALL)}
    assert len(found[run].inputs.dataset_inputs) == 2 and len(found[other].inputs.dataset_inputs) == 1


@case
def datasets_have_limits():
    run = run_of()

    def logged(tag=("k", "v"), **more):
        dataset = {"name": "n", "digest": "d", "source_type": "t", "source": "s"} | more
        store.log_inputs(run, [DatasetInput(Dataset(**dataset), [InputTag(*tag)])])

    for part, most in [("name", 500), ("digest", 36), ("source", 65535), ("schema", 1048575), ("profile", 16777215)]:
        logged(**{part: "a" * most})
        refused(f"'{part}' exceeds the maximum length of {most}", logged, **{part: "a" * (most + 1)})
    refused("'key' exceeds the maximum length of 255", logged, tag=("k" * 256, "v"))
    refused("'value' exceeds the maximum length of 500", logged, tag=("k", "v" * 501))
    dataset = {"name": "n", "digest": "d", "source_type": "t", "source": "s"}
    for part in dataset:
        body = {name: value for name, value in dataset.items() if name != part}
        bad("runs/log-inputs", {"run_id": run, "datasets": [{"dataset": body}]}, f"Dataset {part} cannot be None")
    bad("runs/log-inputs", {"run_id": run, "datasets": [{"dataset": dataset, "tags": [{"key": "k"}]}]}, "InputTag value cannot be None")
    bad("runs/log-inputs", {"run_id": run, "datasets": "foo"}, "Invalid value \"foo\" for parameter 'datasets' supplied")


# Searches


@case
def runs_are_searched_by_parameters_and_tags():
    experiment = fresh()
    first, second = run_of(experiment, start_time=2), run_of(experiment, start_time=1)
    for prefix, log in [
        ("params", lambda run, key, value: store.log_param(run, Param(key, value))),
        ("tags", lambda run, key, value: store.set_tag(run, RunTag(key, value))),
    ]:
        for run, pairs in [
            (first, {"common": "p_val", "two": "some value", "p_a": "abc", "sp ace": "it's"}),
            (second, {"common": "p_val", "two": "another value", "p_b": "ABC"}),
        ]:
            for key, value in pairs.items():
                log(run, key, value)
        one = prefix.removesuffix("s")
        for filter_string, expected in [
            (f"{prefix}.common = 'p_val'", [first, second]),
            (f"{one}.common = 'p_val'", [first, second]),
            (f"{prefix}.common = 'P_VAL'", []),
            (f"{prefix}.common != 'P_VAL'", [first, second]),
            (f"{prefix}.common != 'p_val'", []),
            (f"{prefix}.two = 'some value'", [first]),
            (f"{prefix}.two = \"another value\"", [second]),
            (f"{prefix}.`two` = 'another value'", [second]),
            (f"{prefix}.\"two\" = 'another value'", [second]),
            (f"{prefix}.`sp ace` = \"it's\"", [first]),
            (f"{prefix}.p_a = 'abc'", [first]),
            (f"{prefix}.p_a = 'ABC'", []),
            (f"{prefix}.p_a != 'ABC'", [first]),
            (f"{prefix}.p_b = 'ABC'", [second]),
            (f"{prefix}.two LIKE '%other%'", [second]),
            (f"{prefix}.two LIKE 'other%'", []),
            (f"{prefix}.two LIKE '%other'", []),
            (f"{prefix}.two LIKE '_nother%'", [second]),
            (f"{prefix}.two LIKE '%Other%'", []),
            (f"{prefix}.two ILIKE '%Other%'", [second]),
            (f"{prefix}.two ILIKE '%Other%' and {prefix}.common ILIKE 'P_VAL'", [second]),
            (f"{prefix}.p_a IS NULL", [second]),
            (f"{prefix}.p_a IS NOT NULL", [first]),
            (f"{prefix}.p_a IS NULL AND {prefix}.common = 'p_val'", [second]),
        ]:
            assert search(experiment, filter_string) == expected, filter_string


@case
def runs_are_searched_by_metrics():
    experiment = fresh()
    first, second = run_of(experiment, start_time=2), run_of(experiment, start_time=1)
    for run, metric in [
        (first, ("common", 1.0, 1, 0)),
        (second, ("common", 1.0, 1, 0)),
        (first, ("m", 1.0, 1, 0)),
        (second, ("m", 200.0, 2, 0)),
        (second, ("m", 400.0, 3, 0)),
        (second, ("late", 3.0, 2, 0)),
        (second, ("late", 4.0, 8, 0)),
        (second, ("late", 8.0, 3, 0)),
        (first, ("broken", math.nan, 1, 0)),
        (second, ("broken", 0.0, 1, 0)),
    ]:
        store.log_metric(run, Metric(*metric))
    for filter_string, expected in [
        ("metrics.common = 1.0", [first, second]),
        ("metric.common >= 0", [first, second]),
        ("metrics.common <= 4e0", [first, second]),
        ("metrics.common != 1.0", []),
        ("metrics.common >= 3.0", []),
        ("metrics.m < 50.0", [first]),
        ("metrics.m > 50.0", [second]),
        ("metrics.m != -12.0", [first, second]),
        ("metrics.m = 400", [second]),
        ("metrics.late > 5.0", []),
        ("metrics.late = 4.0", [second]),
        # NaN is unequal to every number, and nothing else.
        ("metrics.broken = 0", [second]),
        ("metrics.broken >= 0", [second]),
        ("metrics.broken != 0", [first]),
        ("metrics.m > 0 AND metrics.common = 1 and metrics.late < 5", [second]),
    ]:
        assert search(experiment, filter_string) == expected, filter_string


@case
def runs_are_searched_by_attributes():
    first_experiment, second_experiment = fresh(), fresh()
    both = [first_experiment, second_experiment]
    first = run_of(first_experiment, start_time=2, run_name="one", user_id="Neo")
    second = run_of(second_experiment, start_time=1, run_name="two")
    store.update_run_info(second, RunStatus.FAILED, 300, None)
    uri = store.get_run(first).info.artifact_uri
    for filter_string, expected in [
        ("", [first, second]),
        ("attribute.status != 'blah'", [first, second]),
        ("attributes.status = 'RUNNING'", [first]),
        ("attr.status = 'FAILED'", [second]),
        ("run.status = 'FAILED'", [second]),
        ("`status` = 'FAILED'", [second]),
        ("status = 'KILLED'", []),
        ("user_id = 'Neo'", [first]),
        ("user_id != 'Neo'", [second]),
        ("user_id LIKE 'Ander%'", [second]),
        (f"artifact_uri = '{uri}'", [first]),
        (f"artifact_uri = '{uri.upper()}'", []),
        ("artifact_uri != 'random'", [first, second]),
        (f"attribute.artifact_uri LIKE '%{first[:16]}%'", [first]),
        (f"attribute.artifact_uri LIKE '%{first.upper()}%'", []),
        (f"attribute.artifact_uri ILIKE '%{first.upper()}%'", [first]),
        ("run_name = 'one'", [first]),
        ("attributes.`Run name` = 'one'", [first]),
        ("attributes.`run name` = 'two'", [second]),
        ("attributes.`Run Name` = 'two'", [second]),
        ("tags.`mlflow.runName` = 'two'", [second]),
        ("tags.mlflow.runName = 'two'", [second]),
        (f"run_id = '{first}'", [first]),
        (f"run_id != '{first}'", [second]),
        (f"run_id IN ('{first}')", [first]),
        (f"run_id IN ('{first}','{second}')", [first, second]),
        (f"run_id in ('{first}',   \"{second}\")", [first, second]),
        (f"attributes.run_id NOT IN ('{first}')", [second]),
        (f"run_name = 'one' AND run_id IN ('{first}')", [first]),
        ("start_time > 1", [first]),
        ("created >= 1", [first, second]),
        ("Created < 2", [second]),
        ("end_time = 300", [second]),
        ("end_time != 1", [second]),
    ]:
        assert search(both, filter_string) == expected, filter_string


@case
def runs_are_searched_by_datasets():
    experiment = fresh()
    runs = [run_of(experiment, start_time=4 - number) for number in range(3)]
    sets = [Dataset(f"name{i}", f"digest{i}", "t", "s") for i in range(3)]

    def read(dataset, context):
        return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])

    store.log_inputs(runs[0], [read(sets[0], "train"), read(sets[1], "eval")])
    store.log_inputs(runs[1], [read(sets[0], "train"), read(sets[2], "eval")])
    store.log_inputs(runs[2], [read(sets[1], "test")])
    store.log_param(runs[0], Param("lr", "0.1"))
    for filter_string, expected in [
        ("dataset.name = 'name0'", runs[:2]),
        ("datasets.digest = 'digest1'", [runs[0], runs[2]]),
        ("dataset.name = 'name4'", []),
        ("dataset.context = 'train'", runs[:2]),
        ("dataset.context = 'test' and dataset.name = 'name1'", [runs[2]]),
        ("datasets.name IN ('name1', 'name2')", runs),
        ("datasets.context IN ('test', 'train')", runs),
        ("datasets.name LIKE 'Name%'", []),
        ("datasets.name ILIKE 'Name%'", runs),
        ("params.lr = '0.1' AND dataset.context = 'eval' AND dataset.name = 'name0'", [runs[0]]),
    ]:
        assert search(experiment, filter_string) == expected, filter_string


@case
def searches_of_runs_that_make_no_sense():
    experiment = fresh()
    for filter_string, text in [
        ("attributes.nonsense = 'a'", "Invalid attribute key 'nonsense' specified"),
        ("attribute.experiment_id = '1'", "Invalid attribute key 'experiment_id' specified"),
        ("attribute.lifecycle_stage = 'ACTIVE'", "Invalid attribute key 'lifecycle_stage' specified"),
        ("start_time = 'a'", "Expected numeric value type for numeric attribute"),
        ("metrics.a = 'b'", "Expected numeric value type for metric"),
        ("metrics.a = NaN", "Expected numeric value type for metric"),
        ("params.a = 1", "Expected a quoted string value for parameter"),
        ("tags.a = 1", "Expected a quoted string value for tag"),
        ("status = 1", "Expected a quoted string value for attributes"),
        ("metrics.a LIKE 1", "Invalid comparator 'LIKE' not one of"),
        ("params.a > 'b'", "Invalid comparator '>' not one of"),
        ("tags.a >= 'b'", "Invalid comparator '>=' not one of"),
        ("status < 'b'", "Invalid comparator '<' not one of"),
        ("start_time LIKE 1", "Invalid comparator 'LIKE' not one of"),
        ("status IN ('a')", "Only the 'run_id' attribute supports comparison with a list"),
        ("run_id IN ()", "While parsing a list in the query, expected a non-empty list"),
        ("run_id IN (1)", "While parsing a list in the query"),
        ("run_id IN ('a' 'b')", "While parsing a list in the query"),
        ("toasters.a = 'b'", "Invalid entity type 'toasters'"),
        ("dataset.color = 'red'", "Invalid dataset key 'color'"),
        ("metrics.a = 1 OR metrics.a = 2", "Invalid clause(s) in filter string"),
        ("metrics.a = 1 metrics.b = 2", "Invalid clause(s) in filter string"),
        ("metrics.a", "Invalid clause(s) in filter string"),
        ("metrics.a IS NULL", "IS NULL / IS NOT NULL is only supported for tags and params"),
        ("tags.`a = 'b'", "is not closed"),
    ]:
        refused(text, store.search_runs, [experiment], filter_string, ViewType.ALL)
    for order_by, text in [
        (["nonsense"], "Invalid attribute key 'nonsense' specified"),
        (["attributes.nonsense DESC"], "Invalid attribute key 'nonsense' specified"),
        (["toasters.a"], "Invalid entity type 'toasters'"),
        (["metrics.a DOWN"], "Invalid ordering key in order_by clause"),
        (["metrics.a ASC DESC"], "Could not be parsed"),
        (["metrics.a, metrics.b"], "Could not be parsed"),
        (["metrics.a", "metrics.a DESC"], "`order_by` contains duplicate fields"),
        (["start_time", "created"], "`order_by` contains duplicate fields"),
    ]:
        refused(text, store.search_runs, [experiment], "", ViewType.ALL, order_by=order_by)
    refused("Invalid value 123456789 for parameter 'max_results' supplied", store.search_runs, [experiment], "", ViewType.ALL, max_results=123456789)
    refused("Invalid value 50001 for parameter 'max_results'", store.search_runs, [experiment], "", ViewType.ALL, max_results=50001)
    refused("Invalid page token", store.search_runs, [experiment], "", ViewType.ALL, page_token="nonsense")


@case
def numbers_then_nan_then_nothing_in_both_directions():
    experiment = fresh()
    values = [None, "nan", "inf", "-inf", "-1000", "0", "0", "1000"]
    for number, value in enumerate(values, 1):
        run = run_of(experiment, start_time=123, run_name=f"{value}/{number}", tags=[RunTag("metric", str(number))])
        if value is not None:
            store.log_metric(run, Metric("x", float(value), 1, 0))
            store.log_metric(run, Metric("y", float(number), 1, 0))
        store.log_param(run, Param("metric", str(number)))
    ends = ["nan/2", "None/1"]
    up = ["-inf/4", "-1000/5", "0/6", "0/7", "1000/8", "inf/3"]
    up_then_down = ["-inf/4", "-1000/5", "0/7", "0/6", "1000/8", "inf/3"]
    for order_by, expected in [
        (["metrics.x asc", "metrics.y asc"], up),
        (["metric.x", "tag.metric ASC"], up),
        (["metrics.x asc", "metrics.y desc"], up_then_down),
        (["metrics.x asc", "tags.metric desc"], up_then_down),
        (["metrics.x desc", "metrics.y asc"], up_then_down[::-1]),
        (["metrics.x desc", "param.metric desc"], up[::-1]),
        (["metrics.`x` DESC", "params.\"metric\" DESC"], up[::-1]),
    ]:
        assert ordered(experiment, order_by) == expected + ends, order_by


@case
def runs_come_in_the_order_of_their_attributes():
    experiment = fresh()
    for start, end in enumerate([234, None, 456, -123, 789, 123], 123):
        run = run_of(experiment, start_time=start, run_name=str(end))
        store.update_run_info(run, RunStatus.FINISHED, end, None)
    for order_by, expected in [
        (["attribute.end_time asc"], ["-123", "123", "234", "456", "789", "None"]),
        (["end_time desc"], ["789", "456", "234", "123", "-123", "None"]),
        (["start_time asc", "end_time desc"], ["234", "None", "456", "-123", "789", "123"]),
        (["attributes.created DESC"], ["123", "789", "-123", "456", "None", "234"]),
        (["attributes.Created"], ["234", "None", "456", "-123", "789", "123"]),
        (["run_name"], ["-123", "123", "234", "456", "789", "None"]),
        (["tags.unknown"], ["123", "789", "-123", "456", "None", "234"]),
        ([], ["123", "789", "-123", "456", "None", "234"]),
    ]:
        assert ordered(experiment, order_by) == expected, order_by


@case
def runs_come_in_pages():
    experiment = fresh()
    runs = sorted(run_of(experiment, start_time=10) for _ in range(8))
    for most in [1, 2, 4, 8, 20]:
        assert search(experiment, max_results=most) == runs[:most]
    first = store.search_runs([experiment], "", ViewType.ALL, max_results=4)
    assert [run.info.run_id for run in first] == runs[:4] and first.token
    second = store.search_runs([experiment], "", ViewType.ALL, max_results=4, page_token=first.token)
    assert [run.info.run_id for run in second] == runs[4:] and not second.token


@case
def runs_come_in_views():
    experiment = fresh()
    runs = sorted(run_of(experiment) for _ in range(3))
    store.delete_run(runs[0])
    assert search(experiment, run_view_type=ViewType.ALL) == runs
    assert search(experiment, run_view_type=ViewType.ACTIVE_ONLY) == runs[1:]
    assert search(experiment, run_view_type=ViewType.DELETED_ONLY) == runs[:1]


# Artifacts


def write(folder, name, text):
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def read_all(folder):
    return {
        str(path.relative_to(folder)): path.read_text() for path in Path(folder).rglob("*") if path.is_file()
    }


def artifacts_of(run):
    with tempfile.TemporaryDirectory() as folder:
        client.log_artifact(run, write(folder, "my.file", "Hello"), None)
        client.log_artifact(run, write(folder, "my.file", "Hello"), "dir")
        client.log_artifact(run, write(folder, "other.file", "there"), "dot/ted")
    expected = {"my.file": "Hello", "dir/my.file": "Hello", "dot/ted/other.file": "there"}
    assert {one.path for one in client.list_artifacts(run)} == {"my.file", "dir", "dot"}
    for path, found in [
        ("dir", {"dir/my.file"}),
        ("./dir", {"dir/my.file"}),
        ("dir/", {"dir/my.file"}),
        (".", {"my.file", "dir", "dot"}),
        ("./dot/./ted", {"dot/ted/other.file"}),
    ]:
        listed = requests.get(
            f"{tracking_uri}/api/2.0/mlflow/artifacts/list",
            params={"run_id": run, "path": path},
            headers={"Authorization": f"Bearer {token}"},
        ).json()
        assert {one["path"] for one in listed["files"]} == found, (path, listed)
    for path in ["", "."]:
        with tempfile.TemporaryDirectory() as folder:
            assert read_all(mlflow.artifacts.download_artifacts(run_id=run, artifact_path=path, dst_path=folder)) == expected
    with tempfile.TemporaryDirectory() as folder:
        assert read_all(mlflow.artifacts.download_artifacts(run_id=run, artifact_path="./dir", dst_path=folder)) == {"my.file": "Hello"}


@case
def artifacts_lie_where_dots_lead():
    artifacts_of(run_of())


@case
def artifacts_lie_where_their_experiment_says():
    run = run_of(fresh(artifact_location="mlflow-artifacts:/my/place"))
    assert store.get_run(run).info.artifact_uri == f"mlflow-artifacts:/my/place/{run}/artifacts"
    artifacts_of(run)
    with tempfile.TemporaryDirectory() as folder:
        run = run_of(fresh(artifact_location=folder))
        client.log_text(run, "here", "text.txt")
        assert Path(folder, run, "artifacts", "text.txt").read_text() == "here"


@case
def artifacts_stay_below_their_run():
    run = run_of()
    for path in ["../path", "a/../../b", "/etc"]:
        answer = requests.get(
            f"{tracking_uri}/api/2.0/mlflow/artifacts/list",
            params={"run_id": run, "path": path},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 400, answer.text
        assert answer.json() == {"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid path"}


# What MLflow's fluent calls and its command line do with a tracking server


@case
def the_default_experiment_is_there():
    found = client.get_experiment_by_name("Default")
    assert client.get_experiment(found.experiment_id).name == "Default" and found.lifecycle_stage == "active"
    assert "Default" in {one.name for one in client.search_experiments()}
    with mlflow.start_run() as run:
        assert run.info.experiment_id == found.experiment_id


@case
def experiments_by_the_command_line():
    name = f"cli-{uuid.uuid4().hex}"

    def call(*arguments):
        done = CliRunner().invoke(mlflow.experiments.commands, list(arguments))
        assert done.exit_code == 0, (arguments, done.output, done.exception)
        return done.output

    call("create", "--experiment-name", name)
    made = client.get_experiment_by_name(name).experiment_id
    call("delete", "-x", made)
    assert client.get_experiment(made).lifecycle_stage == "deleted"
    assert name in call("search", "--view", "deleted_only")
    call("restore", "-x", made)
    assert client.get_experiment(made).lifecycle_stage == "active"
    call("rename", "--experiment-id", made, "--new-name", f"{name}-new")
    assert client.get_experiment(made).name == f"{name}-new"


@case
def a_run_ends_as_it_is_told():
    experiment = fresh()
    for status, config in [("FINISHED", {}), ("FAILED", {"status": "FAILED"}), ("KILLED", {"status": "KILLED", "end_time": 7})]:
        run = client.create_run(experiment).info.run_id
        info = client.get_run(run).info
        assert info.status == "RUNNING" and info.end_time is None
        client.set_terminated(run, **config)
        client.update_run(run, name="another name")
        info = client.get_run(run).info
        assert (info.status, info.run_name) == (status, "another name")
        assert info.end_time == config.get("end_time", info.end_time) and 0 < info.end_time <= time.time() * 1000


@case
def a_failing_block_fails_its_run():
    try:
        with mlflow.start_run(experiment_id=fresh()) as run:
            raise KeyError("the block's own")
    except KeyError:
        pass
    assert client.get_run(run.info.run_id).info.status == "FAILED"
    with mlflow.start_run(run_id=run.info.run_id):
        mlflow.log_metric("again", 1)
    found = client.get_run(run.info.run_id)
    assert found.info.status == "FINISHED" and found.data.metrics == {"again": 1.0}


@case
def runs_within_runs():
    experiment = fresh()
    with mlflow.start_run(experiment_id=experiment, run_name="parent") as parent:
        for number in range(2):
            with mlflow.start_run(experiment_id=experiment, run_name=f"child {number}", nested=True) as child:
                with mlflow.start_run(experiment_id=experiment, nested=True) as grandchild:
                    pass
    assert mlflow.get_parent_run(child.info.run_id).info.run_id == parent.info.run_id
    assert mlflow.get_parent_run(grandchild.info.run_id).info.run_id == child.info.run_id
    assert mlflow.get_parent_run(parent.info.run_id) is None
    children = search(experiment, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert len(children) == 2 and child.info.run_id in children


@case
def texts_that_are_empty():
    run = run_of()
    client.log_batch(run, params=[Param("p", "")], tags=[RunTag("t", "")])
    client.log_param(run, "q", "")
    client.set_tag(run, "multiline", "one\ntwo\n")
    data = client.get_run(run).data
    assert data.params == {"p": "", "q": ""}
    assert data.tags["t"] == "" and data.tags["multiline"] == "one\ntwo\n"


@case
def what_is_logged_without_waiting_arrives():
    with mlflow.start_run(experiment_id=fresh()) as run:
        for step in range(20):
            mlflow.log_metric("m", step, step=step, synchronous=False)
        mlflow.log_params({f"p{number}": number for number in range(20)}, synchronous=False)
        mlflow.set_tags({"t": "v"}, synchronous=False)
        mlflow.flush_async_logging()
    data = client.get_run(run.info.run_id).data
    assert data.metrics == {"m": 19.0} and len(data.params) == 20 and data.tags["t"] == "v"
    history = client.get_metric_history(run.info.run_id, "m")
    # Batches are sent at once, and arrive in any order.
    assert sorted((one.step, one.value) for one in history) == [(step, float(step)) for step in range(20)]


@case
def artifacts_by_the_fluent_calls():
    with mlflow.start_run(experiment_id=fresh()) as run, tempfile.TemporaryDirectory() as folder:
        write(folder, "a.txt", "a")
        write(folder, "deep/b.txt", "b")
        mlflow.log_artifacts(folder, "all")
        mlflow.log_dict({"x": [1, 2]}, "made/dict.json")
        mlflow.log_text("<p>é</p>", "page.html")
        # Written again, it is the new one.
        mlflow.log_text("<p>new</p>", "page.html")
    root = run.info.artifact_uri
    assert mlflow.artifacts.load_dict(f"{root}/made/dict.json") == {"x": [1, 2]}
    assert mlflow.artifacts.load_text(f"{root}/page.html") == "<p>new</p>"
    listed = {(one.path, one.is_dir, one.file_size) for one in mlflow.artifacts.list_artifacts(run_id=run.info.run_id)}
    assert listed == {("all", True, None), ("made", True, None), ("page.html", False, 10)}
    with tempfile.TemporaryDirectory() as folder:
        place = mlflow.artifacts.download_artifacts(artifact_uri=f"runs:/{run.info.run_id}/all", dst_path=folder)
        assert read_all(place) == {"a.txt": "a", "deep/b.txt": "b"}


@case
def artifacts_are_deleted():
    run = run_of()
    for path in ["dir/a.txt", "dir/deep/b.txt", "stays.txt"]:
        client.log_text(run, "text", path)
    repository = get_artifact_repository(store.get_run(run).info.artifact_uri)
    repository.delete_artifacts("dir")
    assert {one.path for one in client.list_artifacts(run)} == {"stays.txt"}
    assert client.list_artifacts(run, "dir") == []
    repository.delete_artifacts("stays.txt")
    assert client.list_artifacts(run) == []


passed, failed = [], {}
for call in CASES:
    try:
        call()
        passed.append(call.__name__)
    except Exception:
        failed[call.__name__] = traceback.format_exc(limit=-3)
print(json.dumps({"version": mlflow.__version__, "passed": passed, "failed": failed}), file=result)
