#!/usr/bin/python3
"""Checks what no formatter checks: sizes of files and functions, trailing junk, and words that must not be committed.

Looks at every file that git tracks or would track. Prints one line per finding, and fails if there is one.
"""

import ast
import re
import subprocess
import sys

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70
SOURCES = (".swift", ".c", ".h", ".def", ".map", ".py")
TEXTS = SOURCES + (".md", ".txt", ".json", ".1", ".7")
# Spelled in halves, so that this file passes its own check.
FORBIDDEN = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b|/wo" r"rk/|/ro" r"ot/|/ho" r"me/")

SWIFT_FUNCTION = re.compile(r"^\s*(?:@[\w.]+(?:\([^)]*\))?\s+)*(?:[a-z]+(?:\([a-z]+\))?\s+)*(func\s+\S+|init[?!]?\s*[(<]|deinit\b)")
SWIFT_NOISE = re.compile(r'"(?:\\.|[^"\\])*"|//.*')


def tracked_files():
    listing = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], check=True, capture_output=True
    ).stdout.decode(errors="surrogateescape")
    return sorted(set(name for name in listing.split("\0") if name))


def is_text_of_ours(name):
    return name.endswith(TEXTS) or name in ("Makefile", ".ci/run")


def swift_functions(lines):
    """Yields (first line number, length, name) of each function, found by counting braces outside of text."""
    for start, line in enumerate(lines):
        match = SWIFT_FUNCTION.match(SWIFT_NOISE.sub('""', line))
        if not match:
            continue
        depth, opened, parentheses = 0, False, 0
        for end in range(start, len(lines)):
            code = SWIFT_NOISE.sub('""', lines[end])
            for character in code:
                if character in "()":
                    parentheses += 1 if character == "(" else -1
                elif character in "{}" and (parentheses == 0 or opened):
                    opened = True
                    depth += 1 if character == "{" else -1
            if opened and depth == 0:
                yield start + 1, end - start + 1, match.group(1)
                break
            if not opened and parentheses == 0 and end > start and not code.strip():
                break  # A requirement of a protocol: it has no body.


def c_functions(lines):
    """Yields the functions of a C file in the project's format: a body ends with a brace in the first column."""
    start = None
    for number, line in enumerate(lines, 1):
        if start is None and re.match(r"^[A-Za-z_].*\)\s*\{$", line):
            start = number
        elif line == "}" and start is not None:
            yield start, number - start + 1, lines[start - 1].split("(")[0]
            start = None


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno - node.lineno + 1, node.name


def functions(name, text, lines):
    if name.endswith(".swift"):
        return swift_functions(lines)
    if name.endswith((".c", ".h")):
        return c_functions(lines)
    if name.endswith(".py"):
        return python_functions(text)
    return ()


def findings(name):
    with open(name, encoding="utf-8") as file:
        text = file.read()
    lines = text.split("\n")
    if text and not text.endswith("\n"):
        yield len(lines), "the file does not end with a newline"
    if text.endswith("\n\n"):
        yield len(lines) - 1, "the file ends with an empty line"
    if name.endswith(SOURCES) and len(lines) - 1 > MAX_FILE_LINES:
        yield len(lines) - 1, f"{len(lines) - 1} lines, more than {MAX_FILE_LINES}"
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield number, "space at the end of the line"
        if "\t" in line and name != "Makefile":
            yield number, "a tab"
        match = FORBIDDEN.search(line)
        if match:
            yield number, f"'{match.group(0)}' does not belong in a commit"
    for number, length, function in functions(name, text, lines):
        if length > MAX_FUNCTION_LINES:
            yield number, f"{function.strip()} has {length} lines, more than {MAX_FUNCTION_LINES}"


def main():
    count = 0
    files = [name for name in tracked_files() if is_text_of_ours(name)]
    for name in files:
        try:
            for number, message in findings(name):
                print(f"{name}:{number}: {message}")
                count += 1
        except (FileNotFoundError, IsADirectoryError):
            continue  # Tracked but deleted, or a symbolic link to a folder.
    print(f"tidy: {len(files)} files, {count} findings")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
