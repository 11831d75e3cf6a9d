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


suite = unittest.defaultTestLoader.loadTestsFromTestCase(RustKernelTests)
result = unittest.TextTestRunner(verbosity=2).run(suite)
sys.exit(not result.wasSuccessful() or bool(result.skipped) or result.testsRun == 0)
