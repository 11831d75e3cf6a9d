"""Talks to the comms and widgets of cells as a front end does.

Arguments: the kernel's name, and the folder of the crate `notebook`.
"""

import os
import sys
import time

from jupyter_client.manager import KernelManager

HANGS = 120


class FrontEnd:
    def __init__(self, manager):
        self.manager = manager
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=HANGS)
        self.heard = []

    def send(self, msg_type, content, buffers=None):
        message = self.client.session.msg(msg_type, content)
        self.client.session.send(self.client.shell_channel.socket, message, buffers=buffers)
        return message["header"]["msg_id"]

    def until(self, fits):
        """Reads broadcasts until one fits; returns it."""
        limit = time.monotonic() + HANGS
        while time.monotonic() < limit:
            message = self.client.get_iopub_msg(timeout=HANGS)
            self.heard.append(message)
            if fits(message):
                return message
        raise AssertionError("it did not come")

    def until_idle(self, request):
        """What belongs to a request, busy and idle left out."""
        start = len(self.heard)
        self.until(lambda m: of(m, request) and m["content"].get("execution_state") == "idle")
        found = [m for m in self.heard[start:] if of(m, request)]
        assert found[0]["content"].get("execution_state") == "busy", found[0]
        return [m for m in found if m["msg_type"] != "status"]

    def run(self, code):
        found = self.until_idle(self.client.execute(code))
        errors = [m["content"]["traceback"] for m in found if m["msg_type"] == "error"]
        assert not errors, "\n".join(errors[0])
        return found

    def value(self, code):
        results = [m for m in self.run(code) if m["msg_type"] == "execute_result"]
        return results[0]["content"]["data"]["text/plain"]

    def say(self, comm, data, buffers=None):
        return self.send("comm_msg", {"comm_id": comm, "data": data}, buffers)

    def click(self, button):
        return self.say(button, {"method": "custom", "content": {"event": "click"}})

    def change(self, comm, **state):
        return self.say(comm, {"method": "update", "state": state, "buffer_paths": []})

    def comms(self, **asked):
        request = self.send("comm_info_request", asked)
        while True:
            reply = self.client.get_shell_msg(timeout=HANGS)
            if of(reply, request):
                return reply["content"]["comms"]


def of(message, request):
    return message["parent_header"].get("msg_id") == request


def text(messages, stream="stdout"):
    return "".join(
        m["content"]["text"]
        for m in messages
        if m["msg_type"] == "stream" and m["content"]["name"] == stream
    )


def kinds(messages):
    return [m["msg_type"] for m in messages]


def only(messages, msg_type):
    (found,) = [m for m in messages if m["msg_type"] == msg_type]
    return found


def a_slider_is_shown_and_heard(front):
    found = front.run(
        """
        use notebook::widget::{Button, LiveChart, Progress, Slider};
        let slider = Slider::new("rate", 0.0..=1.0).step(0.01).at(0.25);
        slider.on_change(|value| println!("now {value}"));
        slider
        """
    )
    opened = only(found, "comm_open")
    comm = opened["content"]["comm_id"]
    state = opened["content"]["data"]["state"]
    assert opened["content"]["target_name"] == "jupyter.widget"
    assert opened["metadata"]["version"] == "2.1.0"
    assert state["_model_module"] == "anywidget" and "render" in state["_esm"]
    shown = only(found, "execute_result")["content"]["data"]
    view = shown["application/vnd.jupyter.widget-view+json"]
    assert view == {"version_major": 2, "version_minor": 0, "model_id": comm}
    assert "Slider(rate: 0.25)\nhint: " in shown["text/plain"]
    # Between cells: the output belongs to the message, and comes before its idle.
    found = front.until_idle(front.change(comm, value=0.5))
    assert kinds(found) == ["comm_msg", "stream"], kinds(found)
    assert found[0]["content"]["data"]["method"] == "echo_update"
    assert text(found) == "now 0.5\n"
    assert front.value("slider.value()") == "0.5"
    # From the cell: every front end is told.
    found = front.run("slider.set(0.75);")
    assert only(found, "comm_msg")["content"]["data"]["state"] == {"value": 0.75}
    return comm


def a_slider_is_heard_while_a_cell_runs(front, comm):
    cell = front.client.execute(
        'println!("running"); while slider.value() != 0.1 { std::thread::yield_now(); } println!("seen");'
    )
    front.until(lambda m: of(m, cell) and "running" in m["content"].get("text", ""))
    found = front.until_idle(front.change(comm, value=0.1))
    assert text(found) == "now 0.1\n"
    if not any(of(m, cell) and "seen" in m["content"].get("text", "") for m in front.heard):
        front.until(lambda m: of(m, cell) and "seen" in m["content"].get("text", ""))
    front.client.get_shell_msg(timeout=HANGS)


def a_page_that_is_loaded_again_finds_the_widgets(front, comm):
    front.send("comm_open", {"comm_id": "page", "target_name": "jupyter.widget.control", "data": {}})
    found = front.until_idle(front.say("page", {"method": "request_states"}))
    states = only(found, "comm_msg")["content"]["data"]["states"]
    assert states[comm]["state"]["value"] == 0.1, states[comm]
    found = front.until_idle(front.say(comm, {"method": "request_state"}))
    assert only(found, "comm_msg")["content"]["data"]["state"]["value"] == 0.1
    assert front.comms(target_name="jupyter.widget") == {comm: {"target_name": "jupyter.widget"}}
    assert "page" in front.comms()
    front.until_idle(front.send("comm_close", {"comm_id": "page", "data": {}}))
    assert "page" not in front.comms()


def callbacks_may_panic_and_comms_may_be_unknown(front):
    found = front.run(
        """
        let button = Button::new("go");
        button.on_click(|| panic!("on purpose"));
        button
        """
    )
    button = only(found, "comm_open")["content"]["comm_id"]
    for _ in range(2):
        found = front.until_idle(front.click(button))
        assert "on purpose" in text(found, "stderr"), found
    assert front.until_idle(front.say("nobody", {"method": "update"})) == []
    opened = {"comm_id": "x", "target_name": "nobody", "data": {}}
    assert kinds(front.until_idle(front.send("comm_open", opened))) == ["comm_close"]
    assert front.value("1 + 1") == "2"


def large_messages_and_bytes_pass(front):
    found = front.run(
        """
        let comm = notebook::comm::Comm::open("test", serde_free());
        fn serde_free() -> notebook::comm::Value { "x".repeat(5 << 20).into() }
        let echo = comm.clone();
        comm.on_message(move |message| {
            let bytes: Vec<&[u8]> = message.buffers.iter().map(Vec::as_slice).collect();
            echo.send_with(message.data.clone(), message.metadata.clone(), &bytes);
        });
        """
    )
    opened = only(found, "comm_open")["content"]
    assert opened["data"] == "x" * (5 << 20)
    data, blob = {"text": "한글 " * 1_000_000}, bytes(range(256)) * 20_000
    found = front.until_idle(front.say(opened["comm_id"], data, [blob]))
    answer = only(found, "comm_msg")
    assert answer["content"]["data"] == data
    assert [bytes(one) for one in answer["buffers"]] == [blob]


def a_bar_and_a_chart_grow(front):
    found = front.run(
        """
        let bar = Progress::new("steps", 1000);
        for _ in 0..1000 { bar.add(1); }
        let chart = LiveChart::new("loss");
        for step in 0..1000 { chart.push("train", f64::from(step), 1.0); }
        """
    )
    bar, chart = [m["content"]["comm_id"] for m in found if m["msg_type"] == "comm_open"]
    # Few messages, and the last state among them.
    known = [m["content"] for m in front.heard if m["msg_type"] == "comm_msg"]
    if not any(m["comm_id"] == bar and m["data"].get("state") == {"value": 1000} for m in known):
        front.until(
            lambda m: m["content"].get("comm_id") == bar
            and m["content"]["data"].get("state") == {"value": 1000}
        )
    points = {}

    def grown():
        for message in front.heard:
            content = message["content"]
            if message["msg_type"] == "comm_msg" and content["comm_id"] == chart:
                part = content["data"]["content"]["series"]["train"]
                points.update(enumerate(part["points"], part["from"]))
        return len(points) == 1000

    while not grown():
        front.until(lambda m: m["content"].get("comm_id") == chart)
    messages = [m for m in front.heard if m["content"].get("comm_id") in (bar, chart)]
    assert len(messages) < 40, len(messages)


def stop_ends_a_callback_that_waits_and_spares_the_rest(front):
    found = front.run(
        """
        let kept = vec![1, 2, 3];
        let waits = Button::new("waits");
        waits.on_click(|| { println!("waiting"); std::thread::sleep(std::time::Duration::from_secs(1000)); });
        let asks = Button::new("asks");
        asks.on_click(|| {
            println!("waiting");
            while !notebook::interrupted() { std::thread::yield_now(); }
            notebook::display(&notebook::MimeBundle::new().text("seen"));
        });
        let runs = Button::new("runs");
        runs.on_click(|| {
            println!("waiting");
            std::process::Command::new("sleep").arg("1000").status().unwrap();
        });
        """
    )
    buttons = [m["content"]["comm_id"] for m in found if m["msg_type"] == "comm_open"]
    # Twice: what was stopped is called again, and stopped again.
    stopped = "Interrupted: the callback was stopped\n"
    for button, seen, err in list(zip(buttons, [[], ["seen"], []], [stopped, "", stopped])) * 2:
        start, clicked = len(front.heard), front.click(button)
        front.until(lambda m: of(m, clicked) and "waiting" in m["content"].get("text", ""))
        # A cell runs beside it, and is not what is stopped.
        assert front.value("kept.len()") == "3"
        front.manager.interrupt_kernel()
        front.until(lambda m: of(m, clicked) and m["content"].get("execution_state") == "idle")
        found = [m for m in front.heard[start:] if of(m, clicked)]
        displays = [m["content"]["data"]["text/plain"] for m in found if m["msg_type"] == "display_data"]
        assert (text(found), displays, text(found, "stderr")) == ("waiting\n", seen, err), found
        assert front.value("kept.len()") == "3"


def stop_says_what_to_do_about_a_callback_that_computes(front):
    found = front.run(
        """
        let loops = Button::new("loops");
        loops.on_click(|| { println!("looping"); loop { std::hint::spin_loop(); } });
        """
    )
    clicked = front.click(only(found, "comm_open")["content"]["comm_id"])
    front.until(lambda m: of(m, clicked) and "looping" in m["content"].get("text", ""))
    front.manager.interrupt_kernel()
    said = front.until(lambda m: of(m, clicked) and m["content"].get("name") == "stderr")
    assert "does not stop" in said["content"]["text"] and "\nhint: " in said["content"]["text"], said
    # Cells run, and say so too, for what callbacks say is easily overlooked.
    assert text(front.run("assert_eq!(kept.len(), 3);"), "stderr") == said["content"]["text"]
    # The second press ends it by force.
    front.manager.interrupt_kernel()
    front.until(lambda m: of(m, clicked) and m["content"].get("execution_state") == "idle")
    error = only(front.until_idle(front.client.execute("kept.len()")), "error")["content"]
    assert error["ename"] == "ProcessDied" and "the stop button" in error["evalue"], error
    assert "`kept`" in "\n".join(error["traceback"]), error
    assert front.value("3 + 3") == "6"


def a_process_that_dies_closes_its_comms(front, comm):
    request = front.client.execute("std::process::abort();")
    front.until(lambda m: m["msg_type"] == "comm_close" and m["content"]["comm_id"] == comm)
    if not any(of(m, request) and m["content"].get("execution_state") == "idle" for m in front.heard):
        front.until(lambda m: of(m, request) and m["content"].get("execution_state") == "idle")
    assert front.comms() == {}
    assert front.until_idle(front.change(comm, value=0.3)) == []
    assert front.value("2 + 2") == "4"


def a_second_copy_of_the_crate_says_that_it_hears_nothing(front):
    found = front.run('let button = notebook::widget::Button::new("go"); button')
    said = text(found, "stderr")
    assert "cannot hear the notebook" in said and "\nhint: " in said, said
    # What it shows is shown all the same, and the first copy still hears.
    assert "comm_open" in kinds(found), kinds(found)


def main():
    manager = KernelManager(kernel_name=sys.argv[1])
    manager.start_kernel()
    try:
        front = FrontEnd(manager)
        front.run(f':dep notebook = {{ path = "{sys.argv[2]}" }}')
        slider = a_slider_is_shown_and_heard(front)
        a_slider_is_heard_while_a_cell_runs(front, slider)
        if os.environ["AZUREML_KERNEL_ENGINE"] == "evcxr":
            # Of what a session builds by `:dep`, that engine puts a copy into each cell.
            a_second_copy_of_the_crate_says_that_it_hears_nothing(front)
            assert text(front.until_idle(front.change(slider, value=0.6))) == "now 0.6\n"
            return
        a_page_that_is_loaded_again_finds_the_widgets(front, slider)
        callbacks_may_panic_and_comms_may_be_unknown(front)
        large_messages_and_bytes_pass(front)
        a_bar_and_a_chart_grow(front)
        stop_ends_a_callback_that_waits_and_spares_the_rest(front)
        a_process_that_dies_closes_its_comms(front, slider)
        front.run("let kept = vec![1, 2, 3];")
        stop_says_what_to_do_about_a_callback_that_computes(front)
    finally:
        manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    main()
