"""A training script as Azure ML's examples have it: it reads data by URI, through azureml-fsspec and mltable."""

import json
import sys

import mltable
import pandas
from azureml.fsspec import AzureMachineLearningFileSystem

workspace = "azureml://subscriptions/{}/resourcegroups/{}/workspaces/{}".format(*sys.argv[1:])
store = f"{workspace}/datastores/workspaceblobstore"
seen = {}


def refused(call):
    """The error of a call that must fail."""
    try:
        return f"no error but {call()!r}"
    except Exception as error:
        return str(error)


files = AzureMachineLearningFileSystem(store)
seen["list"] = sorted(files.ls("data/"))
seen["glob"] = sorted(files.glob("data/**/*.csv"))
seen["exists"] = [files.exists("data/a.csv"), files.exists("data/none.csv")]
with files.open("data/deep/b é.csv") as file:
    seen["open"] = file.read().decode()
files.download("data/", "fetched", recursive=True)
with open("fetched/a.csv") as file:
    seen["download"] = file.read()
seen["pandas"] = pandas.read_csv(f"{store}/paths/data/a.csv").to_dict("list")
seen["short"] = pandas.read_csv("azureml://datastores/workspaceblobstore/paths/data/a.csv").to_dict("list")
asset = AzureMachineLearningFileSystem(f"{workspace}/data/mine/versions/1")
with asset.open("") as file:
    seen["asset"] = file.read().decode()
table = mltable.from_delimited_files([{"file": f"{store}/paths/data/a.csv"}])
seen["mltable"] = table.to_pandas_dataframe().to_dict("list")
with open("new.csv", "w") as file:
    file.write("x\n")
seen["upload"] = "PermissionDenied" in refused(
    lambda: files.upload("new.csv", "data/", recursive=False, overwrite="MERGE_WITH_OVERWRITE")
)
print("SEEN", json.dumps(seen))
