"""The compiler and what it makes are hardened, as their ELF files say: PIE, full RELRO, a stack that cannot be run, stack
protector, FORTIFY, no text relocations, no segment both writable and executable.
"""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, SAMPLE, main, ok, temp

ET_REL, ET_DYN = 1, 3
PT_LOAD, PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 1, 2, 0x6474E551, 0x6474E552
PF_X, PF_W = 1, 2
DT_STRTAB, DT_SYMTAB, DT_SYMENT, DT_TEXTREL, DT_BIND_NOW, DT_FLAGS, DT_FLAGS_1 = 5, 6, 11, 22, 24, 30, 0x6FFFFFFB
DF_TEXTREL, DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 4, 8, 1, 0x08000000
SHF_EXECINSTR = 4


class Elf:
    """What a 64-bit little-endian ELF file says of itself."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        assert self.data[:6] == b"\x7fELF\x02\x01", path
        self.type, = struct.unpack_from("<H", self.data, 16)
        phoff, self.shoff = struct.unpack_from("<QQ", self.data, 32)
        phentsize, phnum, self.shentsize, self.shnum, self.shstrndx = struct.unpack_from("<5H", self.data, 54)
        # (type, flags, offset, address, bytes in the file)
        self.segments = [struct.unpack_from("<IIQQxxxxxxxxQ", self.data, phoff + i * phentsize) for i in range(phnum)]
        self.dynamic = {}
        for kind, _, offset, _, size in self.segments:
            if kind == PT_DYNAMIC:
                self.dynamic = {t: v for t, v in struct.iter_unpack("<qQ", self.data[offset:offset + size])}

    def offset(self, address):
        return next(o + address - a for k, _, o, a, n in self.segments if k == PT_LOAD and a <= address < a + n)

    def text(self, offset):
        return self.data[offset:self.data.index(b"\0", offset)].decode()

    def imports(self):
        """Names of the undefined dynamic symbols; the string table stands behind the symbols, as every linker puts it."""
        symbols, strings = (self.offset(self.dynamic[t]) for t in (DT_SYMTAB, DT_STRTAB))
        names = set()
        for at in range(symbols, strings, self.dynamic[DT_SYMENT]):
            name, _, _, section = struct.unpack_from("<IBBH", self.data, at)
            if section == 0 and name:
                names.add(self.text(strings + name))
        return names

    def sections(self):
        """{name: flags}"""
        headers = [struct.unpack_from("<IIQQQ", self.data, self.shoff + i * self.shentsize) for i in range(self.shnum)]
        strings = headers[self.shstrndx][4]
        return {self.text(strings + h[0]): h[2] for h in headers}


def faults(elf, program):
    """What is missing."""
    d, kinds, names = elf.dynamic, [s[0] for s in elf.segments], elf.imports()
    flags, flags_1 = d.get(DT_FLAGS, 0), d.get(DT_FLAGS_1, 0)
    checks = {
        "is position-independent": elf.type == ET_DYN and (not program or flags_1 & DF_1_PIE),
        "has RELRO": PT_GNU_RELRO in kinds,
        "binds at once": flags & DF_BIND_NOW or flags_1 & DF_1_NOW or DT_BIND_NOW in d,
        "says that its stack is not run": [s[1] & PF_X for s in elf.segments if s[0] == PT_GNU_STACK] == [0],
        "has stack protectors": "__stack_chk_fail" in names,
        "has FORTIFY": any(n.endswith("_chk") for n in names),
        "has no text relocations": DT_TEXTREL not in d and not flags & DF_TEXTREL,
        "has no segment to write and run": all(s[1] & (PF_W | PF_X) != PF_W | PF_X for s in elf.segments if s[0] == PT_LOAD),
    }
    return [f"not so: it {what}" for what, holds in checks.items() if not holds]


def test_compiler():
    assert not faults(Elf(HONE), True), faults(Elf(HONE), True)


def test_inference_program():
    ok(HONE, "compile", SAMPLE, "-o", "net")
    assert not faults(Elf(temp("net")), True), faults(Elf(temp("net")), True)


def test_shared_library():
    ok(HONE, "compile", SAMPLE, "-o", "net.so", "--emit", "shared")
    assert not faults(Elf(temp("net.so")), False), faults(Elf(temp("net.so")), False)


def test_tuning_program():
    ok(HONE, "finetune", SAMPLE, "-o", "teach", "--classes", "3")
    assert not faults(Elf(temp("teach")), True), faults(Elf(temp("teach")), True)


def test_object():
    """An object asks for nothing that would take these from the program it goes into."""
    ok(HONE, "compile", SAMPLE, "-o", "net.o", "--emit", "object")
    elf = Elf(temp("net.o"))
    sections = elf.sections()
    assert elf.type == ET_REL and not sections[".note.GNU-stack"] & SHF_EXECINSTR, sections


if __name__ == "__main__":
    main(sys.modules[__name__])
