"""What the scripts that try the official azure-ai-ml client begin with, and what they do again and again."""

import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path

import azure_loopback

url, token = sys.argv[1:3]
# Only the result goes to standard output; what the client says is not part of it.
result, sys.stdout = sys.stdout, sys.stderr
_folder = tempfile.TemporaryDirectory()
# A folder of the script's own.
root = Path(_folder.name)
client = azure_loopback.connect(url, token, root)


def ended(name):
    """The status of a job at its end, which comes within two minutes."""
    deadline = time.monotonic() + 120
    while (status := client.jobs.get(name).status) not in ("Completed", "Failed", "Canceled"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} is still {status}")
        time.sleep(0.2)
    return status


def printed(call, *arguments, **named):
    """What a call prints."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        call(*arguments, **named)
    return text.getvalue()


def quietly(call, *arguments, **named):
    """What a call gives; what it prints is lost."""
    with contextlib.redirect_stdout(io.StringIO()):
        return call(*arguments, **named)


def files(path):
    """The files below a folder, with their text."""
    return {str(file.relative_to(path)): file.read_text() for file in sorted(path.rglob("*")) if file.is_file()}


def report(seen):
    """Prints the script's result."""
    print(json.dumps(seen), file=result)
