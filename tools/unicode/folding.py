#!/usr/bin/env python3
"""Writes src/Aglow/Users/folding.txt: the form of a character for comparisons that ignore case and form.

One line for each character that changes: the character, then what it becomes (NFKD of its full case folding, without
default-ignorable characters). Hangul syllables are left out: NameFolding decomposes them by arithmetic.

    tools/unicode/folding.py > src/Aglow/Users/folding.txt
"""
import sys
import unicodedata

IGNORABLE = [
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F),
    (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xE0000, 0xE0FFF),
]


def ignorable(c):
    return any(first <= c <= last for first, last in IGNORABLE)


def fold(text):
    previous = None
    while text != previous:
        previous = text
        text = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in text if not ignorable(ord(c)))


sys.stdout.reconfigure(encoding="utf-8", newline="\n")
for c in range(0x80, 0x110000):
    if 0xD800 <= c <= 0xDFFF or 0xAC00 <= c <= 0xD7A3:
        continue
    if fold(chr(c)) != chr(c) and not 0xE0000 <= c <= 0xE0FFF:
        sys.stdout.write(chr(c) + fold(chr(c)) + "\n")
