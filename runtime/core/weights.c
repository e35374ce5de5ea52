// Weights that stand in this program's file need not stay in memory once they are prepared, or were
// copied to be trained: what is read again comes from the file, through the system's cache.
//
// Only pages of a segment that nothing can write are let go: they are as the file has them. Weights
// that a host keeps elsewhere stay.
#define _GNU_SOURCE
#include "runtime/core/rt.h"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20 };

typedef struct Range {
    uintptr_t first, end;
    bool found;
} Range;

static int find_segment(struct dl_phdr_info *info, size_t size, void *ctx) {
    (void)size;
    Range *r = ctx;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + h->p_vaddr;
        r->found |= h->p_type == PT_LOAD && !(h->p_flags & PF_W) && r->first >= start &&
                    r->end <= start + h->p_filesz;
    }
    return r->found;
}

RtPages rt_file_pages(const void *data, int64_t bytes) {
    Range r = {.first = (uintptr_t)data};
    r.end = r.first + (uintptr_t)bytes;
    dl_iterate_phdr(find_segment, &r);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (r.first + page - 1) / page * page, end = r.end / page * page;
    bool some = r.found && first < end;
    return (RtPages){some ? (char *)first : NULL, some ? end - first : 0};
}

// A run goes through all weights: where pages have 4 KiB, finding out where each of them is takes
// time. Systems that have no huge pages of files have small ones.
void rt_pages_want_huge(const RtPages *p) {
    if (p->bytes >= HUGE_PAGE) {
        madvise(p->first, p->bytes, MADV_HUGEPAGE);
    }
}

void rt_pages_let_go(const RtPages *p) {
    if (p->bytes) {
        madvise(p->first, p->bytes, MADV_DONTNEED);
    }
}
