"""Lets papermill set the parameters of notebooks in Rust: `papermill in.ipynb out.ipynb -p lr 0.1`.

A parameter gets the type of its default, as with `tunebook run`. papermill asks `inspect` for the defaults first, and
then `codify` for the code of the cell that it adds.
"""

import math
import re

from papermill.exceptions import PapermillException
from papermill.models import Parameter
from papermill.translators import Translator, papermill_translators

__all__ = ["RustTranslator"]

# `let mut name: Type = value; // help`
LET = re.compile(
    r"""\blet \s+ (?P<mutable>mut\s+)? (?P<name>\w+) \s*
        (?: : \s* (?P<type>[^=]+?) )? \s* = \s* (?P<value>[^;]*?) \s* ; (?: [ \t]* // [ \t]* (?P<help>.*) )?""",
    re.VERBOSE,
)
# A line that is a comment.
COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)


class RustTranslator(Translator):
    """Turns parameters into `let` statements."""

    # The `let` statements of the cell that `inspect` saw last, by the name of the variable.
    defaults = {}

    @classmethod
    def inspect(cls, parameters_cell):
        code = COMMENT.sub("", parameters_cell["source"])
        cls.defaults = {default["name"]: default for default in LET.finditer(code)}
        return [
            Parameter(default["name"], default["type"] or "None", default["value"], default["help"] or "")
            for default in cls.defaults.values()
        ]

    @classmethod
    def codify(cls, parameters, comment="Parameters"):
        defaults, cls.defaults = cls.defaults, {}
        lines = [cls.comment(comment)]
        lines += [statement(name, value, defaults.get(name)) for name, value in parameters.items()]
        return "\n".join(lines)

    @classmethod
    def comment(cls, cmt_str):
        return f"// {cmt_str}"


def statement(name, value, default):
    """The statement that sets a parameter. `default` is the match of its `let` statement, or None."""
    mutable = "mut " if default and default["mutable"] else ""
    kind = default["type"] if default else None
    written = default["value"] if default else ""
    return f"let {mutable}{name}{f': {kind}' if kind else ''} = {literal(name, value, kind or '', written)};"


def literal(name, value, kind, written):
    """The value in Rust, with the type of the default: it was `written` like this, and has the type `kind`, if any."""
    if isinstance(value, (list, tuple)):
        element = re.sub(r"^(&?\[|vec!\[)|\]$", "", written).split(",")[0].strip()
        if any(isinstance(item, float) for item in value):
            element = "0.0"
        items = ", ".join(literal(name, item, "", element) for item in value)
        is_array = re.match(r"&?\[", kind or written)
        return f"{is_array[0]}{items}]" if is_array else f"vec![{items}]"
    if isinstance(value, dict):
        raise PapermillException(f"The parameter `{name}` is a dictionary, which has no form in Rust that fits every use.")
    if value is None:
        return "None"
    is_owned = kind == "String" or re.match(r"String::from\(", written) or re.search(r"\.(to_string|into)\(\)$", written)
    if isinstance(value, str) or is_owned or "str" in kind or re.match(r'r?#*"', written):
        text = quoted(value if isinstance(value, str) else spelled(value))
        return f"String::from({text})" if is_owned else text
    if isinstance(value, bool):
        return spelled(value)
    is_float = kind in ("f32", "f64") or (not kind and re.fullmatch(r"-?[\d_]*(\d\.[\d_]*|\d[eE]|\.\d)[\d_+\-eE]*", written))
    number = float(value) if is_float else value
    if isinstance(number, float) and not math.isfinite(number):
        return {"nan": "f64::NAN", "inf": "f64::INFINITY", "-inf": "f64::NEG_INFINITY"}[str(number)]
    return spelled(number)


def spelled(value):
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)


def quoted(text):
    """A string literal of Rust."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'


papermill_translators.register("rust", RustTranslator)
