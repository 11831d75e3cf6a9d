"""Writes the SHA-256 of every file that pip may install beside each version of the lists.

    python xtask/python/pin_hashes.py        # rewrites xtask/python/*.txt, after a version was changed

pip then runs with --require-hashes: a file that the index replaced later is refused. The lists name the wheels for
Linux on x86-64 and ARM64 and for the versions of Python that the lists are for; a source archive only where no such
wheel exists.
"""

import json
import pathlib
import re
import urllib.request

from pip._internal.configuration import Configuration
from pip._internal.models.index import PyPI

PYTHONS = [f"cp3{minor}" for minor in range(10, 15)]
MACHINES = ["x86_64", "aarch64"]
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)==([^\s;\\]+)")


def index():
    """The address of pip's package index."""
    configuration = Configuration(isolated=False)
    configuration.load()
    settings = dict(configuration.items())
    # Newer versions of pip keep one dictionary for each file.
    flat = {key: value for entry in settings.values() if isinstance(entry, dict) for key, value in entry.items()}
    flat.update({key: value for key, value in settings.items() if isinstance(value, str)})
    for key, value in flat.items():
        if key.endswith("index-url") and "extra" not in key:
            return value
    return PyPI.simple_url


def files(name):
    """What the index has of a project: names of files and their SHA-256."""
    normal = re.sub(r"[-_.]+", "-", name).lower()
    request = urllib.request.Request(
        f"{index().rstrip('/')}/{normal}/",
        headers={"Accept": "application/vnd.pypi.simple.v1+json"},
    )
    with urllib.request.urlopen(request) as response:
        return [(file["filename"], file["hashes"]["sha256"]) for file in json.load(response)["files"]]


def fits(wheel):
    """Whether pip may choose a wheel."""
    python, abi, platform = wheel.removesuffix(".whl").rsplit("-", 3)[1:]
    pythons = python.split(".")
    if not any(tag in ["py3", "py2.py3"] or tag in PYTHONS for tag in pythons) and "abi3" not in abi:
        return False
    if platform == "any":
        return True
    return any(
        part.startswith(("manylinux", "linux")) and part.endswith(tuple(MACHINES))
        for part in platform.split(".")
    )


def hashes(name, version):
    """The SHA-256 of each file of a version that pip may choose."""
    normal = re.sub(r"[-_.]+", "-", name).lower()
    wheels, sources = [], []
    for file, digest in files(name):
        if file.endswith(".whl"):
            project, its_version = file.split("-")[:2]
            if re.sub(r"[-_.]+", "-", project).lower() == normal and its_version == version and fits(file):
                wheels.append(digest)
        elif file.endswith((f"-{version}.tar.gz", f"-{version}.zip")):
            sources.append(digest)
    if not wheels:
        print(f"{name} {version}: no wheel, the source archive")
    found = sorted(wheels or sources)
    assert found, f"{name} {version}: nothing on the index"
    return found


def pinned(text, known):
    """A list with the hashes of each version."""
    lines = []
    for line in text.splitlines():
        if line.strip().startswith("--hash="):
            continue
        line = line.removesuffix("\\").rstrip()
        requirement = REQUIREMENT.match(line)
        if not requirement:
            lines.append(line)
            continue
        key = requirement.groups()
        if key not in known:
            known[key] = hashes(*key)
        digests = [f"    --hash=sha256:{digest}" for digest in known[key]]
        lines.append(" \\\n".join([line, *digests]))
    return "\n".join(lines) + "\n"


def main():
    known = {}
    for list_ in sorted(pathlib.Path(__file__).parent.glob("*.txt")):
        list_.write_text(pinned(list_.read_text(), known))


if __name__ == "__main__":
    main()
