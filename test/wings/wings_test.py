#!/usr/bin/env python3
"""The wings (common/wings.cmake): the pure ones ask nothing of the world, and none reaches upwards.

Run by ctest, which says in PROFEFE_TEST_BUILD which build it is about.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TESTS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
ROOT = os.path.dirname(TESTS)
BUILD = os.environ.get("PROFEFE_TEST_BUILD", os.path.join(ROOT, "build", "release"))
PURE = ("base", "values", "pprof", "profefe")

# All that a pure wing may call outside of the pure ones, by the reason. `__X_chk` counts as X, whose checked form it
# is.
ALLOWED = {
    "memory and text that the caller gives":
        "memchr memcmp memcpy memmem memmove memrchr memset strchr strcmp strlen strncmp strnlen strrchr strstr",
    "the heap, whose end is an error like any other": "malloc calloc realloc free strdup strndup",
    "numbers to text, into a buffer of the caller": "snprintf vsnprintf",
    "the words of an errno": "strerror",
    "a time that the caller gives, as UTC: no clock and no zone": "gmtime_r strftime",
    "an address as text to bytes: no name is looked up": "inet_pton",
    "zlib, from memory to memory":
        "deflate deflateEnd deflateInit2_ inflate inflateEnd inflateInit2_ inflateReset inflateValidate",
    "what the compiler puts in: 128-bit division, a broken stack, a broken assertion":
        "__udivti3 __udivmodti4 __stack_chk_fail __assert_fail",
}


def symbols(archive):
    """(defined, wanted): the names of an archive that others see, and those that it takes from others."""
    defined, wanted = set(), set()
    for line in subprocess.run(["nm", "-P", "-g", archive], check=True, capture_output=True,
                               text=True).stdout.splitlines():
        name, _, kind = line.partition(" ")
        if kind[:1] == "U":
            wanted.add(name)
        elif kind:
            defined.add(name)
    return defined, wanted


def asked_of_the_world(archives):
    """Calls that are not between the archives, and not allowed."""
    allowed = set(" ".join(ALLOWED.values()).split())
    defined, wanted = (set().union(*names) for names in zip(*map(symbols, archives)))
    return sorted(name for name in wanted - defined if re.sub(r"^__(\w+)_chk$", r"\1", name) not in allowed)


class PureWings(unittest.TestCase):
    def test_they_call_no_clock_file_environment_or_socket(self):
        archives = [os.path.join(BUILD, "common", f"libwing_{name}.a") for name in PURE]
        self.assertEqual(asked_of_the_world(archives), [])


class Includes(unittest.TestCase):
    def test_none_goes_round_the_wings_by_a_path_of_its_own(self):
        """Relative to the file that includes it, gcc finds a header however little the wing may see."""
        found = subprocess.run(["grep", "-rnE", "--include=*.[ch]", r'^ *# *include +"[^"]*\.\./',
                                *(os.path.join(ROOT, folder) for folder in ("common", "agent", "webhook"))],
                               capture_output=True, text=True, check=False)
        self.assertEqual((found.returncode, found.stdout), (1, ""))


class AddWing(unittest.TestCase):
    """On a copy of tree/, a wing `low` and a wing `high` that uses it."""

    @classmethod
    def setUpClass(cls):
        cls.tree = tempfile.mkdtemp(prefix="profefe-wings-")
        cls.addClassCleanup(shutil.rmtree, cls.tree)
        shutil.copytree(os.path.join(TESTS, "wings", "tree"), cls.tree, dirs_exist_ok=True)
        cls.build = os.path.join(cls.tree, "build")
        done = cls.configure()
        if done.returncode != 0:
            raise AssertionError(f"the tree cannot be configured:\n{done.stdout}")

    @classmethod
    def run_cmake(cls, *words):
        return subprocess.run(["cmake", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)

    @classmethod
    def configure(cls):
        return cls.run_cmake("-S", cls.tree, "-B", cls.build, "-G", "Ninja",
                             f"-DWINGS={os.path.join(ROOT, 'common', 'wings.cmake')}")

    def spoil(self, path, text):
        """Adds the text to a file, for this test."""
        path = os.path.join(self.tree, path)
        with open(path, encoding="utf-8") as file:
            whole = file.read()
        self.addCleanup(self.write, path, whole)
        self.write(path, text + whole)

    @staticmethod
    def write(path, text):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def assert_refused(self, words, done):
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, words)

    def test_what_looks_down_builds(self):
        done = self.run_cmake("--build", self.build)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(asked_of_the_world([os.path.join(self.build, "libwing_low.a")]), [])

    def test_an_include_upwards_does_not_build(self):
        self.spoil("low/low.c", '#include "high/high.h"\n')
        self.assert_refused(r"low\.c:1:\d+: fatal error: high/high\.h: No such file",
                            self.run_cmake("--build", self.build))

    def test_a_call_upwards_does_not_build(self):
        self.spoil("low/low.c", "int high(void);\nint call_up(void);\nint call_up(void)\n{\n    return high();\n}\n\n")
        done = self.run_cmake("--build", self.build)
        self.assert_refused("undefined reference to `high'", done)
        self.assertIn("FAILED: low_alone", done.stdout)

    def test_a_use_of_what_lies_above_is_not_configured(self):
        self.addCleanup(self.configure)
        path = os.path.join(self.tree, "CMakeLists.txt")
        with open(path, encoding="utf-8") as file:
            whole = file.read()
        self.addCleanup(self.write, path, whole)
        self.write(path, whole.replace("add_wing(low)", "add_wing(low USES high)"))
        self.assert_refused("low uses high, which is not below it", self.configure())

    def test_a_call_of_the_world_is_seen(self):
        self.spoil("low/low.c", "char *getenv(const char *name);\nchar *ask(void);\nchar *ask(void)\n{\n"
                                '    return getenv("HOME");\n}\n\n')
        done = self.run_cmake("--build", self.build)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(asked_of_the_world([os.path.join(self.build, "libwing_low.a")]), ["getenv"])


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    unittest.main()
