"""Jupyter's own tests of a kernel, with a sample for each of them. A test that is skipped is a failure.

Arguments: the kernel's name, and the folder of the crate `notebook`.
"""

import sys
import unittest

from jupyter_kernel_test import KernelTests

KERNEL, NOTEBOOK = sys.argv[1:3]

DISPLAY = """
notebook::display(&notebook::MimeBundle::new().text("plain").html("<b>rich</b>"));
"""


class RustKernelTests(KernelTests):
    kernel_name = KERNEL
    language_name = "rust"
    file_extension = ".rs"
    code_hello_world = 'println!("hello, world");'
    code_stderr = 'eprintln!("to standard error");'
    completion_samples = [
        {"text": ":va", "matches": [":vars"]},
        {"text": "let completed = vec![1]; completed.is_emp", "matches": ["is_empty()"]},
    ]
    complete_code_samples = ["1 + 1", "fn one() -> i32 { 1 }", 'let text = "한글";', "?Vec"]
    incomplete_code_samples = ["fn one() -> i32 {", 'println!("', "let one = ["]
    invalid_code_samples = ["}", "let one = )"]
    code_page_something = "?Vec"
    code_generate_error = 'panic!("on purpose");'
    code_execute_result = [
        {"code": "6 * 7", "result": "42"},
        {"code": 'vec!["한글".chars().count()]', "result": "[2]"},
    ]
    code_display_data = [
        {"code": DISPLAY, "mime": "text/html"},
        {"code": DISPLAY, "mime": "text/plain"},
    ]
    code_history_pattern = "6 ?*7"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "String::from"
    code_clear_output = "notebook::clear(false);"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The first cell of a crate takes longer than the tests are ready to wait.
        added = cls.kc.execute(
            f':dep notebook = {{ path = "{NOTEBOOK}" }}\n1 + 1', reply=True, timeout=300
        )
        assert added["content"]["status"] == "ok", added["content"]

    def request(self, channel, msg_type, content, subshell=None):
        """Sends a request of a kind that the client has no call for; gives the content of its reply."""
        message = self.kc.session.msg(msg_type, content)
        if subshell:
            message["header"]["subshell_id"] = subshell
        getattr(self.kc, f"{channel}_channel").send(message)
        while True:
            reply = getattr(self.kc, f"get_{channel}_msg")(timeout=60)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return reply["content"]

    def test_protocol_subshells_answer_while_a_cell_runs(self):
        self.flush_channels()
        self.assertIn(
            "kernel subshells",
            self.request("shell", "kernel_info_request", {})["supported_features"],
        )
        made = self.request("control", "create_subshell_request", {})
        subshell = made["subshell_id"]
        cell = self.kc.execute("std::thread::sleep(std::time::Duration::from_secs(5));")
        asked = {"code": ":va", "cursor_pos": 3}
        reply = self.request("shell", "complete_request", asked, subshell)
        self.assertEqual(reply["matches"], [":vars"])
        self.assertEqual(self.kc.get_shell_msg(timeout=60)["parent_header"]["msg_id"], cell)
        deleted = self.request("control", "delete_subshell_request", made)
        self.assertEqual(deleted["status"], "ok")
        reply = self.request("shell", "complete_request", asked, subshell)
        self.assertEqual(reply["status"], "error")

    def test_variable_view_shows_rust_variables(self):
        self.flush_channels()
        self.execute_helper(code="let viewed = vec![1_u8, 2];")
        command = {"type": "request", "seq": 1, "command": "inspectVariables", "arguments": {}}
        reply = self.request("control", "debug_request", command)
        shown = [(v["name"], v["type"], v["value"]) for v in reply["body"]["variables"]]
        self.assertIn(("viewed", "Vec<u8>", "[1, 2]"), shown)


suite = unittest.defaultTestLoader.loadTestsFromTestCase(RustKernelTests)
result = unittest.TextTestRunner(verbosity=2).run(suite)
sys.exit(not result.wasSuccessful() or bool(result.skipped) or result.testsRun == 0)
