"""common/README.md against the sources: the wings are those of CMake, each call of the two ladders is in the file that
is named beside it, and each ceiling is what its constants say. The pages of the programs: their metrics."""

import os
import re
import unittest

import sources
from blackbox import ROOT

README = "common/README.md"
LINES_MAX = 60
CALL = re.compile(r"(?m)^ *(?:→ *)?(\w+)\(\) .*?([a-z_]+(?:/[a-z_]+)+\.c)")
# | what | 16 × 4 KiB | NAME × NAME | file |
CEILING = re.compile(r"(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]*`[A-Z][^|]*) \| `([\w/.]+)`(?:, `([\w/.]+)`)? \|$")
SUM = re.compile(r"(?m)^\| \*\*sum\*\* \| ([^|]+) \|")
UNITS = {"KiB": 1024, "MiB": 1024 * 1024, "": 1}


def bytes_of(text):
    """"16 × 4 KiB" as a number; several parts may be added."""
    total = 0
    for part in text.replace(" B", "").split(" + "):
        product = 1
        for factor in part.split(" × "):
            number, unit = re.fullmatch(r"([\d.,]+)(?: (KiB|MiB))?", factor.strip()).groups()
            product *= float(number.replace(",", "")) * UNITS[unit or ""]
        total += product
    return total


def value_of(name, paths):
    """A constant of C, defined in one of these files or, where it leans on others, in any file of ours."""
    for path in [*paths, *sources.product(".h")]:
        found = re.search(rf"(?m)^(?:#define\s+{name}\s+|(?:.*[{{\s]|){name}\s*=\s*)([^,}}\n/]+?)\s*(?:,|\}}|/\*|$)",
                          sources.read(path))
        if found:
            words = re.sub(r"[A-Za-z_]\w*", lambda word: str(value_of(word[0], paths)), found[1].replace("(int)", ""))
            return int(eval(words, {"__builtins__": {}}))  # pylint: disable=eval-used
    raise AssertionError(f"{name} is not in {paths}")


def constants_product(text, paths):
    """"`A` × `B`" as a number."""
    total = 0
    for part in text.split(" + "):
        product = 1
        for factor in part.split(" × "):
            factor = factor.strip().strip("`")
            product *= float(factor) if factor.replace(".", "").isdigit() else value_of(factor, paths)
        total += product
    return total


class Readme(unittest.TestCase):
    def setUp(self):
        self.text = sources.read(README)

    def test_is_a_page(self):
        self.assertLessEqual(self.text.count("\n"), LINES_MAX)

    def test_names_each_wing(self):
        wings = re.findall(r"(?m)^\s*add_wing\((\w+)", sources.read("common/CMakeLists.txt"))
        self.assertGreater(len(wings), 9)
        self.assertEqual([], [wing for wing in wings if not re.search(rf"\b{wing}\b", self.text)])

    def test_calls_are_in_their_files(self):
        calls = CALL.findall(self.text)
        self.assertGreater(len(calls), 15)
        wrong = [f"{name}() in {path}" for name, path in calls if not os.path.exists(os.path.join(ROOT, path))
                 or not re.search(rf"(?m)^\w[^;{{}}]*\b{name}\(", sources.read(path))]
        self.assertEqual([], wrong)

    def test_ceilings_are_those_of_the_sources(self):
        for what, told, constants, *paths in CEILING.findall(self.text):
            with self.subTest(ceiling=what):
                self.assertEqual(bytes_of(told), constants_product(constants, [path for path in paths if path]))
        self.assertGreater(len(CEILING.findall(self.text)), 8)

    def test_sums_are_right(self):
        total, sums = 0, 0
        for line in self.text.splitlines():
            row, told = CEILING.match(line), SUM.match(line)
            total += bytes_of(row[2]) if row else 0
            if told:
                self.assertAlmostEqual(1, total / bytes_of(told[1]), delta=0.01)
                total, sums = 0, sums + 1
        self.assertEqual(2, sums)


class Metrics(unittest.TestCase):
    def test_each_stands_on_the_page_of_its_program_and_no_other(self):
        for program in ("agent", "webhook"):
            with self.subTest(program=program):
                name = rf"profefe_{program}_\w+"
                told = set(re.findall(name, sources.read(f"{program}/README.md")))
                made = set(re.findall(rf'"({name})"', "".join(sources.read(path) for path in sources.product(".c"))))
                self.assertGreater(len(made), 10)
                self.assertEqual(made | {f"profefe_{program}_build_info"}, told)
