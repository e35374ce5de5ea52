// What the files that move data share. Private to codegen/.
#ifndef CODEGEN_MOVE_MOVE_H
#define CODEGEN_MOVE_MOVE_H

#include "codegen/build/nd.h"

// False, after reporting NYI, when an operand or the result is blocked.
bool cg_need_plain(CgProgram *p, const IrNode *n);
// Dims from axis `from` on do not depend on N.
bool cg_static_dims(const CgTensor *t, int from);
// Blocked, rank 4 (channels.c).
void cg_lower_channel_slice(CgProgram *p, const IrNode *n);
void cg_lower_channel_concat(CgProgram *p, const IrNode *n);

#endif
