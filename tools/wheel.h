// The Python package of a compiled model. Private to tools/.
#ifndef TOOLS_WHEEL_H
#define TOOLS_WHEEL_H

#include <stddef.h>
#include <stdint.h>

#include "tools/tool.h"

void tool_sha256(const void *data, size_t n, uint8_t digest[32]);
// Writes the wheel around a shared library that was made under o->symbol. False after an error.
bool tool_write_wheel(Tool *t, const CgOptions *o, const char *library, RtOutFile *out);
// What pip wants the file of a model of this symbol to be called.
const char *tool_wheel_name(Tool *t, const CgOptions *o);

#endif
