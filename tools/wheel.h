// The Python package of a compiled model. Private to tools/.
#ifndef TOOLS_WHEEL_H
#define TOOLS_WHEEL_H

#include <stddef.h>
#include <stdint.h>

#include "tools/tool.h"

void tool_sha256(const void *data, size_t n, uint8_t digest[32]);
// What is in a package: the script that it is, and the file beside it that was compiled.
typedef enum ToolWheelKind { TOOL_WHEEL_SESSION, TOOL_WHEEL_TUNER } ToolWheelKind;
// Writes the wheel around a shared library, or a fine-tune program, that was made under o->symbol.
// False after an error.
bool tool_write_wheel(Tool *t, const CgOptions *o, ToolWheelKind kind, const char *compiled,
                      RtOutFile *out);
// What pip wants the file of a model of this symbol to be called.
const char *tool_wheel_name(Tool *t, const CgOptions *o);
// Says on standard error where that, or what is imported, is not what was asked for: the model's
// name, the file. wheel NULL: it is no package.
void tool_print_wheel_name(const char *name, const char *wheel, const char *out);

#endif
