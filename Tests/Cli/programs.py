"""Executables of every kind that `millrace run` warns of, made in a directory of the test."""

import os
import pathlib
import shutil
import struct
import subprocess

COMPILER = os.environ.get("CC", "gcc")
# What Go's linker leaves: a note with the owner "Go" and the type 4.
GO_NOTE = 'asm(".section .note.go.buildid,\\"a\\",@note\\n.long 4, 4, 4\\n.asciz \\"Go\\\\0\\"\\n.long 0\\n.previous");'
NOBODY = 65534


def compiled(directory, name, flags=(), text=""):
    """A program that prints its name and exits with 7."""
    source = directory / f"{name}.c"
    source.write_text(f'#include <stdio.h>\n{text}\nint main(void) {{ puts("{name}"); return 7; }}\n')
    program = directory / name
    subprocess.run([COMPILER, "-o", program, source, *flags], check=True)
    return program


def script(directory, name, interpreter):
    program = directory / name
    program.write_text(f"#!{interpreter}\nexit 7\n")
    program.chmod(0o755)
    return program


def patched(directory, name, original, offset, data):
    """A copy of a program with other bytes in its header."""
    program = directory / name
    shutil.copy(original, program)
    with open(program, "r+b") as file:
        file.seek(offset)
        file.write(data)
    return program


def foreign(directory, original):
    return patched(directory, "foreign", original, 18, struct.pack("<H", 0xF3))


def narrow(directory, original):
    return patched(directory, "narrow", original, 4, b"\1")


def set_user_id(directory, original):
    """Belongs to somebody else and takes that identity; only root can make one."""
    program = pathlib.Path(shutil.copy(original, directory / "set-user-id"))
    os.chown(program, NOBODY, NOBODY)
    program.chmod(0o4755)
    return program


def set_group_id(directory, original):
    program = pathlib.Path(shutil.copy(original, directory / "set-group-id"))
    os.chown(program, os.getuid(), NOBODY)
    program.chmod(0o2755)
    return program


def capable(directory, original):
    """Has CAP_NET_BIND_SERVICE (number 10), permitted and effective, in a version 2 attribute."""
    program = pathlib.Path(shutil.copy(original, directory / "capable"))
    os.setxattr(program, "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
    return program
