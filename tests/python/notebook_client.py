"""Drives the installed kernel as a notebook does, by commands on standard input.

Commands and events are one JSON object a line. Commands: {"execute": code}, {"complete": [code, cursor]},
{"restart": true}. Events: {"kernel": pid}, {"stream": name, "text": …}, {"display": data}, {"result": data},
{"error": {ename, evalue, traceback}}, {"done": status} after each cell, {"matches": […]}, {"died": true}.
The client of the tests is Jupyter's own.
"""

import json
import queue
import sys

from jupyter_client.manager import KernelManager

STARTING_TAKES_AT_MOST = 120


def say(**event):
    print(json.dumps(event), flush=True)


def execute(manager, client, code):
    request = client.execute(code, stop_on_error=True)
    while True:
        try:
            message = client.get_iopub_msg(timeout=0.5)
        except queue.Empty:
            if not manager.is_alive():
                say(died=True)
                return
            continue
        if message["parent_header"].get("msg_id") != request:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            say(stream=content["name"], text=content["text"])
        elif kind in ("display_data", "update_display_data"):
            say(display=content["data"])
        elif kind == "execute_result":
            say(result=content["data"], count=content["execution_count"])
        elif kind == "error":
            say(error=content)
        elif kind == "status" and content["execution_state"] == "idle":
            break
    reply = client.get_shell_msg(timeout=60)
    while reply["parent_header"].get("msg_id") != request:
        reply = client.get_shell_msg(timeout=60)
    say(done=reply["content"]["status"])


def main():
    manager = KernelManager(kernel_name=sys.argv[1])
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=STARTING_TAKES_AT_MOST)
    say(kernel=manager.provisioner.process.pid)
    try:
        for line in sys.stdin:
            command = json.loads(line)
            if "execute" in command:
                execute(manager, client, command["execute"])
            elif "complete" in command:
                code, cursor = command["complete"]
                reply = client.complete(code, cursor, reply=True, timeout=60)
                say(matches=reply["content"]["matches"])
            elif "restart" in command:
                manager.restart_kernel(now=True)
                client.wait_for_ready(timeout=STARTING_TAKES_AT_MOST)
                say(kernel=manager.provisioner.process.pid)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


main()
