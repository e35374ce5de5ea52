// A wheel: a zip file of the package's files and of three that installers read (METADATA, WHEEL,
// RECORD; the binary distribution format of the Python packaging guide). Files are stored, not
// compressed: a library's weights would gain nothing. The same input gives the same bytes.
#define _GNU_SOURCE
#include "tools/wheel.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "runtime/file/json.h"
#include "runtime/image/image.h"

enum { MAX_FILES = 8, DATE = 1 << 5 | 1, STORED_SINCE = 20, TEXT = 0100644 }; // 1980-01-01

typedef struct Kind {
    const char *script, *compiled; // the package itself, in LIBDIR; what lies beside it
    uint32_t mode;                 // of that
    const char *needs;             // lines of METADATA
} Kind;

static const Kind kinds[] = {
    [TOOL_WHEEL_SESSION] = {"session.py", "model.so", 0100644,
                            "Requires-Dist: numpy\nProvides-Extra: images\n"
                            "Requires-Dist: pillow ; extra == 'images'\n"},
    [TOOL_WHEEL_TUNER] = {"tuner.py", "program", 0100755, ""},
};

typedef struct Entry {
    const char *name;
    uint32_t crc, bytes, at, mode;
} Entry;

typedef struct Wheel {
    Tool *t;
    const Kind *kind;
    const CgOptions *o;
    FILE *f;
    uint64_t at; // bytes written
    int n;
    Entry entry[MAX_FILES];
    FILE *record;               // the list of files and hashes
    const char *package, *info; // folders within
} Wheel;

// ---------------------------------------------------------------- zip

static void put(Wheel *w, const void *data, size_t n) {
    fwrite(data, 1, n, w->f);
    w->at += n;
}

static void put_numbers(Wheel *w, const char *widths, const uint32_t *v) { // little-endian
    for (; *widths; widths++, v++)
        for (int i = 0; i < *widths - '0'; i++)
            put(w, &(uint8_t){(uint8_t)(*v >> 8 * i)}, 1);
}

static void put_file(Wheel *w, const char *name, uint32_t mode, const void *data, size_t n) {
    Entry *e = &w->entry[w->n++];
    *e = (Entry){name, (uint32_t)crc32_z(0, data, n), (uint32_t)n, (uint32_t)w->at, mode};
    uint32_t head[] = {0x04034b50, STORED_SINCE,           0, 0, 0, DATE, e->crc, e->bytes,
                       e->bytes,   (uint32_t)strlen(name), 0};
    put_numbers(w, "42222244422", head);
    put(w, name, strlen(name));
    put(w, data, n);
}

static void put_directory(Wheel *w) {
    uint32_t start = (uint32_t)w->at;
    for (int i = 0; i < w->n; i++) {
        const Entry *e = &w->entry[i];
        uint32_t row[] = {0x02014b50,
                          3 << 8 | STORED_SINCE,
                          STORED_SINCE,
                          0,
                          0,
                          0,
                          DATE,
                          e->crc,
                          e->bytes,
                          e->bytes,
                          (uint32_t)strlen(e->name),
                          0,
                          0,
                          0,
                          0,
                          e->mode << 16,
                          e->at};
        put_numbers(w, "42222224442222244", row);
        put(w, e->name, strlen(e->name));
    }
    uint32_t n = (uint32_t)w->n;
    uint32_t end[] = {0x06054b50, 0, 0, n, n, (uint32_t)w->at - start, start, 0};
    put_numbers(w, "42222442", end);
}

// ---------------------------------------------------------------- what is inside

static void print_base64(FILE *f, const uint8_t *p, size_t n) { // for URLs, without padding
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t bit = 0; bit < 8 * n; bit += 6) {
        uint32_t pair = (uint32_t)p[bit / 8] << 8 | (bit / 8 + 1 < n ? p[bit / 8 + 1] : 0);
        fputc(digits[pair >> (10 - bit % 8) & 63], f);
    }
}

static void add_file(Wheel *w, const char *folder, const char *name, uint32_t mode,
                     const void *data, size_t n) {
    uint8_t digest[32];
    const char *path = ir_sprintf(w->t->arena, "%s/%s", folder, name);
    tool_sha256(data, n, digest);
    fprintf(w->record, "%s,sha256=", path);
    print_base64(w->record, digest, sizeof digest);
    fprintf(w->record, ",%zu\n", n);
    put_file(w, path, mode, data, n);
}

static void print_preprocess(RtJson *j, const HonePreprocess *p) {
    if (!rt_takes_pictures(p)) {
        rt_json_text(j, "preprocess", NULL);
        return;
    }
    rt_json_begin(j, "preprocess", '{');
    rt_json_int(j, "channels", p->channels);
    rt_json_bool(j, "bgr", p->bgr != 0);
    rt_json_bool(j, "nhwc", p->nhwc != 0);
    rt_json_int(j, "height", p->height);
    rt_json_int(j, "width", p->width);
    rt_json_int(j, "resize", p->resize);
    rt_json_text(j, "interpolation", rt_resize_name(p->interpolation));
    rt_json_bool(j, "as_stored", p->as_stored != 0);
    rt_json_bool(j, "letterbox", p->letterbox != 0);
    rt_json_number(j, "scale", (double)p->scale, 9);
    const float *const vectors[] = {p->mean, p->std};
    for (int k = 0; k < 2; k++) {
        rt_json_begin(j, k ? "std" : "mean", '[');
        for (int i = 0; i < p->channels && i < 4; i++)
            rt_json_number(j, NULL, (double)vectors[k][i], 9);
        rt_json_end(j, ']');
    }
    rt_json_end(j, '}');
}

static void print_model(FILE *f, const CgOptions *o, const char *symbol) {
    static const char *const scores[HONE_SCORES_COUNT] = {
        [HONE_SCORES_LOGITS] = "logits",   [HONE_SCORES_PROBABILITIES] = "probabilities",
        [HONE_SCORES_SIGMOID] = "sigmoid", [HONE_SCORES_LOG_PROBABILITIES] = "log-probabilities",
        [HONE_SCORES_OTHER] = "other",
    };
    RtJson j = {.f = f};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "symbol", symbol);
    rt_json_text(&j, "producer", TOOL_PRODUCER);
    rt_json_int(&j, "classifier", o->classifier);
    rt_json_text(&j, "scores", scores[o->scores]);
    print_preprocess(&j, &o->preprocess);
    if (!o->labels)
        rt_json_text(&j, "labels", NULL);
    else
        rt_json_begin(&j, "labels", '[');
    for (int i = 0; o->labels && i < o->n_labels; i++)
        rt_json_text(&j, NULL, o->labels[i]);
    if (o->labels)
        rt_json_end(&j, ']');
    rt_json_end(&j, '}');
}

// Names that no package of ours can have: `import` takes no keyword, finds the standard library's
// module first (those of Python 3.8 to 3.14), and what a session itself imports would be gone.
static const char taken[] =
    "False None True and as assert async await break class continue def del elif else "
    "except finally for from global if import in is lambda nonlocal not or pass raise "
    "return try while with yield "
    "abc aifc annotationlib antigravity argparse array ast asynchat asyncio asyncore "
    "atexit audioop base64 bdb binascii binhex bisect builtins bz2 cProfile calendar cgi "
    "cgitb chunk cmath cmd code codecs codeop collections colorsys compileall compression "
    "concurrent configparser contextlib contextvars copy copyreg crypt csv ctypes curses "
    "dataclasses datetime dbm decimal difflib dis distutils doctest dummy_threading email "
    "encodings ensurepip enum errno faulthandler fcntl filecmp fileinput fnmatch formatter "
    "fractions ftplib functools gc genericpath getopt getpass gettext glob graphlib grp "
    "gzip hashlib heapq hmac html http idlelib imaplib imghdr imp importlib inspect io "
    "ipaddress itertools json keyword lib2to3 linecache locale logging lzma mailbox "
    "mailcap marshal math mimetypes mmap modulefinder msilib msvcrt multiprocessing netrc "
    "nis nntplib nt ntpath nturl2path numbers opcode operator optparse os ossaudiodev "
    "parser pathlib pdb pickle pickletools pipes pkgutil platform plistlib poplib posix "
    "posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat "
    "queue quopri random re readline reprlib resource rlcompleter runpy sched secrets "
    "select selectors shelve shlex shutil signal site smtpd smtplib sndhdr socket "
    "socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl stat statistics "
    "string stringprep struct subprocess sunau symbol symtable sys sysconfig syslog "
    "tabnanny tarfile telnetlib tempfile termios test textwrap this threading time timeit "
    "tkinter token tokenize tomllib trace traceback tracemalloc tty turtle turtledemo "
    "types typing unicodedata unittest urllib uu uuid venv warnings wave weakref "
    "webbrowser winreg winsound wsgiref xdrlib xml xmlrpc zipapp zipfile zipimport zlib "
    "zoneinfo "
    "numpy PIL";

static bool is_taken(const char *name) {
    size_t n = strlen(name);
    for (const char *at = taken; (at = strstr(at, name)); at += n)
        if ((at == taken || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return true;
    return false;
}

// An importable name: the symbol without hone_, where a letter follows and nothing else has it.
static const char *package_name(const CgOptions *o) {
    const char *name = strncmp(o->symbol, "hone_", 5) == 0 ? o->symbol + 5 : o->symbol;
    return isalpha((unsigned char)*name) && !is_taken(name) ? name : o->symbol;
}

static const char *platform(const CgOptions *o) {
    return strncmp(o->target->triple, "aarch64", 7) == 0 ? "linux_aarch64" : "linux_x86_64";
}

const char *tool_wheel_name(Tool *t, const CgOptions *o) {
    return ir_sprintf(t->arena, "%s-1-py3-none-%s.whl", package_name(o), platform(o));
}

void tool_print_wheel_name(const char *name, const char *wheel, const char *out) {
    const char *file = strrchr(out, '/') ? strrchr(out, '/') + 1 : out;
    if (!wheel)
        return;
    int n = (int)strcspn(wheel, "-");
    if (strlen(name) != (size_t)n || strncmp(wheel, name, (size_t)n) != 0)
        fprintf(stderr, "'%s' is no name for a package: import %.*s\n", RT_SHOW(name), n, wheel);
    if (strcmp(file, wheel) != 0)
        fprintf(stderr, "%s: pip wants it to be called %s\n", RT_SHOW(out), wheel);
}

static void close_text(Wheel *w, FILE *f) { // in memory
    if (fclose(f) != 0)
        ir_fatal(&w->t->diag, IR_NOWHERE, "no memory for the package");
}

static void add_texts(Wheel *w) {
    IrArena *a = w->t->arena;
    const char *package = package_name(w->o);
    const char *session = tool_lib_text(w->t, w->kind->script);
    char *json = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&json, &n);
    if (!f)
        ir_fatal(&w->t->diag, IR_NOWHERE, "no memory for the package");
    print_model(f, w->o, w->o->symbol);
    close_text(w, f);
    add_file(w, w->package, "__init__.py", TEXT, session, strlen(session));
    add_file(w, w->package, "model.json", TEXT, json, n);
    free(json);
    const char *metadata = ir_sprintf(
        a,
        "Metadata-Version: 2.1\nName: %s\nVersion: 1\nSummary: a network, compiled by %s\n"
        "Requires-Python: >=3.8\n%s",
        package, TOOL_PRODUCER, w->kind->needs);
    const char *wheel = ir_sprintf(
        a, "Wheel-Version: 1.0\nGenerator: %s\nRoot-Is-Purelib: false\nTag: py3-none-%s\n",
        TOOL_PRODUCER, platform(w->o));
    add_file(w, w->info, "METADATA", TEXT, metadata, strlen(metadata));
    add_file(w, w->info, "WHEEL", TEXT, wheel, strlen(wheel));
}

static void write_all(Wheel *w, const char *compiled, size_t n) {
    char *text = NULL;
    size_t bytes = 0;
    w->record = open_memstream(&text, &bytes);
    if (!w->record)
        ir_fatal(&w->t->diag, IR_NOWHERE, "no memory for the package");
    add_file(w, w->package, w->kind->compiled, w->kind->mode, compiled, n);
    add_texts(w);
    const char *path = ir_sprintf(w->t->arena, "%s/RECORD", w->info);
    fprintf(w->record, "%s,,\n", path);
    close_text(w, w->record);
    put_file(w, path, TEXT, text, bytes);
    put_directory(w);
    free(text);
}

typedef struct Job {
    Wheel w;
    const char *compiled;
    size_t bytes;
} Job;

static void print_wheel(FILE *f, void *ctx) {
    Job *job = ctx;
    job->w.f = f;
    write_all(&job->w, job->compiled, job->bytes);
}

bool tool_write_wheel(Tool *t, const CgOptions *o, ToolWheelKind kind, const char *compiled,
                      RtOutFile *out) {
    struct stat st;
    int fd = open(compiled, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && fstat(fd, &st) == 0;
    void *map = good ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (map == MAP_FAILED)
        ir_error(&t->diag, IR_NOWHERE, "cannot read %s: %s", compiled, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (map == MAP_FAILED)
        return false;
    const char *package = package_name(o);
    Job job = {.w = {.t = t,
                     .kind = &kinds[kind],
                     .o = o,
                     .package = package,
                     .info = ir_sprintf(t->arena, "%s-1.dist-info", package)},
               .compiled = map,
               .bytes = (size_t)st.st_size};
    good = st.st_size < UINT32_MAX - (1 << 20);
    if (!good)
        ir_error(&t->diag, IR_NOWHERE, "NYI: a package of more than 4 GB");
    good = good && tool_print_out(t, out, print_wheel, &job);
    munmap(map, (size_t)st.st_size);
    return good;
}
