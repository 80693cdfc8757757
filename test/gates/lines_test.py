"""What can be told of the sources line by line: how long lines and functions are, which calls are not made, and that
nothing stands twice."""

import re
import statistics
import unittest

import sources

SCRIPTS = ("*.py", "*.bash", "test/run", "test/demo", "test/tools", "test/bench/run", "test/bench/instructions",
           "test/bench/bodies", "test/cluster/*", "test/go/pprofcheck/run", "test/fixtures/pprof/*",
           "manifests/certificates",
           "manifests/oci-archive", "agent/static/build", ".ci/run")
FUNCTION_LINES_MAX = 60
TWIN_LINES = 12
LIST_SHAPES = 6  # lines of no more shapes than this are a list: rows of a table, or functions of one call each
TWICE = "runs of lines stand twice; make them one, or say in a comment why it \"stands twice\""

# Name -> why not. Where one is right all the same, the line says so: /* banned: REASON */
BANNED = {
    "atoi": "cannot fail: number.h can", "atol": "cannot fail", "atoll": "cannot fail", "atof": "cannot fail",
    "strtok": "keeps state, and changes what it reads: span.h does neither", "strtok_r": "changes what it reads",
    "sprintf": "knows no end: snprintf or buf.h", "vsprintf": "knows no end", "strcpy": "knows no end",
    "strcat": "knows no end", "stpcpy": "knows no end", "strncpy": "may leave no NUL, and fills the rest",
    "strncat": "as strncpy",
    "gets": "knows no end", "scanf": "overflows without a word", "sscanf": "overflows without a word",
    "fscanf": "overflows without a word", "alloca": "a stack has no error", "system": "starts a shell",
    "popen": "starts a shell",
    "tmpnam": "somebody else may take the name first", "tempnam": "as tmpnam", "mktemp": "as tmpnam",
    "gmtime": "shared state: gmtime_r", "localtime": "the machine's time zone: all times are UTC",
    "ctime": "as localtime",
    "asctime": "as localtime", "rand": "not for anything that matters: getrandom", "random": "as rand",
    "srand": "as rand",
    "setjmp": "leaves scopes without their clean-up", "longjmp": "as setjmp", "abort": "errors are returned",
    "exit": "only main ends the program, by returning", "_exit": "as exit",
    "usleep": "nothing sleeps: loop.h has timers", "sleep": "as usleep", "nanosleep": "as usleep",
    "asprintf": "no ceiling: buf.h", "vasprintf": "no ceiling",
    "getline": "no ceiling", "strerror_r": "two functions of one name; err_errno words it", "readdir_r": "outdated",
    "select": "no descriptor over 1023", "perror": "the log says it", "gethostbyname": "waits, and shares its answer",
}
CALL = re.compile(r"(?<![\w.>])(\w+)\s*\(")


def column_limit():
    return int(re.search(r"(?m)^ColumnLimit: (\d+)$", sources.read(".clang-format"))[1])


class Gate(unittest.TestCase):
    def none(self, found, what):
        if found:
            self.fail(f"{len(found)} {what}:\n" + "\n".join(found))


class Lines(Gate):
    def test_no_line_is_longer_than_the_format_says(self):
        limit = column_limit()
        paths = sources.files("*.c", "*.h", "*CMakeLists.txt", "*.cmake", "*Containerfile", *SCRIPTS)
        self.assertGreater(len(paths), 200)
        too_long = [f"{path}:{number}: {len(line)} columns" for path in paths
                    if not path.endswith((".json", ".md", ".yaml"))
                    for number, line in enumerate(sources.read(path).split("\n"), 1) if len(line) > limit]
        self.none(too_long, f"lines over {limit} columns")

    def test_no_banned_function_is_called(self):
        found = []
        for path in sources.product(".c", ".h"):
            lines = sources.read(path).split("\n")
            for number, line in enumerate(sources.without_comments("\n".join(lines)).split("\n"), 1):
                found += [f"{path}:{number}: {name}: {BANNED[name]}" for name in CALL.findall(line)
                          if name in BANNED and "/* banned: " not in lines[number - 1]]
        self.none(found, "banned calls")


class Functions(Gate):
    def test_no_function_is_longer_than_a_screen(self):
        functions = [function for path in sources.product(".c", ".h") for function in sources.functions(path)]
        lengths = sorted(function.lines for function in functions)
        self.assertGreater(len(lengths), 1000, "the functions are not found any more")
        print(f"functions: {len(lengths)}, median {statistics.median(lengths):g} lines, "
              f"p90 {lengths[len(lengths) * 9 // 10]}, longest {lengths[-1]}")
        self.none([str(function) for function in functions if function.lines > FUNCTION_LINES_MAX], "long functions")


KEYWORDS = set("""if else for while do switch case default break continue return goto sizeof static const struct enum
    union def class import from in not and or is with as try except finally raise lambda yield assert pass del elif
    None""".split())


def shape(line):
    """The line with other names, texts and numbers is the same."""
    def of(token):
        if token in KEYWORDS or not (token[0].isalnum() or token[0] in "_\"'"):
            return token
        return "name" if token[0].isalpha() or token[0] == "_" else "number" if token[0].isdigit() else "text"
    return " ".join(of(token) for token in sources.TOKEN.findall(line))


def lines_of(path):
    """(number, text) of each line that says something: without comments, and without what is included."""
    text = sources.read(path)
    if path.endswith((".c", ".h")):
        text = sources.DIRECTIVE.sub(sources.blank, sources.without_comments(text))
    elif path.endswith(".py"):
        text = re.sub(r"(?m)^\s*(#|import |from \S+ import ).*$", "", text)
    else:
        text = re.sub(r"(?m)^\s*#.*$", "", text)
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def is_explained(path, number):
    """Whether a comment among the lines, or just before, says why they stand elsewhere as well."""
    near = sources.read(path).split("\n")[max(0, number - 4):number + TWIN_LINES]
    return any("stands twice" in line for line in near)


def twins(paths, lines_of_path, shapes_of_a_list=0):
    """Where TWIN_LINES lines stand a second time: "a:1 = b:7, 15 lines"."""
    seen, found = {}, []
    for path in paths:
        lines, last = lines_of_path(path), None
        for at in range(len(lines) - TWIN_LINES + 1):
            run = [text for _, text in lines[at:at + TWIN_LINES]]
            if len(set(run)) <= shapes_of_a_list:
                continue
            key = "\n".join(run)
            first = seen.setdefault(key, (path, lines[at][0], at))
            if first[0] == path and at - first[2] < TWIN_LINES:
                continue
            if last and last[0] == first[0] and last[1] == first[2] - 1 and found[-1][2] == at - 1:
                found[-1][2:] = [at, found[-1][3] + 1]
            else:
                found.append([first[:2], (path, lines[at][0]), at, TWIN_LINES])
            last = first[0], first[2]
    return [f"{a[0]}:{a[1]} = {b[0]}:{b[1]}, {count} lines" for a, b, _, count in found
            if not is_explained(*a) and not is_explained(*b)]


class Twins(Gate):
    def test_no_lines_stand_twice(self):
        for paths in (sources.files("*.c", "*.h"), sources.files(*SCRIPTS)):
            self.none(twins(paths, lines_of), TWICE)

    def test_no_logic_of_the_same_shape_stands_twice(self):
        """Tables may, and lists of calls that write one: a row looks like the next one. What stands around a table is
        told from what stands around another one by the table."""
        def shapes(path):
            rows = sources.rows(path)
            return [(number, f"{path}:{number}" if number in rows or text[0] == '"' else shape(text))
                    for number, text in lines_of(path)]

        self.none(twins(sources.files("*.c", "*.h"), shapes, LIST_SHAPES), TWICE)

    def test_no_script_of_the_same_shape_stands_twice(self):
        def shapes(path):
            return [(number, shape(text)) for number, text in lines_of(path)]

        self.none(twins(sources.files("*.py"), shapes, LIST_SHAPES), TWICE)
