"""papermill's parameters as a cell of Rust.

papermill loads the engines that packages offer, but not their translators: so what it loads of this package is an
engine, its own one, and the translator is registered along with that.
"""

import math
import re

from papermill.engines import NBClientEngine
from papermill.exceptions import PapermillException
from papermill.models import Parameter
from papermill.translators import Translator, papermill_translators

MAP = "std::collections::BTreeMap"
# These cannot be names even as `r#…`.
NO_NAMES = {"_", "crate", "self", "super", "Self"}
KEYWORDS = set(
    "abstract as async await become box break const continue do dyn else enum extern false final fn for gen if impl in"
    " let loop macro match mod move mut override priv pub ref return static struct trait true try type typeof unsafe"
    " unsized use virtual where while yield".split()
)
DECLARED = re.compile(
    r"^let\s+(?:mut\s+)?(?:r#)?(?P<name>\w+)\s*(?::\s*(?P<type>[^=]+?)\s*)?=\s*(?P<value>.*?)\s*;\s*(?://\s*(?P<help>.*))?$"
)


class RustEngine(NBClientEngine):
    """papermill's own engine."""


class Unclear(PapermillException):
    """A value without a Rust type of its own."""


def type_of(value):
    """The Rust type of `value`; `None` inside of a type stands for what is not known."""
    if value is None:
        return ("Option", None)
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return "i64"
        if -(2**127) <= value < 2**127:
            return "i128"
        raise Unclear(f"{value} is too large for an i128")
    if isinstance(value, float):
        return "f64"
    if isinstance(value, list):
        return ("Vec", common(value))
    if isinstance(value, dict):
        return (MAP, common(value.values()))
    # Dates, which YAML knows, too.
    return "String"


def common(values):
    """The type that all of `values` can have."""
    found = None
    for value in values:
        found = join(found, type_of(value))
    return found


def join(one, other):
    if one is None or one == other:
        return other
    if other is None:
        return one
    optional = [kind[0] == "Option" for kind in (one, other)]
    if any(optional):
        inner = [kind[1] if is_optional else kind for kind, is_optional in zip((one, other), optional)]
        return ("Option", join(*inner))
    numbers = ["i64", "i128", "f64"]
    if one in numbers and other in numbers:
        return max(one, other, key=numbers.index)
    if isinstance(one, tuple) and isinstance(other, tuple) and one[0] == other[0]:
        return (one[0], join(one[1], other[1]))
    raise Unclear(f"{written(one)} and {written(other)} in one list or map have no Rust type in common")


def written(kind):
    if not isinstance(kind, tuple):
        return kind or "_"
    name, inner = kind
    return f"{name}<String, {written(inner)}>" if name == MAP else f"{name}<{written(inner)}>"


def is_known(kind):
    return kind is not None and (not isinstance(kind, tuple) or is_known(kind[1]))


def expression(value, kind):
    """`value` as an expression of the type `kind`."""
    if kind[0] == "Option":
        return "None" if value is None else f"Some({expression(value, kind[1])})"
    if isinstance(value, list):
        return f"vec![{', '.join(expression(item, kind[1]) for item in value)}]"
    if isinstance(value, dict):
        pairs = [f"({text(key)}, {expression(item, kind[1])})" for key, item in value.items()]
        return f"{MAP}::from([{', '.join(pairs)}])"
    if isinstance(value, bool):
        return "true" if value else "false"
    if kind == "f64":
        value = float(value)
        if math.isnan(value):
            return "f64::NAN"
        if math.isinf(value):
            return "f64::INFINITY" if value > 0 else "f64::NEG_INFINITY"
        return repr(value)
    if isinstance(value, int):
        return str(value)
    return text(value)


def text(value):
    escapes = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
    shown = "".join(
        escapes.get(char) or (char if char.isprintable() else f"\\u{{{ord(char):x}}}") for char in str(value)
    )
    return f'String::from("{shown}")'


def identifier(name):
    if not name.isidentifier() or name in NO_NAMES:
        raise PapermillException(
            f"parameter `{name}` cannot be the name of a Rust variable\nhint: use letters, digits and `_`"
        )
    return f"r#{name}" if name in KEYWORDS else name


class RustTranslator(Translator):
    """Writes parameters as `let` statements, and reads them from such."""

    @classmethod
    def codify(cls, parameters, comment="Parameters"):
        lines = [cls.comment(comment)]
        for name, value in parameters.items():
            try:
                kind = type_of(value)
                if kind == ("Option", None):
                    kind = ("Option", "String")
                if not is_known(kind):
                    raise Unclear("what is empty, or null everywhere, has no Rust type")
            except Unclear as error:
                raise PapermillException(
                    f"parameter `{name}`: {error}\nhint: give it as text and read it in the notebook"
                ) from None
            lines.append(f"let {identifier(name)}: {written(kind)} = {expression(value, kind)};")
        return "\n".join(lines) + "\n"

    @classmethod
    def comment(cls, cmt_str):
        return "\n".join(f"// {line}".rstrip() for line in cmt_str.splitlines())

    @classmethod
    def inspect(cls, parameters_cell):
        found = (DECLARED.match(line.strip()) for line in parameters_cell["source"].splitlines())
        return [
            Parameter(
                name=declared["name"],
                inferred_type_name=declared["type"] or "None",
                default=declared["value"],
                help=declared["help"] or "",
            )
            for declared in found
            if declared
        ]


papermill_translators.register("rust", RustTranslator)
