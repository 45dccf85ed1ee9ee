"""A small part of Structured Text, translated to Python and run: just what docs/plc/gate.st uses, and an error for all else.

No compiler of IEC 61131-3 is to be had from the package registries, so this stands in for one. It knows: TYPE name : ARRAY;
FUNCTION and FUNCTION_BLOCK with VAR_INPUT, VAR_OUTPUT, VAR and VAR CONSTANT; BOOL, INT, WORD, UINT and UDINT; IF, FOR,
assignment, calls with named inputs, conversions X_TO_Y, and expressions. Sums and differences wrap at 32 bits, conversions
to 16 bits at 16. Assigning what a variable cannot hold is an error, so that nothing depends on what a PLC makes of it.
"""

import re
from dataclasses import dataclass, field
from typing import Any

TOKEN = re.compile(
    r"\(\*.*?\*\)|//[^\n]*|\s+|16#[0-9A-Fa-f]+|\d+|[A-Za-z_]\w*|:=|<>|<=|>=|\.\.|[-+*/()\[\];:,=<>]", re.DOTALL
)
LARGEST = {"BOOL": 1, "INT": 32767, "WORD": 0xFFFF, "UINT": 0xFFFF, "UDINT": 0xFFFF_FFFF}
LEVELS = [["OR"], ["XOR"], ["AND"], ["=", "<>"], ["<", ">", "<=", ">="], ["+", "-"], ["*", "/", "MOD"]]
"""Operators by precedence, the loosest first, as IEC 61131-3 has them."""
PYTHON = {"OR": "|", "XOR": "^", "AND": "&", "=": "==", "<>": "!=", "/": "//", "MOD": "%"}


def tokens(text: str) -> list[str]:
    """Words and signs; comments and blanks left out."""
    found, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise SyntaxError(f"not understood: {text[at : at + 30]!r}")
        at = match.end()
        if not (match[0].isspace() or match[0].startswith(("(*", "//"))):
            found.append(match[0])
    return found


class Array(dict[int, int]):
    """Elements by their index; any other index is an error."""

    def __setitem__(self, index: int, value: int) -> None:
        if index not in self:
            raise IndexError(index)
        super().__setitem__(index, value)


@dataclass
class Unit:
    """A function or function block: its variables, and its body as Python."""

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    initial: dict[str, Any] = field(default_factory=dict)
    code: Any = None


@dataclass
class Program:
    """All of a file. `call` runs a function, `instance` makes a function block."""

    units: dict[str, Unit] = field(default_factory=dict)
    arrays: dict[str, tuple[int, int, str]] = field(default_factory=dict)

    def fresh(self, unit: Unit) -> dict[str, Any]:
        """The variables as they are at first."""
        values = {}
        for name, kind in unit.variables.items():
            if kind in self.arrays:
                low, high, _ = self.arrays[kind]
                values[name] = Array(dict.fromkeys(range(low, high + 1), 0))
            else:
                values[name] = unit.initial.get(name, 0)
        return values

    def call(self, name: str, **inputs: Any) -> int:
        """A function's result."""
        unit = self.units[name]
        values = self.fresh(unit) | inputs
        self.run(unit, values)
        return int(values[name])

    def run(self, unit: Unit, values: dict[str, Any]) -> None:
        """One pass through the body."""

        def put(name: str, value: int, index: int | None = None) -> None:
            kind = unit.variables[name]
            if index is None and kind in self.arrays:
                values[name] = value
                return
            kind = self.arrays[kind][2] if index is not None else kind
            assert 0 <= value <= LARGEST[kind], f"{name} := {value}: not a {kind}"
            if index is None:
                values[name] = int(value)
            else:
                values[name][index] = int(value)

        exec(unit.code, {"v": values, "put": put, "call": self.call})

    def instance(self, name: str) -> "Instance":
        """A function block with its own memory."""
        return Instance(self, self.units[name], self.fresh(self.units[name]))


@dataclass
class Instance:
    """Call it with inputs; outputs and variables are in `values`."""

    program: Program
    unit: Unit
    values: dict[str, Any]

    def __call__(self, **inputs: Any) -> dict[str, Any]:
        unknown = set(inputs) - set(self.unit.variables)
        assert not unknown, unknown
        self.values.update(inputs)
        self.program.run(self.unit, self.values)
        return self.values


class Parser:
    """Recursive descent over the tokens."""

    def __init__(self, text: str) -> None:
        self.tokens, self.at, self.program = tokens(text), 0, Program()

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        token = self.peek()
        if wanted is not None and token != wanted:
            raise SyntaxError(f"expected {wanted}, found {token} after {' '.join(self.tokens[self.at - 8 : self.at])}")
        self.at += 1
        return token

    def parse(self) -> Program:
        while self.peek():
            match self.take():
                case "TYPE":
                    name = self.take()
                    self.take(":")
                    self.kind(name)
                    self.take(";")
                    self.take("END_TYPE")
                case "FUNCTION":
                    name = self.take()
                    self.take(":")
                    self.unit(Unit(name, {name: self.take()}), "END_FUNCTION")
                case "FUNCTION_BLOCK":
                    self.unit(Unit(self.take()), "END_FUNCTION_BLOCK")
                case other:
                    raise SyntaxError(f"not understood: {other}")
        return self.program

    def kind(self, name: str) -> str:
        """A type; an array is kept under `name`."""
        kind = self.take()
        if kind != "ARRAY":
            assert kind in LARGEST or kind in self.program.arrays, kind
            return kind
        self.take("[")
        low = int(self.take())
        self.take("..")
        high = int(self.take())
        self.take("]")
        self.take("OF")
        self.program.arrays[name] = (low, high, self.take())
        return name

    def unit(self, unit: Unit, end: str) -> None:
        while self.peek() in ("VAR", "VAR_INPUT", "VAR_OUTPUT"):
            self.take()
            if self.peek() == "CONSTANT":
                self.take()
            while self.peek() != "END_VAR":
                name = self.take()
                self.take(":")
                unit.variables[name] = self.kind(f"{unit.name}.{name}")
                if self.peek() == ":=":
                    self.take()
                    unit.initial[name] = int(self.take())
                self.take(";")
            self.take("END_VAR")
        self.names = unit.variables
        lines = self.statements(0, (end,))
        self.take(end)
        unit.code = compile("\n".join(lines), unit.name, "exec")
        self.program.units[unit.name] = unit

    def statements(self, depth: int, ends: tuple[str, ...]) -> list[str]:
        lines: list[str] = []
        while self.peek() not in ends:
            lines += self.statement(depth)
        return lines or ["    " * depth + "pass"]

    def statement(self, depth: int) -> list[str]:
        pad = "    " * depth
        word = self.take()
        if word == "IF":
            lines = [f"{pad}if {self.expression()}:"]
            self.take("THEN")
            lines += self.statements(depth + 1, ("ELSIF", "ELSE", "END_IF"))
            while (word := self.take()) != "END_IF":
                if word == "ELSIF":
                    lines.append(f"{pad}elif {self.expression()}:")
                    self.take("THEN")
                else:
                    lines.append(f"{pad}else:")
                lines += self.statements(depth + 1, ("ELSIF", "ELSE", "END_IF"))
        elif word == "FOR":
            name = self.take()
            self.take(":=")
            first = self.expression()
            self.take("TO")
            last = self.expression()
            step = 1
            if self.peek() == "BY":
                self.take()
                self.take("-")
                step = -int(self.take())
            self.take("DO")
            lines = [f"{pad}for _i in range({first}, {last} + {step}, {step}):", f"{pad}    put({name!r}, _i)"]
            lines += self.statements(depth + 1, ("END_FOR",))
            self.take("END_FOR")
        else:
            assert word in self.names, f"{word} is not declared"
            index = ""
            if self.peek() == "[":
                self.take()
                index = f", {self.expression()}"
                self.take("]")
            self.take(":=")
            lines = [f"{pad}put({word!r}, {self.expression()}{index})"]
        self.take(";")
        return lines

    def expression(self, level: int = 0) -> str:
        if level == len(LEVELS):
            return self.factor()
        left = self.expression(level + 1)
        while self.peek() in LEVELS[level]:
            sign = self.take()
            left = f"({left} {PYTHON.get(sign, sign)} {self.expression(level + 1)})"
            if sign in "+-":
                left = f"({left} & 0xFFFFFFFF)"
        return left

    def factor(self) -> str:
        word = self.take()
        if word == "NOT":
            return f"(1 - {self.factor()})"
        if word == "(":
            inside = self.expression()
            self.take(")")
            return f"({inside})"
        if word in ("TRUE", "FALSE"):
            return str(int(word == "TRUE"))
        if word.startswith("16#"):
            return f"0x{word[3:]}"
        if word.isdigit():
            return word
        if self.peek() == "(":
            return self.call(word)
        assert word in self.names, f"{word} is not declared"
        if self.peek() == "[":
            self.take()
            index = self.expression()
            self.take("]")
            return f"v[{word!r}][{index}]"
        return f"v[{word!r}]"

    def call(self, name: str) -> str:
        self.take("(")
        if conversion := re.fullmatch(r"(WORD|UINT|UDINT)_TO_(WORD|UINT|INT)", name):
            inside = self.expression()
            self.take(")")
            return f"({inside} & {'0x7FFF' if conversion[2] == 'INT' else '0xFFFF'})"
        unit = self.program.units[name]
        inputs = []
        while self.peek() != ")":
            given = self.take()
            assert given in unit.variables, f"{name} has no {given}"
            self.take(":=")
            inputs.append(f"{given}={self.expression()}")
            if self.peek() == ",":
                self.take()
        self.take(")")
        return f"call({name!r}, {', '.join(inputs)})"


def load(text: str) -> Program:
    """Raises SyntaxError or AssertionError for what is not of the subset."""
    return Parser(text).parse()
