// What the terms of the libraries in a program ask for where the program alone is handed on.
#include "runtime/core/licences.h"

static const char disclaimer[] =
    "THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS \"AS IS\" AND ANY EXPRESS "
    "OR\n"
    "IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY "
    "AND\n"
    "FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDERS OR\n"
    "CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR\n"
    "CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR\n"
    "SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY\n"
    "THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR\n"
    "OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE\n"
    "POSSIBILITY OF SUCH DAMAGE.\n";

static const char bsd[] =
    "Redistribution and use in source and binary forms, with or without modification, are "
    "permitted\n"
    "provided that the following conditions are met:\n"
    "- Redistributions of source code must retain the above copyright notice, this list of\n"
    "  conditions and the following disclaimer.\n"
    "- Redistributions in binary form must reproduce the above copyright notice, this list of\n"
    "  conditions and the following disclaimer in the documentation and/or other materials "
    "provided\n"
    "  with the distribution.\n";

static const char expat[] =
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this "
    "software\n"
    "and associated documentation files (the \"Software\"), to deal in the Software without\n"
    "restriction, including without limitation the rights to use, copy, modify, merge, publish,\n"
    "distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom "
    "the\n"
    "Software is furnished to do so, subject to the following conditions:\n"
    "The above copyright notice and this permission notice shall be included in all copies or\n"
    "substantial portions of the Software.\n"
    "THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, "
    "INCLUDING\n"
    "BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND\n"
    "NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,\n"
    "DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING "
    "FROM,\n"
    "OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.\n";

// A small part of each library, which is in every program that has any of it. A weak reference asks
// for none: it is NULL in a program that is linked without.
#define PART(symbol) extern const char symbol[] __attribute__((weak))
PART(jpeg_natural_order);
PART(png_access_version_number);
PART(zlibVersion);
PART(WebPGetDecoderVersion);
PART(event_get_version_number);
PART(json_true);
PART(rt_safetensors_close); // xxHash is a header that this function's file includes

static const struct {
    const char *name, *part, *notice, *terms[2];
} licences[] = {
    {"hone's runtime",
     disclaimer,
     "Apache License, Version 2.0: http://www.apache.org/licenses/LICENSE-2.0. Distributed on an\n"
     "\"AS IS\" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.\n",
     {0}},
    {"libjpeg-turbo",
     jpeg_natural_order,
     "This software is based in part on the work of the Independent JPEG Group.\n"
     "Copyright (C) 1991-2020 Thomas G. Lane, Guido Vollbeding. Copyright (C) 1999-2006 MIYASAKA\n"
     "Masaru. Copyright (C) 2009-2023 D. R. Commander. Copyright (C) 2015, 2020 Google, Inc.\n"
     "What follows is the Modified (3-clause) BSD License, whose third clause reads:\n"
     "neither the name of the libjpeg-turbo Project nor the names of its contributors may be used "
     "to\n"
     "endorse or promote products derived from this software without specific prior written\n"
     "permission.\n",
     {bsd, disclaimer}},
    {"libpng",
     png_access_version_number,
     "PNG Reference Library License version 2. Copyright (C) 1995-2022 The PNG Reference Library\n"
     "Authors. Copyright (C) 2018-2022 Cosmin Truta. Copyright (C) 1998-2018 Glenn "
     "Randers-Pehrson.\n",
     {0}},
    {"zlib",
     zlibVersion,
     "zlib License. Copyright (C) 1995-2022 Jean-loup Gailly and Mark Adler.\n",
     {0}},
    {"libwebp",
     WebPGetDecoderVersion,
     "Copyright (c) 2010, Google Inc. What follows is the 3-clause BSD License, whose third "
     "clause\n"
     "reads: neither the name of Google nor the names of its contributors may be used to endorse "
     "or\n"
     "promote products derived from this software without specific prior written permission.\n",
     {bsd, disclaimer}},
    {"libevent (programs that classify)",
     event_get_version_number,
     "Copyright (c) 2000-2007 Niels Provos. Copyright (c) 2007-2012 Niels Provos and Nick "
     "Mathewson.\n"
     "What follows is the 3-clause BSD License, whose third clause reads: the name of the author "
     "may\n"
     "not be used to endorse or promote products derived from this software without specific "
     "prior\n"
     "written permission.\n",
     {bsd, disclaimer}},
    {"Jansson", json_true, "MIT License. Copyright (C) 2009-2014 Petri Lehtinen.\n", {expat, NULL}},
    {"xxHash (programs that fine-tune)",
     rt_safetensors_close,
     "BSD 2-Clause License. Copyright (C) 2012-2023 Yann Collet.\n",
     {bsd, disclaimer}},
};

void rt_licences(FILE *f, bool all) {
    for (size_t i = 0; i < sizeof licences / sizeof *licences; i++) {
        if (!all && !licences[i].part)
            continue;
        fprintf(f, "%s%s\n%s", i ? "\n" : "", licences[i].name, licences[i].notice);
        for (int k = 0; k < 2 && licences[i].terms[k]; k++)
            fputs(licences[i].terms[k], f);
    }
}
