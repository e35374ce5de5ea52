// The head of a request, read strictly: RFC 9112, less whatever proxies and servers are known to
// disagree on, which is how requests get smuggled.
#include "runtime/serve/http.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool refuse(RtHttpHead *h, int status, const char *reason) {
    h->status = status;
    h->reason = reason;
    return false;
}

int64_t rt_http_head_size(const char *text, size_t n) {
    size_t line = 0; // where the current one starts
    for (size_t i = 0; i < n; i++) {
        if (text[i] != '\n')
            continue;
        if (i == 0 || text[i - 1] != '\r')
            return -1;
        if (i - line == 1)
            return (int64_t)i + 1;
        line = i + 1;
    }
    return 0;
}

static bool is_token(const char *s) {
    static const char more[] = "!#$%&'*+-.^_`|~";
    const char *begin = s;
    while (isalnum((unsigned char)*s) || (*s && strchr(more, *s)))
        s++;
    return *s == 0 && s > begin;
}

// METHOD SP /TARGET SP HTTP/1.x
static bool read_request_line(char *line, RtHttpHead *h) {
    char *target = strchr(line, ' '), *version = target ? strchr(target + 1, ' ') : NULL;
    if (!version)
        return refuse(h, 400, "the request line is malformed");
    *target++ = *version++ = 0;
    h->method = line;
    h->path = target;
    h->query = "";
    if (!is_token(h->method) || *target != '/')
        return refuse(h, 400, "the request line is malformed");
    for (const char *s = target; *s; s++)
        if (*s <= ' ' || *s > '~')
            return refuse(h, 400, "the target has characters that must be escaped");
    char *query = strchr(target, '?');
    if (query) {
        *query = 0;
        h->query = query + 1;
    }
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        return refuse(h, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    h->minor = version[7] - '0';
    return true;
}

static bool read_field(char *line, RtHttpHead *h) {
    char *colon = strchr(line, ':');
    if (!colon)
        return refuse(h, 400, "a header line has no colon");
    *colon = 0;
    if (!is_token(line))
        return refuse(h, 400, "a header's name is malformed");
    if (h->n == RT_HTTP_MAX_FIELDS)
        return refuse(h, 431, "too many headers");
    char *value = colon + 1, *end = value + strlen(value);
    while (*value == ' ' || *value == '\t')
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *end = 0;
    h->field[h->n++] = (RtHttpField){line, value};
    return true;
}

// The value of a header that may be there once; *twice: it is there more often.
static const char *field_once(const RtHttpHead *h, const char *name, bool *twice) {
    const char *value = NULL;
    *twice = false;
    for (int i = 0; i < h->n; i++)
        if (strcasecmp(h->field[i].name, name) == 0) {
            *twice = value != NULL;
            if (*twice)
                return value;
            value = h->field[i].value;
        }
    return value;
}

const char *rt_http_field(const RtHttpHead *h, const char *name) {
    bool twice;
    return field_once(h, name, &twice);
}

// One of the words of a header that lists them
static bool lists(const char *value, const char *word) {
    size_t n = strlen(word);
    for (const char *s = value; s && *s; s += strcspn(s, ","), s += *s == ',') {
        s += strspn(s, " \t");
        if (strncasecmp(s, word, n) == 0 && strcspn(s + n, ",") == strspn(s + n, " \t"))
            return true;
    }
    return false;
}

static bool read_length(const char *text, int64_t *length) {
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 18 || text[n])
        return false;
    *length = 0;
    for (; *text; text++)
        *length = *length * 10 + (*text - '0');
    return true;
}

// How long the body is: of the two headers that say so at most one, once.
static bool read_framing(RtHttpHead *h) {
    bool twice;
    const char *coding = field_once(h, "Transfer-Encoding", &twice);
    if (twice)
        return refuse(h, 400, "Transfer-Encoding is there twice");
    const char *length = field_once(h, "Content-Length", &twice);
    if (twice)
        return refuse(h, 400, "Content-Length is there twice");
    if (coding && length)
        return refuse(h, 400, "Content-Length and Transfer-Encoding exclude each other");
    if (coding && h->minor == 0)
        return refuse(h, 400, "HTTP/1.0 has no Transfer-Encoding");
    if (coding && strcasecmp(coding, "chunked") != 0)
        return refuse(h, 501, "the only Transfer-Encoding is chunked");
    h->chunked = coding != NULL;
    if (length && !read_length(length, &h->length))
        return refuse(h, 400, "Content-Length is no number");
    if (rt_http_field(h, "Trailer"))
        return refuse(h, 400, "trailers are not read");
    return true;
}

static bool read_meaning(RtHttpHead *h) {
    bool twice;
    const char *host = field_once(h, "Host", &twice);
    if (twice || (!host && h->minor > 0))
        return refuse(h, 400, twice ? "Host is there twice" : "there is no Host");
    if (!read_framing(h))
        return false;
    const char *connection = rt_http_field(h, "Connection");
    h->close = lists(connection, "close") || (h->minor == 0 && !lists(connection, "keep-alive"));
    const char *expect = rt_http_field(h, "Expect");
    if (expect && strcasecmp(expect, "100-continue") != 0)
        return refuse(h, 417, "the only expectation is 100-continue");
    h->expects = expect != NULL && h->minor > 0;
    const char *encoding = field_once(h, "Content-Encoding", &twice);
    bool plain = !encoding || strcasecmp(encoding, "identity") == 0;
    h->packed =
        encoding && (strcasecmp(encoding, "gzip") == 0 || strcasecmp(encoding, "deflate") == 0);
    if (twice || (!plain && !h->packed))
        return refuse(h, 415, "a Content-Encoding is gzip or deflate");
    return true;
}

static bool is_clean(const char *text, size_t n) { // bytes that a head may have
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        bool end = c == '\r' ? text[i + 1] == '\n' : c == '\n' && i && text[i - 1] == '\r';
        if (!end && (c == 0x7f || (c < ' ' && c != '\t')))
            return false;
    }
    return true;
}

bool rt_http_read(char *text, size_t n, RtHttpHead *h) {
    *h = (RtHttpHead){.method = "", .path = "", .query = ""};
    if (!is_clean(text, n))
        return refuse(h, 400, "the head has control characters");
    char *end = text + n - 2; // the empty line
    for (char *line = text; line < end;) {
        char *stop = strchr(line, '\r');
        *stop = 0;
        if (!(line == text ? read_request_line : read_field)(line, h))
            return false;
        line = stop + 2;
    }
    if (!h->method[0])
        return refuse(h, 400, "there is no request line");
    return read_meaning(h);
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10 : -1;
}

int64_t rt_http_chunk_size(const char *line) {
    int64_t size = 0;
    size_t n = strlen(line);
    if (n == 0 || n > 8)
        return -1;
    for (; *line; line++) {
        if (hex_digit(*line) < 0)
            return -1;
        size = size * 16 + hex_digit(*line);
    }
    return size;
}

bool rt_http_unescape(char *text) {
    char *to = text;
    for (const char *s = text; *s; s++) {
        if (*s != '%') {
            *to++ = *s;
            continue;
        }
        int high = hex_digit(s[1]), low = high < 0 ? -1 : hex_digit(s[2]);
        if (low < 0 || high * 16 + low == 0)
            return false;
        *to++ = (char)(high * 16 + low);
        s += 2;
    }
    *to = 0;
    return true;
}

const char *rt_http_reason(int status) {
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Error";
}
