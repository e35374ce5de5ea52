// The weights section: packed constants stream into a temporary file that already is the object the
// linker reads, so that 100 MB of weights never pass through LLVM or through memory twice. The
// section is read-only, page-aligned and, on x86-64, "large" (.lrodata), so that models above 2 GiB
// link and processes share its pages.
#include "codegen/program/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, GUARD = 64, SHF_LARGE = 0x10000000, HUGE_PAGE = 2 << 20 };

static void close_weights(void *arg) {
    CgWeights *w = arg;
    if (w->map)
        munmap(w->map, w->map_bytes);
    if (w->fd >= 0)
        close(w->fd);
    w->map = NULL;
    w->fd = -1;
}

bool cg_weights_open(CgWeights *w, IrArena *a, const char *dir, const char *prefix, bool once) {
    memset(w, 0, sizeof *w);
    w->once = once;
    w->open = -1;
    w->path = ir_sprintf(a, "%s/%.*s.weights.o", dir, CG_FILE_NAME, prefix);
    w->fd = open(w->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0) {
        ir_error(ir_arena_diag(a), IR_NOWHERE, "cannot write %s: %s", w->path, strerror(errno));
        return false;
    }
    ir_arena_defer(a, close_weights, w);
    return true;
}

static char *map_piece(CgWeights *w, const CgPiece *piece) {
    return (char *)w->map + piece->place % PAGE;
}

static bool same_bytes(const CgWeights *w, const CgPiece *a, const char *data) {
    char buf[PAGE];
    for (int64_t at = 0; at < a->bytes; at += PAGE) {
        size_t n = a->bytes - at < PAGE ? (size_t)(a->bytes - at) : PAGE;
        if (pread(w->fd, buf, n, PAGE + a->place + at) != (ssize_t)n || memcmp(buf, data + at, n))
            return false;
    }
    return true;
}

// The open piece is filled now. Where an equal one stands already, its space is free again.
static void settle_piece(CgWeights *w, IrArena *a) {
    if (!w->once || w->open < 0)
        return;
    CgPiece *last = &w->pieces[w->open];
    char *data = map_piece(w, last);
    uint64_t h = cg_hash(data, (size_t)last->bytes);
    size_t probe = 0;
    for (int i; (i = cg_table_find(&w->piece_table, h, &probe)) >= 0;)
        if (w->pieces[i].bytes == last->bytes && same_bytes(w, &w->pieces[i], data)) {
            memset(data, 0, (size_t)last->bytes); // what comes next finds zeros
            w->bytes = last->place;
            last->place = w->pieces[i].place;
            return;
        }
    cg_table_add(&w->piece_table, a, h, w->open);
}

static int64_t whole_lines(int64_t bytes) {
    return (bytes + 63) / 64 * 64;
}

int64_t cg_weights_reserve(CgWeights *w, IrArena *a, int64_t bytes) {
    CgPiece piece = {w->end, bytes, -1};
    IR_PUSH(a, w->pieces, w->n_pieces, w->cap_pieces, piece);
    w->end += whole_lines(bytes ? bytes : 1); // offsets differ
    return piece.at;
}

CgPiece *cg_weights_piece(const CgWeights *w, int64_t offset) {
    int lo = 0, hi = w->n_pieces; // the last piece at or before it
    while (hi - lo > 1) {
        int mid = lo + (hi - lo) / 2;
        if (w->pieces[mid].at <= offset)
            lo = mid;
        else
            hi = mid;
    }
    return &w->pieces[lo];
}

int64_t cg_weights_place(const CgWeights *w, int64_t offset) {
    const CgPiece *piece = cg_weights_piece(w, offset);
    if (piece->place < 0)
        ir_bug("codegen", NULL, "packed weights without a place");
    return offset - piece->at + piece->place;
}

// `bytes` at the end of the section, mapped alone
static void *map_end(CgWeights *w, IrArena *a, int64_t bytes) {
    int64_t begin = PAGE + w->bytes, end = begin + bytes + GUARD;
    int64_t page = begin / PAGE * PAGE;
    if (w->map)
        munmap(w->map, w->map_bytes);
    w->map = NULL;
    int err = posix_fallocate(w->fd, page, end - page);
    if (err)
        ir_fatal(ir_arena_diag(a), IR_NOWHERE, "cannot write %s: %s", w->path, strerror(err));
    w->map_bytes = (size_t)(end - page);
    w->map = mmap(NULL, w->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, page);
    if (w->map == MAP_FAILED) {
        w->map = NULL;
        ir_fatal(ir_arena_diag(a), IR_NOWHERE, "cannot map %s: %s", w->path, strerror(errno));
    }
    w->bytes += whole_lines(bytes);
    return (char *)w->map + (begin - page);
}

void *cg_weights_fill(CgWeights *w, IrArena *a, int64_t offset) {
    settle_piece(w, a);
    CgPiece *piece = cg_weights_piece(w, offset);
    w->open = (int)(piece - w->pieces);
    piece->place = w->bytes;
    return map_end(w, a, piece->bytes);
}

static bool write_at(int fd, const void *data, size_t n, int64_t offset) {
    const char *s = data;
    while (n > 0) {
        ssize_t k = pwrite(fd, s, n, offset);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        s += k;
        n -= (size_t)k;
        offset += k;
    }
    return true;
}

enum { SEC_NULL, SEC_DATA, SEC_SYMTAB, SEC_STRTAB, SEC_SHSTRTAB, SEC_STACK, SEC_COUNT };
static const char section_names[] = "\0.lrodata.hone\0.symtab\0.strtab\0.shstrtab\0.note.GNU-stack"
                                    "\0.rodata.hone";

// Sections that may be beyond the reach of 32 bits are marked on x86-64 alone.
typedef struct Elf {
    Elf64_Half machine;
    Elf64_Word name; // of the data's section: where it stands in section_names
    Elf64_Xword flags;
} Elf;
static const Elf elfs[] = {
    [IR_ISA_X86_64] = {EM_X86_64, 1, SHF_ALLOC | SHF_LARGE},
    [IR_ISA_AARCH64] = {EM_AARCH64, 57, SHF_ALLOC},
};

static Elf64_Ehdr elf_header(const Elf *elf, int64_t sections) {
    return (Elf64_Ehdr){
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_REL,
        .e_machine = elf->machine,
        .e_version = EV_CURRENT,
        .e_shoff = (uint64_t)sections,
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = SEC_COUNT,
        .e_shstrndx = SEC_SHSTRTAB};
}

// Behind the data: symbols, their names, the section names, the section headers.
static bool write_elf(const CgWeights *w, IrArena *a, const char *symbol, const IrMachine *m,
                      int64_t data_bytes) {
    const Elf *elf = &elfs[m->isa];
    int64_t at = (PAGE + data_bytes + 15) / 16 * 16;
    size_t name_bytes = strlen(symbol) + 2;
    char *names = ir_alloc(a, name_bytes); // "\0symbol\0"
    memcpy(names + 1, symbol, name_bytes - 2);
    Elf64_Sym sym[2] = {{0},
                        {.st_name = 1,
                         .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
                         .st_other = STV_HIDDEN,
                         .st_shndx = SEC_DATA,
                         .st_size = (uint64_t)data_bytes}};
    int64_t at_names = at + (int64_t)sizeof sym;
    int64_t at_sections = at_names + (int64_t)name_bytes;
    int64_t at_headers = (at_sections + (int64_t)sizeof section_names + 15) / 16 * 16;
    Elf64_Shdr sh[SEC_COUNT] = {
        [SEC_DATA] = {.sh_name = elf->name,
                      .sh_type = SHT_PROGBITS,
                      .sh_flags = elf->flags,
                      .sh_offset = PAGE,
                      .sh_size = (uint64_t)data_bytes,
                      .sh_addralign = data_bytes / 16 < HUGE_PAGE ? PAGE : HUGE_PAGE},
        [SEC_SYMTAB] = {.sh_name = 15,
                        .sh_type = SHT_SYMTAB,
                        .sh_offset = (uint64_t)at,
                        .sh_size = sizeof sym,
                        .sh_link = SEC_STRTAB,
                        .sh_info = 1,
                        .sh_addralign = 8,
                        .sh_entsize = sizeof sym[0]},
        [SEC_STRTAB] = {.sh_name = 23,
                        .sh_type = SHT_STRTAB,
                        .sh_offset = (uint64_t)at_names,
                        .sh_size = name_bytes,
                        .sh_addralign = 1},
        [SEC_SHSTRTAB] = {.sh_name = 31,
                          .sh_type = SHT_STRTAB,
                          .sh_offset = (uint64_t)at_sections,
                          .sh_size = sizeof section_names,
                          .sh_addralign = 1},
        [SEC_STACK] = {.sh_name = 41,
                       .sh_type = SHT_PROGBITS,
                       .sh_offset = (uint64_t)at_headers,
                       .sh_addralign = 1},
    };
    Elf64_Ehdr eh = elf_header(elf, at_headers);
    return write_at(w->fd, &eh, sizeof eh, 0) && write_at(w->fd, sym, sizeof sym, at) &&
           write_at(w->fd, names, name_bytes, at_names) &&
           write_at(w->fd, section_names, sizeof section_names, at_sections) &&
           write_at(w->fd, sh, sizeof sh, at_headers);
}

// Moves the data to the front of the file: --emit asm and llvm-ir hand out plain bytes.
static bool write_raw(const CgWeights *w, int64_t data_bytes) {
    enum { CHUNK = 1 << 20 };
    char *buf = malloc(CHUNK);
    bool ok = buf != NULL;
    for (int64_t at = 0; ok && at < data_bytes; at += CHUNK) {
        int64_t n = data_bytes - at < CHUNK ? data_bytes - at : CHUNK;
        ok = pread(w->fd, buf, (size_t)n, PAGE + at) == n && write_at(w->fd, buf, (size_t)n, at);
    }
    free(buf);
    return ok && ftruncate(w->fd, data_bytes) == 0;
}

bool cg_weights_close(CgWeights *w, IrArena *a, const char *symbol, const IrMachine *m) {
    settle_piece(w, a);
    map_end(w, a, 0); // the guard behind the last piece exists
    w->bytes += GUARD;
    bool ok = m ? write_elf(w, a, symbol, m, w->bytes) : write_raw(w, w->bytes);
    if (!ok)
        ir_error(ir_arena_diag(a), IR_NOWHERE, "cannot write %s: %s", w->path, strerror(errno));
    close_weights(w);
    return ok;
}
