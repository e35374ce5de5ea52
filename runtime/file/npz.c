// See npz.h. The central directory at the end of the file says what there is (PKWARE's APPNOTE,
// 4.3); what a member's own header says besides is not believed.
#include "runtime/file/npz.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    END = 22,
    ROW = 46,
    LOCAL = 30,
    COMMENT = 65535,
    MOST = 1024,
    STORED = 0,
    DEFLATED = 8,
    MOST_PER_BYTE = 1032
}; // that deflate can stand for
static const size_t max_file = (size_t)1 << 40;

typedef struct Zip {
    const char *path;
    const uint8_t *data;
    size_t size;
    RtErr *err;
} Zip;

typedef struct Member {
    const uint8_t *data;
    uint32_t method, flags, crc, packed, bytes;
    char name[256];
} Member;

static uint32_t number(const uint8_t *p, int bytes) {
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint32_t)p[i] << 8 * i;
    return v;
}

static bool damaged(const Zip *z, const char *what) {
    return rt_fail(z->err, "%s: not a whole .npz file (%s)", z->path, what);
}

// The end of the directory, behind which a comment may stand.
static const uint8_t *find_end(const Zip *z) {
    for (size_t back = END; back <= z->size && back <= END + COMMENT; back++)
        if (memcmp(z->data + z->size - back, "PK\5\6", 4) == 0)
            return z->data + z->size - back;
    return NULL;
}

// The member of the directory's row at *at, which moves behind it.
static bool read_row(const Zip *z, size_t *at, Member *m) {
    if (*at > z->size || z->size - *at < ROW || memcmp(z->data + *at, "PK\1\2", 4) != 0)
        return damaged(z, "its directory");
    const uint8_t *r = z->data + *at;
    uint32_t name = number(r + 28, 2), more = number(r + 30, 2) + number(r + 32, 2);
    size_t local = number(r + 42, 4), left = z->size - *at - ROW;
    if (name >= sizeof m->name || name + (size_t)more > left)
        return damaged(z, "a name");
    *m = (Member){.flags = number(r + 8, 2),
                  .method = number(r + 10, 2),
                  .crc = number(r + 16, 4),
                  .packed = number(r + 20, 4),
                  .bytes = number(r + 24, 4)};
    memcpy(m->name, r + ROW, name);
    m->name[name] = 0;
    *at += ROW + name + (size_t)more;
    if (m->packed == UINT32_MAX || m->bytes == UINT32_MAX || local == UINT32_MAX)
        return rt_fail(z->err, "%s: NYI: arrays of more than 4 GB in an .npz file", z->path);
    if (local > z->size || z->size - local < LOCAL || memcmp(z->data + local, "PK\3\4", 4) != 0)
        return damaged(z, "a member");
    size_t start =
        local + LOCAL + number(z->data + local + 26, 2) + number(z->data + local + 28, 2);
    if (start > z->size || z->size - start < m->packed)
        return damaged(z, "truncated");
    m->data = z->data + start;
    return true;
}

typedef struct Unpack { // a member being read
    const Zip *zip;
    const Member *m;
    z_stream z;
    size_t at;    // stored: bytes that were read
    uint32_t crc; // of those
} Unpack;

static bool read_bytes(void *ctx, void *to, size_t bytes, RtErr *err) {
    Unpack *u = ctx;
    uint8_t *out = to;
    (void)err;
    if (u->m->method == STORED) {
        if (bytes > u->m->packed - u->at)
            return damaged(u->zip, "truncated");
        memcpy(out, u->m->data + u->at, bytes);
        u->at += bytes;
    }
    for (size_t done = 0; u->m->method == DEFLATED && done < bytes;) {
        size_t left = bytes - done, piece = left < 1u << 30 ? left : 1u << 30;
        u->z.next_out = out + done;
        u->z.avail_out = (uInt)piece;
        int code = inflate(&u->z, Z_SYNC_FLUSH);
        size_t got = piece - u->z.avail_out;
        done += got;
        if ((code != Z_OK && code != Z_STREAM_END) || (got == 0 && done < bytes))
            return damaged(u->zip, "a compressed member");
    }
    u->crc = (uint32_t)crc32_z(u->crc, out, bytes);
    return true;
}

static bool read_member(const Zip *z, const Member *m, RtNpy *a) {
    char name[sizeof m->name + 512];
    Unpack u = {.zip = z, .m = m, .crc = (uint32_t)crc32_z(0, NULL, 0)};
    snprintf(name, sizeof name, "%.500s: %s", z->path, m->name);
    if (m->flags & 1)
        return rt_fail(z->err, "%s: encrypted", name);
    if (m->method != STORED && m->method != DEFLATED)
        return rt_fail(z->err, "%s: NYI: compression of kind %u", name, m->method);
    if (m->method == STORED ? m->bytes != m->packed : m->bytes / MOST_PER_BYTE > m->packed)
        return damaged(z, "a size");
    u.z.next_in = (Bytef *)m->data;
    u.z.avail_in = m->packed;
    if (m->method == DEFLATED && inflateInit2(&u.z, -MAX_WBITS) != Z_OK)
        return rt_fail(z->err, "%s: no memory", name);
    bool good = rt_npy_stream(name, m->bytes, read_bytes, &u, a, z->err);
    if (m->method == DEFLATED)
        inflateEnd(&u.z);
    return good && (u.crc == m->crc || damaged(z, "a checksum"));
}

static bool read_all(const Zip *z, RtNpz *out) {
    const uint8_t *end = find_end(z);
    if (!end)
        return damaged(z, "no directory at its end");
    int rows = (int)number(end + 10, 2);
    size_t at = number(end + 16, 4);
    if (rows > MOST)
        return rt_fail(z->err, "%s: more than %d arrays", z->path, MOST);
    out->name = calloc((size_t)rows + 1, sizeof *out->name);
    out->array = calloc((size_t)rows + 1, sizeof *out->array);
    if (!out->name || !out->array)
        return rt_fail(z->err, "%s: no memory", z->path);
    for (int i = 0; i < rows; i++) {
        Member m;
        out->n = i + 1; // of which what is there is freed
        if (!read_row(z, &at, &m) || !read_member(z, &m, &out->array[i]))
            return false;
        size_t n = strlen(m.name);
        m.name[n > 4 && strcmp(m.name + n - 4, ".npy") == 0 ? n - 4 : n] = 0;
        if (!(out->name[i] = strdup(m.name)))
            return rt_fail(z->err, "%s: no memory", z->path);
    }
    return true;
}

bool rt_npz_read(const char *path, RtNpz *out, RtErr *err) {
    *out = (RtNpz){0};
    Zip z = {.path = path, .err = err};
    uint8_t *data = rt_file_load(path, max_file, &z.size, err);
    z.data = data;
    bool good = data && read_all(&z, out);
    free(data);
    if (!good)
        rt_npz_free(out);
    return good;
}

void rt_npz_free(RtNpz *z) {
    for (int i = 0; i < z->n; i++) {
        free(z->name[i]);
        rt_npy_free(&z->array[i]);
    }
    free(z->name);
    free(z->array);
    *z = (RtNpz){0};
}

bool rt_npz_is_name(const char *path) {
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".npz") == 0;
}

// ---------------------------------------------------------------- writing

typedef struct Entry { // of the directory: what a member's own header says, and where that is
    uint32_t crc, bytes, at;
} Entry;

static void put(FILE *f, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++)
        putc((int)(v >> 8 * i & 255), f);
}

// What both headers have, from the version on: the time is the first there is, names are UTF-8.
static void put_header(FILE *f, const Entry *e, size_t name) {
    enum { VERSION = 20, UTF8 = 0x800, FIRST_DAY = 0x21 };
    put(f, VERSION, 2);
    put(f, UTF8, 2);
    put(f, STORED, 2);
    put(f, 0, 2);
    put(f, FIRST_DAY, 2);
    put(f, e->crc, 4);
    put(f, e->bytes, 4);
    put(f, e->bytes, 4);
    put(f, name + strlen(".npy"), 2);
    put(f, 0, 2); // of what may follow the name
}

// At `at`, which moves behind it.
static bool write_member(FILE *f, const char *name, const RtNpy *a, uint64_t *at, Entry *e,
                         RtErr *err) {
    char head[RT_NPY_HEAD];
    int64_t bytes = 0;
    size_t n = rt_npy_head(head, a->dtype, a->rank, a->dim, &bytes), letters = strlen(name);
    uint64_t end = *at + LOCAL + letters + strlen(".npy") + n + (uint64_t)bytes;
    if (!n || letters > UINT16_MAX - strlen(".npy"))
        return rt_fail(err, "'%.200s' cannot be written as .npy", name);
    if (bytes > UINT32_MAX || end > UINT32_MAX)
        return rt_fail(err, "NYI: more than 4 GB in an .npz file ('%s' would end there)", name);
    e->crc = (uint32_t)crc32_z(0, (const Bytef *)head, n);
    if (bytes)
        e->crc = (uint32_t)crc32_z(e->crc, a->data, (size_t)bytes);
    e->bytes = (uint32_t)(n + (size_t)bytes);
    e->at = (uint32_t)*at;
    fwrite("PK\3\4", 1, 4, f);
    put_header(f, e, letters);
    fprintf(f, "%s.npy", name);
    fwrite(head, 1, n, f);
    if (bytes)
        fwrite(a->data, 1, (size_t)bytes, f);
    *at = end;
    return true;
}

// Its bytes.
static uint64_t write_row(FILE *f, const char *name, const Entry *e) {
    enum { MADE_BY = 20 };
    fwrite("PK\1\2", 1, 4, f);
    put(f, MADE_BY, 2);
    put_header(f, e, strlen(name));
    put(f, 0, 2 + 2 + 2); // a comment, disks, attributes
    put(f, 0, 4);
    put(f, e->at, 4);
    fprintf(f, "%s.npy", name);
    return ROW + strlen(name) + strlen(".npy");
}

bool rt_npz_write(RtOutFile *out, const RtNpz *z, RtErr *err) {
    Entry *entry = calloc((size_t)z->n + 1, sizeof *entry);
    uint64_t at = 0, directory = 0;
    RtErr why = {.text = "no memory"};
    bool good = entry != NULL;
    for (int i = 0; good && i < z->n; i++)
        good = write_member(out->f, z->name[i], &z->array[i], &at, &entry[i], &why);
    for (int i = 0; good && i < z->n; i++)
        directory += write_row(out->f, z->name[i], &entry[i]);
    free(entry);
    if (!good)
        return rt_fail(err, "%s: %s", out->path, why.text);
    fwrite("PK\5\6", 1, 4, out->f);
    put(out->f, 0, 2 + 2); // disks
    put(out->f, (uint64_t)z->n, 2);
    put(out->f, (uint64_t)z->n, 2);
    put(out->f, directory, 4);
    put(out->f, at, 4);
    put(out->f, 0, 2);
    return true;
}
