"""What nbgrader puts in the place of a solution in Rust."""

from nbgrader.preprocessors import ClearSolutions

STUB = "// YOUR CODE HERE\ntodo!()"


def configure(config):
    """Adds Rust to the stubs in `config`, the object that `get_config()` gives to `nbgrader_config.py`."""
    # Whoever sets the stubs replaces all of them, so the others are set along with ours.
    defaults = ClearSolutions.class_traits()["code_stub"].default()
    configured = config.ClearSolutions.get("code_stub", {})
    config.ClearSolutions.code_stub = {"rust": STUB, **defaults, **configured}
