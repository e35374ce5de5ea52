// The runtime's small common ground: error text, sizes that cannot overflow, memory.
#define _GNU_SOURCE
#include "runtime/core/rt.h"

#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "runtime/core/text.h"

enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };

bool rt_fail(RtErr *err, const char *fmt, ...) {
    char text[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    rt_clean(text, err->text, sizeof err->text);
    return false;
}

bool rt_dim_at(HoneDim d, int64_t N, int64_t *size) {
    return !__builtin_mul_overflow(d.n, N, size) && !__builtin_add_overflow(*size, d.c, size) &&
           *size >= 0;
}

bool rt_tensor_count(const HoneTensorDesc *t, int64_t N, int64_t *count) {
    *count = 1;
    for (int i = 0; i < t->rank; i++) {
        int64_t size;
        if (!rt_dim_at(t->dim[i], N, &size) || __builtin_mul_overflow(*count, size, count))
            return false;
    }
    return true;
}

bool rt_tensor_bytes(const HoneTensorDesc *t, int64_t N, int64_t *bytes) {
    const RtDtype *type = rt_dtype(t->dtype);
    return type && rt_tensor_count(t, N, bytes) &&
           !__builtin_mul_overflow(*bytes, (int64_t)type->bytes, bytes);
}

// Appends to text[size], cutting what does not fit.
static void append_text(char *text, size_t size, size_t *used, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = *used < size ? vsnprintf(text + *used, size - *used, fmt, args) : 0;
    va_end(args);
    *used += n > 0 ? (size_t)n : 0;
}

static const char *dtype_name(int dtype) {
    const RtDtype *type = rt_dtype(dtype);
    return type ? type->name : "?";
}

const char *rt_dim_text(HoneDim d, char *text, size_t size) {
    size_t used = 0;
    if (d.n == 0)
        append_text(text, size, &used, "%lld", (long long)d.c);
    else if (d.n == 1)
        append_text(text, size, &used, "N");
    else
        append_text(text, size, &used, "%lldN", (long long)d.n);
    if (d.n != 0 && d.c != 0)
        append_text(text, size, &used, "%+lld", (long long)d.c);
    return text;
}

const char *rt_tensor_text(const HoneTensorDesc *t, char *text, size_t size) {
    size_t used = 0;
    char dim[64];
    append_text(text, size, &used, "%s[", dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++)
        append_text(text, size, &used, "%s%s", i ? "," : "",
                    rt_dim_text(t->dim[i], dim, sizeof dim));
    append_text(text, size, &used, "]");
    return text;
}

const char *rt_shape_text(int dtype, int rank, const int64_t *dim, char *text, size_t size) {
    size_t used = 0;
    append_text(text, size, &used, "%s[", dtype_name(dtype));
    for (int i = 0; i < rank; i++)
        append_text(text, size, &used, "%s%lld", i ? "," : "", (long long)dim[i]);
    append_text(text, size, &used, "]");
    return text;
}

HoneTensorInfo rt_tensor_info(const HoneTensorDesc *t, int i, int n) {
    HoneTensorInfo info = {.name = NULL, .dtype = NULL};
    if (i < 0 || i >= n)
        return info;
    t += i;
    const RtDtype *type = rt_dtype(t->dtype);
    info = (HoneTensorInfo){.name = t->name, .dtype = type ? type->name : NULL, .rank = t->rank};
    for (int k = 0; k < t->rank && k < HONE_MAX_RANK; k++)
        info.dim[k] = t->dim[k].n ? -1 : t->dim[k].c;
    return info;
}

void *rt_alloc_aligned(size_t bytes) {
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t rounded = (bytes + RT_ALIGN - 1) / RT_ALIGN * RT_ALIGN;
    return aligned_alloc(RT_ALIGN, rounded ? rounded : RT_ALIGN);
}

char *rt_alloc_pages(size_t *bytes) {
    bool huge = *bytes >= HUGE_PAGE;
    size_t page = huge ? HUGE_PAGE : PAGE;
    if (*bytes > SIZE_MAX / 2)
        return NULL;
    size_t want = (*bytes + page - 1) / page * page, map = want + (huge ? HUGE_PAGE : 0);
    char *p = mmap(NULL, map, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (huge) {
        size_t skip = -(uintptr_t)p % HUGE_PAGE;
        if (skip)
            munmap(p, skip);
        if (HUGE_PAGE - skip)
            munmap(p + skip + want, HUGE_PAGE - skip);
        p += skip;
        madvise(p, want, MADV_HUGEPAGE);
    }
    *bytes = want;
    return p;
}

// VmHWM: getrusage() would count the parent's memory from before exec.
double rt_peak_rss_mb(void) {
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    double kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lf", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib * 1024 * 1e-6;
}
