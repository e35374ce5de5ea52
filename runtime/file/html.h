// Pages that people look at: what the profile and the training report share. One file each, no
// scripts, no references. Private header.
#ifndef RUNTIME_FILE_HTML_H
#define RUNTIME_FILE_HTML_H

#include "runtime/core/rt.h"

// HTML's special characters escaped; control characters and what is no UTF-8 become U+FFFD. NULL is
// no text.
void rt_html_text(FILE *f, const char *text);
// The same of at most `most` characters, the last of them an ellipsis where there are more.
void rt_html_short(FILE *f, const char *text, int most);
// Up to <main>: title "NAME: KIND", the common style and `style` behind it.
void rt_html_begin(FILE *f, const char *name, const char *kind, const char *style);
void rt_html_end(FILE *f);
// One figure of a <dl>.
void rt_html_tile(FILE *f, const char *name, double v, int decimals, const char *unit);

#endif
