// The common parts of pages; see html.h.
#include "runtime/file/html.h"

#include <string.h>

#include "runtime/core/text.h"

static const char style[] =
    ":root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f24;--dim:#656d76;"
    "--line:#e3e6ea;--hover:#eef3fb;--tick:#1b1f24;"
    "--c0:#2f6fde;--c1:#12958a;--c2:#d9822b;--c3:#8a5cd1;--c4:#c9445f;--c5:#6b8e23;--c6:#1893b8;"
    "--c7:#7a828c}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#0f1318;--card:#171c23;--ink:#e6e9ed;"
    "--dim:#98a1ac;--line:#2a313a;--hover:#202834;--tick:#fff;"
    "--c0:#5b93f5;--c1:#2fbfae;--c2:#f0a04b;--c3:#ab86ea;--c4:#ec6d87;--c5:#9bbf4d;--c6:#45b8dd;"
    "--c7:#9aa3ae}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--page);color:var(--ink);"
    "font:14px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"DejaVu Sans\",sans-serif}\n"
    "main{max-width:1300px;margin:0 auto;padding:28px 20px 40px}\n"
    "h1{font-size:26px;line-height:1.2;margin:0 0 4px;overflow-wrap:anywhere}\n"
    "h2{font-size:16px;margin:0 0 12px}\n"
    "p{margin:0 0 12px;color:var(--dim);max-width:90em}\n"
    "section{background:var(--card);border:1px solid var(--line);border-radius:10px;"
    "padding:18px 20px;margin-top:18px;overflow-x:auto}\n"
    "dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(136px,1fr));gap:12px;"
    "margin:18px 0 0}\n"
    "dl div{background:var(--card);border:1px solid var(--line);border-radius:10px;"
    "padding:11px 13px;white-space:nowrap}\n"
    "dt{color:var(--dim);font-size:12px}\n"
    "dd{margin:0;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}\n"
    "dd small{font-size:12px;font-weight:400;color:var(--dim)}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin-top:14px}\n"
    "th,td{padding:4px 12px;text-align:right;border-bottom:1px solid var(--line);"
    "white-space:nowrap}\n"
    "th{font-weight:500;color:var(--dim);font-size:12px}\n"
    "th:first-child,td:first-child{text-align:left;padding-left:0}\n"
    "td:last-child,th:last-child{text-align:left}\n"
    "tr:last-child td{border-bottom:0}\n"
    "table.sum tr:last-child td{font-weight:600}\n"
    "i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:8px}\n"
    "@media(max-width:600px){main{padding:18px 10px 28px}section{padding:14px 12px}"
    "h1{font-size:21px}th,td{padding:4px 7px}dl{grid-template-columns:1fr 1fr}}\n";

// Writes the first character; returns its bytes.
static int put_character(FILE *f, const unsigned char *s) {
    int n = rt_utf8_length(s);
    if (!rt_utf8_printable((const char *)s))
        fputs("\xef\xbf\xbd", f);
    else if (strchr("&<>\"'", *s))
        fprintf(f, "&#%d;", *s);
    else
        fwrite(s, 1, (size_t)n, f);
    return n ? n : 1;
}

void rt_html_text(FILE *f, const char *text) {
    for (const unsigned char *s = (const unsigned char *)(text ? text : ""); *s;)
        s += put_character(f, s);
}

static int count_characters(const char *text) {
    int k = 0;
    for (const unsigned char *s = (const unsigned char *)text; *s; k++)
        s += rt_utf8_length(s) ? rt_utf8_length(s) : 1;
    return k;
}

void rt_html_short(FILE *f, const char *text, int most) {
    const unsigned char *s = (const unsigned char *)(text ? text : "");
    int n = count_characters((const char *)s);
    for (int k = 0; k < (n > most ? most - 1 : n); k++)
        s += put_character(f, s);
    if (n > most)
        fputs("\xe2\x80\xa6", f);
}

void rt_html_begin(FILE *f, const char *name, const char *kind, const char *more) {
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>",
          f);
    rt_html_text(f, name);
    fprintf(f, ": %s</title>\n<style>\n", kind);
    fputs(style, f);
    fputs(more, f);
    fputs("</style>\n</head>\n<body>\n<main>\n", f);
}

void rt_html_end(FILE *f) {
    fputs("</main>\n</body>\n</html>\n", f);
}

void rt_html_tile(FILE *f, const char *name, double v, int decimals, const char *unit) {
    fprintf(f, "<div><dt>%s</dt><dd>%.*f <small>%s</small></dd></div>\n", name, decimals, v, unit);
}
