"""What the compiler and the linker's tables can tell: each header compiles alone, nothing is offered that nobody uses,
and gcc's analyzer finds nothing new. Needs build/release."""

import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import unittest

import sources
from blackbox import BUILD, ROOT

WARNING = re.compile(r"(?m)^([^\s:]+):(\d+):\d+: warning: .*\[(-Wanalyzer-[\w-]+)\]$")

# What the analyzer says and is wrong about: file, kind, function -> why.
KNOWN = {
    ("common/pod/json.c", "-Wanalyzer-null-dereference", "json_get_text"): "cJSON_IsString(NULL) is false",
    ("common/pod/json.c", "-Wanalyzer-null-dereference", "json_get_whole"): "cJSON_IsNumber(NULL) is false",
    ("webhook/inject/patch.c", "-Wanalyzer-null-dereference", "link_before"):
        "`last` is NULL only where there is no child, which the branch before has dealt with",
}

# What other files of the programs do not use, and is offered all the same -> why.
OFFERED = {
    "boolean_true_words": "a test compares them with the expressions in the manifests",
    "boolean_false_words": "as boolean_true_words",
    "httpd_is_empty": "says when a server that is stopped has nothing left to do, for tests that run its loop "
                      "themselves",
    "ini_file_parse": "the reader without a file, for its test and its fuzz target",
    "log_format_line": "a line as it is written, without a clock",
    "spool_items_max": "pure: the rule of the index by itself, for budgets that no test fills",
    "profile_dir_name": "pure: the names of files, without a directory",
    "plan_is_sampled": "pure: the draw by itself, over thousands of minutes",
    "pprof_verdict_names": "tests and their programs print them",
    "scrape_judge": "pure: the judgement of a reply, without a server",
    "scrape_url": "pure: what is asked for, without a server",
    "tls_pair_parse": "takes PEM from memory, for tests whose certificates are in no file",
    "patch_verify": "called where assertions run",
    "patch_verify_nothing_lost": "called where assertions run",
    "command_line_write_commands": "the help of a program with commands, of which neither of the two is one",
    "limits_can_hold": "the rule by itself, for all settings in turn",
    "name_distance": "pure: the measure by itself, without the choice that is made by it",
    "settings_init": "an empty one, for whoever does not read the defaults into it",
}


def commands():
    """Path -> (folder, arguments) of each source of the programs, as build/release compiles it."""
    with open(os.path.join(BUILD, "compile_commands.json"), encoding="utf-8") as file:
        listed = json.load(file)
    found = {}
    for entry in listed:
        path = os.path.relpath(os.path.realpath(entry["file"]), ROOT)
        if path.split("/")[0] in sources.OURS:
            found[path] = entry["directory"], shlex.split(entry["command"])
    return found


def compile_again(folder, command, *more):
    """What the compiler says with other options, the output thrown away."""
    at = command.index("-o")
    kept = command[:at] + command[at + 2:]
    kept = [word for word in kept if not word.startswith(("-O", "-Werror", "-D_FORTIFY_SOURCE", "-U_FORTIFY_SOURCE"))]
    return subprocess.run([*kept, *more, "-o", os.devnull], cwd=folder, capture_output=True, text=True, check=False)


def beside_each_other(work, items):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, items))


class Headers(unittest.TestCase):
    def test_each_compiles_alone(self):
        """As the first thing in a file, in the words of the first source of its folder."""
        by_folder = {os.path.dirname(path): command for path, command in commands().items()}

        def try_it(path):
            folder, command = by_folder[os.path.dirname(path)]
            at = command.index("-c")
            done = compile_again(folder, command[:at] + command[at + 2:], "-fsyntax-only", "-Werror",
                                 "-Wno-unused-macros", "-x", "c",
                                 os.path.join(ROOT, path))
            return None if done.returncode == 0 else f"{path}:\n{done.stderr}"

        headers = [path for path in sources.product(".h") if os.path.dirname(path) in by_folder]
        self.assertGreater(len(headers), 50)
        failed = [words for words in beside_each_other(try_it, headers) if words]
        self.assertEqual([], failed, "\n".join(failed))


def symbols(path):
    """Names that an object file offers to others, and names that it wants."""
    listed = subprocess.run(["nm", "-P", "-g", path], check=True, capture_output=True, text=True).stdout
    offered, wanted = set(), set()
    for line in listed.splitlines():
        name, kind = line.split()[:2]
        (wanted if kind == "U" else offered).add(name)
    return offered, wanted


class Externs(unittest.TestCase):
    def test_what_is_offered_is_used_by_another_file(self):
        """By one of the programs: what only tests use is dead."""
        offered, wanted = {}, set()
        for path, (folder, command) in commands().items():
            gives, takes = symbols(os.path.join(folder, command[command.index("-o") + 1]))
            offered.update({name: path for name in gives})
            wanted |= takes
        self.assertGreater(len(offered), 200)
        unused = {name for name in offered if name not in wanted and name != "main"}
        wrong = sorted(f"{offered[name]}: {name}" for name in unused - set(OFFERED))
        self.assertEqual([], wrong, "make them static, delete them, or say in OFFERED why not")
        self.assertEqual([], sorted(set(OFFERED) - unused), "used or gone: take them out of OFFERED")

    def test_what_a_header_defines_is_used_outside_of_it(self):
        """Inline functions and macros with arguments, of which the linker sees nothing."""
        words = {path: set(re.findall(r"\w+", sources.without_comments(sources.read(path))))
                 for path in sources.product(".c", ".h")}
        unused = []
        for path in sources.product(".h"):
            text = sources.without_comments(sources.read(path))
            defined = re.findall(r"(?m)^(?:static inline [^(\n]*?|#define )(\w+)\(", text)
            others = set().union(*(found for other, found in words.items() if other != path))
            # A macro may lean on a function of its own header.
            twice = [name for name in defined if len(re.findall(rf"\b{name}\b", text)) > 1]
            unused += [f"{path}: {name}" for name in defined if name not in others and name not in twice]
        self.assertEqual([], unused, "\n".join(unused))


class Analyzer(unittest.TestCase):
    def test_it_finds_nothing_new(self):
        def analyze(item):
            return compile_again(*item[1], "-O1", "-fanalyzer", "-Wno-null-dereference").stderr

        found = set()
        for stderr in beside_each_other(analyze, commands().items()):
            for path, line, kind in WARNING.findall(stderr):
                path = os.path.relpath(os.path.realpath(path), ROOT)
                inside = [function.name for function in sources.functions(path)
                          if function.first <= int(line) <= function.last]
                found.add((path, kind, inside[0] if inside else f"line {line}"))
        self.assertEqual([], sorted(found - set(KNOWN)), "new: mend them, or say in KNOWN why they are wrong")
        self.assertEqual([], sorted(set(KNOWN) - found), "no longer said: take them out of KNOWN")
