"""Runs a notebook from top to bottom and says what happens, one JSON object a line.

    execute.py NOTEBOOK EXECUTED ROOT

The notebook runs in its own folder and is not changed; with its outputs it goes to EXECUTED, without the paths of
this machine (ROOT and the user's home). Ends with 1 at the first cell that fails.
"""

import json
import os
import sys
import time

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

STARTING_TAKES_AT_MOST = 180


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def first_line(cell):
    """The first line of code that a reader would recognise the cell by."""
    lines = [line.strip() for line in cell.source.splitlines()]
    code = [line for line in lines if line and not line.startswith(("//", "use "))]
    return (code or lines or [""])[0]


def sections(notebook):
    """The heading above each cell."""
    heading, found = "", []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("#"):
                    heading = line.lstrip("# ").strip()
        found.append(heading)
    return found


class Client(NotebookClient):
    """nbclient, telling what the running cell shows."""

    def process_message(self, msg, cell, cell_index):
        kind, content = msg["msg_type"], msg["content"]
        if kind == "stream":
            say("text", text=content["text"])
        elif kind in ("display_data", "execute_result"):
            say("text", text=content["data"].get("text/plain", "") + "\n")
        elif kind == "error":
            say("error", text="\n".join(content["traceback"]) + "\n")
        elif kind == "update_display_data":
            say("status", text=content["data"].get("text/plain", ""))
        return super().process_message(msg, cell, cell_index)


def without_paths(value, paths):
    if isinstance(value, str):
        for path, shown in paths:
            value = value.replace(path, shown)
        return value
    if isinstance(value, list):
        return [without_paths(part, paths) for part in value]
    if isinstance(value, dict):
        return type(value)({name: without_paths(part, paths) for name, part in value.items()})
    return value


def save(notebook, path, root):
    paths = [(root + os.sep, ""), (root, "."), (os.environ.get("AZUREML_LOCAL_HOME"), "~"), (os.path.expanduser("~"), "~")]
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = without_paths(cell.outputs, [pair for pair in paths if pair[0] not in (None, "", "/")])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    nbformat.write(notebook, path)


def watched(notebook, folder):
    """A client that says when the kernel is ready, and when each cell starts and ends."""
    headings = sections(notebook)
    code = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    since = time.monotonic()

    def ended(event):
        say(event, seconds=time.monotonic() - since)

    def cell_ends(cell, cell_index, execute_reply):
        if execute_reply["content"]["status"] == "ok":
            ended("done")

    def cell_starts(cell, cell_index):
        nonlocal since
        since = time.monotonic()
        number = code.index(cell_index) + 1
        say("cell", number=number, of=len(code), code=first_line(cell), section=headings[cell_index])

    return Client(
        notebook,
        timeout=None,
        startup_timeout=STARTING_TAKES_AT_MOST,
        resources={"metadata": {"path": folder}},
        on_notebook_start=lambda notebook: ended("ready"),
        on_cell_execute=cell_starts,
        on_cell_executed=cell_ends,
    )


def main():
    source, executed, root = (os.path.abspath(path) for path in sys.argv[1:])
    notebook = nbformat.read(source, as_version=4)
    try:
        watched(notebook, os.path.dirname(source)).execute()
    except CellExecutionError:
        # The error has been told when it came.
        return 1
    except DeadKernelError:
        say("error", text="the kernel died; `azureml-kernel doctor` says what may be wrong and where its log is\n")
        return 1
    finally:
        save(notebook, executed, root)
    return 0


sys.exit(main())
