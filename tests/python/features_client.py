"""What a Rust notebook can do, seen by a real Jupyter client: a test for each feature, named after it.

Arguments: the kernel's name, and the folder of the crate `notebook`. `tools` (papermill, nbgrader) is in `tests/tests/front_ends.rs`.
"""

import base64
import pathlib
import re
import sys
import tempfile
import time
import unittest

from jupyter_client.manager import start_new_kernel

KERNEL, NOTEBOOK = sys.argv[1:3]

FEATURES = {
    "protocol",
    "live_display",
    "partial_lines",
    "stdin",
    "interrupt",
    "crash",
    "comms_and_widgets",
    "completion_inspect",
    "diagnostics",
    "variable_view",
    "history_is_complete",
    "teaching",
}

# After so many seconds something hangs.
HANGS = 120


class Features(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.manager, cls.client = start_new_kernel(
            kernel_name=KERNEL, startup_timeout=HANGS
        )
        reply = cls.client.execute(
            f':dep notebook = {{ path = "{NOTEBOOK}" }}\nuse notebook::{{MimeBundle, display}};',
            reply=True,
            timeout=5 * HANGS,
        )
        assert reply["content"]["status"] == "ok", reply["content"]

    @classmethod
    def tearDownClass(cls):
        cls.client.stop_channels()
        cls.manager.shutdown_kernel(now=True)

    def run_cell(self, code, while_asked=None, on_message=None):
        """Runs a cell; gives its reply and its broadcasts. A question is answered by what `while_asked(prompt)` returns; without that
        the front end takes no questions."""
        self.seen = []

        def heard(message):
            self.seen.append(message)
            if on_message:
                on_message(message)

        def asked(message):
            answer = while_asked(message["content"])
            self.client.input(answer)

        reply = self.client.execute_interactive(
            code,
            allow_stdin=while_asked is not None,
            output_hook=heard,
            stdin_hook=asked,
            timeout=2 * HANGS,
        )
        return reply["content"], self.seen

    def ok(self, code, **hooks):
        reply, seen = self.run_cell(code, **hooks)
        self.assertEqual(reply["status"], "ok", plain(reply))
        return seen

    def fails(self, code, ename):
        reply, _ = self.run_cell(code)
        self.assertEqual(reply.get("ename"), ename, reply)
        return plain(reply)

    def value(self, code):
        return of_kind(self.ok(code), "execute_result")[0]["data"]["text/plain"]

    def see(self, fits):
        """Reads broadcasts, while the cell waits for an answer, until those seen fit."""
        limit = time.monotonic() + HANGS
        while not fits(self.seen):
            self.assertLess(time.monotonic(), limit, self.seen)
            self.seen.append(self.client.get_iopub_msg(timeout=HANGS))

    def request(self, channel, msg_type, content):
        message = self.client.session.msg(msg_type, content)
        getattr(self.client, f"{channel}_channel").send(message)
        while True:
            reply = getattr(self.client, f"get_{channel}_msg")(timeout=HANGS)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return reply["content"]

    def test_every_feature_has_a_test_of_its_name(self):
        tests = unittest.defaultTestLoader.getTestCaseNames(type(self))
        self.assertLessEqual({f"test_{feature}" for feature in FEATURES}, set(tests))

    def test_protocol(self):
        info = self.request("shell", "kernel_info_request", {})
        self.assertGreaterEqual(tuple(map(int, info["protocol_version"].split("."))), (5, 4))
        for msg_type, content in [
            ("complete_request", {"code": "a", "cursor_pos": 1}),
            ("inspect_request", {"code": "a", "cursor_pos": 1, "detail_level": 0}),
            ("is_complete_request", {"code": "a"}),
            ("history_request", {"hist_access_type": "tail", "n": 1, "raw": True, "output": False}),
            ("comm_info_request", {}),
        ]:
            reply = self.request("shell", msg_type, content)
            self.assertIn(reply["status"], ("ok", "complete"), msg_type)

    def test_live_display(self):
        png = bytes([137, 80, 78, 71, 13, 10, 26, 10, 0, 255])

        def while_asked(_):
            # All of it is there before the cell has ended.
            self.see(lambda seen: of_kind(seen, "update_display_data"))
            return "go on"

        seen = self.ok(
            f"""
            display(&MimeBundle::new().png(&{list(png)}));
            display(&MimeBundle::new().html("<b>1</b>"));
            display(&MimeBundle::new().html("<b>2</b>"));
            let live = notebook::display_live(&MimeBundle::new().text("old"));
            live.update(&MimeBundle::new().text("new"));
            notebook::input("")?;
            notebook::clear(true);
            notebook::clear(false);
            """,
            while_asked=while_asked,
        )
        shown = of_kind(seen, "display_data")
        self.assertEqual(base64.b64decode(shown[0]["data"]["image/png"]), png)
        self.assertEqual(
            [content["data"] for content in shown[1:]],
            [{"text/html": "<b>1</b>"}, {"text/html": "<b>2</b>"}, {"text/plain": "old"}],
        )
        (update,) = of_kind(seen, "update_display_data")
        self.assertEqual(update["data"], {"text/plain": "new"})
        self.assertEqual(update["transient"], shown[3]["transient"])
        self.assertEqual(of_kind(seen, "clear_output"), [{"wait": True}, {"wait": False}])
        # A later cell replaces what an earlier one has shown.
        seen = self.ok('live.update(&MimeBundle::new().text("later"));')
        (later,) = of_kind(seen, "update_display_data")
        self.assertEqual(later["transient"], update["transient"])

    def test_partial_lines(self):
        def while_asked(_):
            self.see(lambda seen: text_of(seen) == "half of")
            return "go on"

        seen = self.ok(
            'print!("half of"); notebook::input("")?; println!(" a line");', while_asked=while_asked
        )
        self.assertEqual(text_of(seen), "half of a line\n")
        seen = self.ok('for n in 0..100 { println!("out {n}"); eprintln!("err {n}"); }')
        in_order = [(m["name"], m["text"]) for m in of_kind(seen, "stream")]
        expected = [(f"std{n}", f"{n} {i}\n") for i in range(100) for n in ("out", "err")]
        self.assertEqual(in_order, expected)
        # A flood comes whole, in few messages.
        seen = self.ok('for n in 0..100_000 { println!("{n}"); }')
        self.assertEqual(text_of(seen), "".join(f"{n}\n" for n in range(100_000)))
        self.assertLess(len(of_kind(seen, "stream")), 2000)

    def test_stdin(self):
        questions = []

        def while_asked(content):
            questions.append((content["prompt"], content["password"]))
            return "Ada 한"

        seen = self.ok(
            'let name = notebook::input("Name? ")?;\n'
            'let secret = notebook::password("Password? ")?;\n'
            'println!("{name} {}", secret.chars().count());',
            while_asked=while_asked,
        )
        self.assertEqual(questions, [("Name? ", False), ("Password? ", True)])
        self.assertEqual(text_of(seen), "Ada 한 5\n")
        # A headless run has nobody to ask.
        self.fails('notebook::input("Name? ")?', "Error")
        self.assertIn("hint: ", text_of(self.seen, "stderr"))

    def test_interrupt(self):
        self.ok("let kept = vec![1, 2];")

        def on_message(message):
            if message["content"].get("text", "").startswith("ready"):
                self.manager.interrupt_kernel()

        reply, _ = self.run_cell(
            'let n = kept.len(); println!("ready {n}"); std::thread::sleep(std::time::Duration::MAX);',
            on_message=on_message,
        )
        self.assertEqual(reply.get("ename"), "Interrupted", reply)
        self.assertEqual(self.value("kept"), "[1, 2]")

    def test_crash(self):
        self.ok("fn still_there() -> i32 { 5 }\nlet lost = 1;")
        told = self.fails("std::process::abort();", "ProcessDied")
        self.assertIn("SIGABRT", told)
        self.assertIn("`lost`", told)
        self.assertIn("`:replay`", told)
        self.ok(":replay")
        self.assertEqual(self.value("lost + still_there()"), "6")

    def test_comms_and_widgets(self):
        seen = self.ok('let slider = notebook::widget::Slider::new("n", 1..=10);\nslider.clone()')
        data = of_kind(seen, "execute_result")[0]["data"]
        comm = data["application/vnd.jupyter.widget-view+json"]["model_id"]
        state = {"method": "update", "state": {"value": 7}, "buffer_paths": []}
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": state})
        self.client.shell_channel.send(message)
        self.assertEqual(self.value("slider.value()"), "7")

    def test_completion_inspect(self):
        self.ok("let completed = vec![1];")
        code = 'let 이름 = "한🧑‍🔬"; completed.is_emp'
        reply = self.request("shell", "complete_request", {"code": code, "cursor_pos": len(code)})
        self.assertEqual(reply["matches"], ["is_empty()"])
        self.assertEqual((reply["cursor_start"], reply["cursor_end"]), (len(code) - 6, len(code)))
        types = reply["metadata"]["_jupyter_types_experimental"]
        self.assertEqual(types[0]["type"], "function")
        asked = {"code": "String::from_utf8", "cursor_pos": 12, "detail_level": 0}
        reply = self.request("shell", "inspect_request", asked)
        self.assertTrue(reply["found"])
        self.assertLessEqual({"text/plain", "text/html"}, set(reply["data"]))

    def test_diagnostics(self):
        told = self.fails('let 이름 = 1;\nlet wrong: i32 = "text";', "CompileError")
        for part in [
            "error[E0308]: mismatched types",
            "--> line 2, column 18",
            '2 | let wrong: i32 = "text";\n  |                  ^^^^^^ expected',
            "https://doc.rust-lang.org/error_codes/E0308.html",
        ]:
            self.assertIn(part, told)
        seen = self.ok('std::fs::read("/");\n1 + 1')
        self.assertIn("unused `Result`", text_of(seen, "stderr"))
        self.ok('let words = String::from("a b");')
        # What borrows works in its cell, and ends with it.
        seen = self.ok("let first = words.split(' ').next();\nprintln!(\"{first:?}\");")
        self.assertIn('Some("a")', text_of(seen, "stdout"))
        self.assertIn("first", text_of(seen, "stderr"))
        self.fails("first", "CompileError")

    def test_variable_view(self):
        self.ok("let viewed = vec![1_u8, 2];")
        for command, arguments in [
            ("inspectVariables", {}),
            ("richInspectVariables", {"variableName": "viewed"}),
        ]:
            asked = {"type": "request", "seq": 1, "command": command, "arguments": arguments}
            body = self.request("control", "debug_request", asked)["body"]
            if command == "inspectVariables":
                shown = [(v["name"], v["type"], v["value"]) for v in body["variables"]]
                self.assertIn(("viewed", "Vec<u8>", "[1, 2]"), shown)
            else:
                self.assertEqual(body["data"]["text/plain"], "viewed: Vec<u8> = [1, 2]")

    def test_history_is_complete(self):
        self.ok("6 * 7")
        asked = {"hist_access_type": "tail", "n": 1, "raw": True, "output": True}
        reply = self.request("shell", "history_request", asked)
        self.assertEqual(reply["history"][0][2], ["6 * 7", "42"])
        for code, status in [("1 + 1", "complete"), ("fn f() {", "incomplete"), ("}", "invalid")]:
            reply = self.request("shell", "is_complete_request", {"code": code})
            self.assertEqual(reply["status"], status, code)

    def test_teaching(self):
        self.ok("fn twice(n: i32) -> i32 { n * 2 }\nlet taught = 3;")
        test = "%test\n#[test]\nfn {} {{ assert_eq!(twice(2), {}); }}"
        self.assertIn("right ... ok", self.value(test.format("right()", 4)))
        self.fails(test.format("wrong()", 5), "TestsFailed")
        told = self.fails("assert_eq!(twice(taught), 7);", "Panic")
        self.assertIn("left: 6", told)
        self.assertEqual(self.value("twice(taught)"), "6")
        seen = self.ok(":explain E0382")
        markdown = of_kind(seen, "execute_result")[0]["data"]["text/markdown"]
        self.assertTrue(markdown.startswith("### E0382\n"), markdown)
        with tempfile.TemporaryDirectory() as folder:
            package = pathlib.Path(folder, "package")
            self.ok(f":export {package}")
            # That it builds is tested where the kernel's cells are.
            program = package.joinpath("src/main.rs").read_text()
            self.assertIn("fn right()", program)
            self.assertTrue(package.joinpath("Cargo.toml").is_file())


def of_kind(messages, msg_type):
    return [m["content"] for m in messages if m["msg_type"] == msg_type]


def text_of(messages, stream="stdout"):
    return "".join(m["text"] for m in of_kind(messages, "stream") if m["name"] == stream)


def plain(content):
    return re.sub("\x1b\\[[0-9;]*m", "", "\n".join(content.get("traceback", [])))


suite = unittest.defaultTestLoader.loadTestsFromTestCase(Features)
result = unittest.TextTestRunner(verbosity=2).run(suite)
sys.exit(not result.wasSuccessful() or bool(result.skipped) or result.testsRun == 0)
