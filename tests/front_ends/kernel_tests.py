"""Jupyter's own tests of a kernel (jupyter_kernel_test), with all optional tests that apply to a Rust kernel."""

import unittest

import jupyter_kernel_test


class TunebookTests(jupyter_kernel_test.KernelTests):
    kernel_name = "tunebook"
    language_name = "rust"
    file_extension = ".rs"
    code_hello_world = 'println!("hello, world");'
    code_stderr = 'eprintln!("oops");'
    completion_samples = [
        {"text": "%isol", "matches": {"%isolate"}},
        {"text": "let v = vec![1]; v.is_e", "matches": {"is_empty"}},
    ]
    complete_code_samples = ["1 + 1", "fn f() {}", 'let x = "}";', "%study"]
    incomplete_code_samples = ["fn f() {", "let x = (", "/* c", "%%sweep depth\nworkload digits_mlp"]
    invalid_code_samples = ["f(]", "}"]
    code_page_something = "%sweep?"
    code_generate_error = 'panic!("no")'
    code_execute_result = [{"code": "6 * 7", "result": "42"}]
    code_display_data = [{"code": "%devices", "mime": "text/html"}]
    code_history_pattern = "6 *?7"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "%sweep"

    @classmethod
    def setUpClass(cls):
        """Waits until the engine of Rust cells is created. Jupyter's tests wait 15 s for an answer, which may be too
        short for the engine and the cell on a busy machine."""
        super().setUpClass()
        cls.kc.execute_interactive("1", timeout=180)


if __name__ == "__main__":
    unittest.main(verbosity=2)
