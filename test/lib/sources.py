"""The project's own sources, read as text: which files there are, where a function of C begins and ends, and which
lines are rows of a table."""

import os
import re
import subprocess

from blackbox import ROOT

TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|\S")
# A comment, or a literal, which may look as if it held one.
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|(\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')", re.DOTALL)
DIRECTIVE = re.compile(r"(?m)^[ \t]*#(?:[^\n\\]|\\.|\\\n)*")
# Before a parenthesis that is followed by a brace these mean: a value begins here. Otherwise it is a function or a
# statement.
BEFORE_A_VALUE = set("=,({?:&|!<>+-*/[") | {"return", "sizeof"}
OURS = ("common", "agent", "webhook")


def files(*patterns):
    """Paths below the root, of what git knows or would take, without what is data for tests."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
                            cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted(path for path in set(listed) if path and os.path.isfile(os.path.join(ROOT, path))
                  and not path.startswith(("test/fixtures/", "test/fuzz/corpus/")))


def product(*endings):
    """C of the two programs and their wings."""
    return files(*(f"{folder}/*{ending}" for folder in OURS for ending in endings))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def blank(match):
    return re.sub(r"[^\n]", " ", match[0])


def without_comments(text):
    """The same lines and columns, with a space for each character of a comment."""
    return COMMENT.sub(lambda match: match[1] or blank(match), text)


class Block:
    """A pair of braces: the statements of a function, or a list (a table, a value, a struct, an enum)."""

    def __init__(self, kind, name, line):
        self.kind = kind
        self.name = name  # of a function, in its outermost block
        self.first = self.last = line


def blocks(text):
    """All pairs of braces, in the order of their ends."""
    stack, found, before, parens, opener = [], [], [], [], None
    for number, line in enumerate(DIRECTIVE.sub(blank, without_comments(text)).split("\n"), 1):
        for token in TOKEN.findall(line):
            if token == "(":
                parens.append(before[-1] if before else "")
            elif token == ")" and parens:
                opener = parens.pop()
            elif token == "{":
                stack.append(block_at(stack, before, opener, number))
            elif token == "}" and stack:
                stack[-1].last = number
                found.append(stack.pop())
            before.append(token)
    return found


def block_at(stack, before, opener, line):
    last = before[-1] if before else ""
    within = stack[-1].kind if stack else "file"
    if last == ")":  # `f(int a) {`, `if (a) {`, or the value `(struct span){`
        is_list = opener in BEFORE_A_VALUE or within == "list"
    else:
        is_list = within != "code" or last in BEFORE_A_VALUE - {":", "{"}
    if within == "code" and len(before) > 1 and before[-1] == "enum" or before[-2:-1] in (["struct"], ["enum"],
                                                                                          ["union"]):
        is_list = True
    name = opener if within == "file" and not is_list else None
    return Block("list" if is_list else "code", name, line)


class Function:
    def __init__(self, path, name, first, last):
        self.path, self.name, self.first, self.last = path, name, first, last
        self.lines = last - first - 1  # between the braces

    def __str__(self):
        return f"{self.path}:{self.first} {self.name}: {self.lines} lines"


def functions(path):
    return [Function(path, block.name, block.first, block.last) for block in blocks(read(path)) if block.name]


def rows(path):
    """Numbers of the lines inside of a list: rows of tables, fields of structs, names of enums."""
    return {line for block in blocks(read(path)) if block.kind == "list" for line in range(block.first + 1, block.last)}
