"""Runs a notebook by nbclient and prints, as JSON, which error stopped it and what each cell's number is.

Argument: the kernel's name. Standard input: the cells, a JSON list.
"""

import json
import sys

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

notebook = new_notebook(cells=[new_code_cell(code) for code in json.load(sys.stdin)])
# Building a large dependency takes minutes.
client = NotebookClient(notebook, kernel_name=sys.argv[1], timeout=1800, startup_timeout=120)
stopped = None
try:
    client.execute()
except CellExecutionError as error:
    stopped = {"ename": error.ename, "evalue": error.evalue}
print(json.dumps({"stopped": stopped, "counts": [cell.execution_count for cell in notebook.cells]}))
