"""Lets papermill set the parameters of notebooks in Rust: `papermill in.ipynb out.ipynb -p lr 0.1`.

A parameter gets the type of its default, as with `tunebook run` (kernel/src/notebook/literals.rs). papermill asks
`inspect` for the defaults first, and then `codify` for the code of the cell that it adds.
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
        (?: : \s* (?P<type>[^=]+?) )? \s* = \s* (?P<value>(?:"(?:\\.|[^"\\])*"|\[[^\]"]*\]|[^;"\[]|\[)*?) \s* ;
        (?: [ \t]* // [ \t]* (?P<help>[^\n]*) )?""",
    re.VERBOSE | re.DOTALL,
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


# The types of numbers.
TYPE = r"(?:[iu](?:8|16|32|64|128|size)|f32|f64)"
# A number, with the type at its end if it has one.
NUMBER = re.compile(
    rf"(0x[\da-fA-F_]+|0[bo][\d_]+|\d[\d_]*(?:\.\d[\d_]*|\.(?![\w.]))?(?:[eE][+-]?_*\d[\d_]*)?)({TYPE})?(?!\w)"
)
# What else may stand in an expression that is a number by its look. A type stands in `as f32` and in `f32::NAN`.
OTHER = re.compile(rf"[-+*/%()\s]|as\s+({TYPE})\b|(?:(?:std|core)\s*::\s*)?({TYPE})(?:\s*::\s*\w+)+|\.\s*[a-z_]\w*")
# What a list begins with.
LIST = re.compile(r"vec!\[|&?\[")


def statement(name, value, default):
    """The statement that sets a parameter. `default` is the match of its `let` statement, or None."""
    mutable = "mut " if default and default["mutable"] else ""
    kind = (default["type"] or "").strip() if default else ""
    written = default["value"].strip() if default else ""
    try:
        text = literal(value, kind, written)
    except ValueError as why:
        message = f"The parameter `{name}` cannot be set: {why}; give it a value of the type of its default."
        raise PapermillException(message) from None
    return f"let {mutable}{name}{f': {kind}' if kind else ''} = {text};"


def literal(value, kind, written):
    """The value in Rust, with the type of the default: it was `written` like this, and has the type `kind`, if any."""
    kind, written = kind.strip(), written.strip()
    if re.fullmatch(TYPE, kind):
        return number(value, kind, kind.startswith("f"), "")
    if inner := re.fullmatch(r"Option\s*<(.*)>", kind, re.DOTALL):
        return optional(value, inner[1], written)
    if item := re.fullmatch(r"Vec\s*<(.*)>", kind, re.DOTALL):
        return items(value, "vec![", item[1], written)
    if item := re.match(r"(&?)\s*(?:'static\s*)?\[(.*)", kind, re.DOTALL):
        # The type of an array ends with its length.
        item_kind = item[2].removesuffix("]")
        return items(value, item[1] + "[", item_kind.rpartition(";")[0] or item_kind, written)
    if kind == "String":
        return f"String::from({quoted(text_of(value))})"
    if kind == "bool":
        return truth(value)
    if kind.startswith("&") and kind.endswith("str"):
        return quoted(text_of(value))
    return by_default(value, written)


def by_default(value, written):
    """The same by the text of the default alone."""
    if written == "None" or re.fullmatch(r"Some\(.*\)", written, re.DOTALL):
        return optional(value, "", written)
    if opened := LIST.match(written):
        return items(value, opened[0], "", written)
    if written in ("true", "false"):
        return truth(value)
    if written.startswith("String::") or written.endswith((".to_string()", ".to_owned()")):
        return f"String::from({quoted(text_of(value))})"
    if re.match(r'"|r"|r#', written):
        return quoted(text_of(value)) + (".into()" if written.endswith(".into()") else "")
    if (found := number_like(written)) is not None:
        kind, is_float = found
        return number(value, kind or "f64", is_float, f"_{kind}" if kind else "")
    return by_look(value)


def by_look(value):
    """A value for which there is no default."""
    if value is None:
        return "None"
    if isinstance(value, bool):
        return spelled(value)
    if isinstance(value, (list, tuple)):
        element = "0.0" if any(isinstance(item, float) for item in value) else ""
        return items(value, "vec![", "", f"[{element}]")
    if isinstance(value, dict):
        raise ValueError("it is a dictionary, which has no form in Rust that fits every use")
    if isinstance(value, (int, float)):
        return number(value, "f64", isinstance(value, float), "")
    return quoted(str(value))


def number(value, kind, is_float, suffix):
    """A number with a suffix. What is not finite is a constant of the type `kind`."""
    try:
        result = float(value) if is_float else int(value)
        if isinstance(value, bool) or (isinstance(value, float) and not is_float and result != value):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"it is a {'' if is_float else 'whole '}number, and `{value}` is none") from None
    if whole := re.fullmatch(r"([iu])(\d+|size)", kind):
        bits = 64 if whole[2] == "size" else int(whole[2])
        low, high = (0, 2**bits - 1) if whole[1] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        if not low <= result <= high:
            message = f"it has the type `{kind}`, whose values go from {low} to {high}, and `{value}` is none of them"
            raise ValueError(message)
    if is_float and not math.isfinite(result):
        return f"{kind}::" + {"nan": "NAN", "inf": "INFINITY", "-inf": "NEG_INFINITY"}[str(result)]
    return repr(result) + suffix


def number_like(written):
    """The type, or None, and whether it is a float, of an expression that is a number by its look. Otherwise None."""
    kind, cast, is_real, at, found = None, None, False, 0, False
    while at < len(written):
        if token := NUMBER.match(written, at):
            kind = kind or token[2]
            is_real = is_real or (not token[1].startswith("0x") and re.search(r"[.eE]", token[1]) is not None)
            found = True
        elif token := OTHER.match(written, at):
            cast, kind = token[1] or cast, kind or token[2]
            found = found or bool(token[1] or token[2])
        else:
            return None
        at = token.end()
    kind = cast or kind
    return (kind, kind.startswith("f") if kind else is_real) if found else None


def truth(value):
    if not isinstance(value, bool) and value not in ("true", "false"):
        raise ValueError(f"it is true or false, and `{value}` is neither")
    return spelled(value) if isinstance(value, bool) else value


def optional(value, kind, written):
    if value is None or value == "null":
        return "None"
    inner = re.fullmatch(r"Some\((.*)\)", written, re.DOTALL)
    return f"Some({literal(value, kind, inner[1] if inner else '')})"


def items(value, opened, kind, written):
    """A list that begins with `opened`, whose items have the type `kind`, or else that of the first item written."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"it is a list, and `{value}` is none")
    first = re.split(r"[,;\]]", LIST.sub("", written, count=1))[0] if LIST.match(written) else ""
    return f"{opened}{', '.join(literal(item, kind, first) for item in value)}]"


def spelled(value):
    return {True: "true", False: "false"}[value]


def text_of(value):
    return spelled(value) if isinstance(value, bool) else str(value)


def quoted(text):
    """A string literal of Rust."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
    unseen = {char: f"\\u{{{ord(char):x}}}" for char in text if not char.isprintable()}
    return '"' + "".join((unseen | escapes).get(char, char) for char in text) + '"'


papermill_translators.register("rust", RustTranslator)
