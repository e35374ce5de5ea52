// AMX where the CPU has none: the tests' own. Emitted code holds AMX instructions; on a CPU without
// them, or without the system's leave to use tiles, each traps, and a handler does what Intel's
// manual says it does, on tiles of the thread that trapped, and goes on behind it. So the machine
// code of kernels runs on every CPU that has the rest of what it needs.
//
// Done are ldtilecfg, sttilecfg, tilerelease, tilezero, tileloadd, tileloaddt1, tilestored,
// tdpbssd, tdpbsud, tdpbusd, tdpbuud and tdpbf16ps. What a CPU would refuse (sizes that do not
// match, a tile that is not configured) prints one line and ends the process with 1; any other trap
// is a crash as ever.
#ifndef TESTS_CODEGEN_RIG_AMX_H
#define TESTS_CODEGEN_RIG_AMX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/core/abi.h"

enum { AMX_TILES = 8, AMX_ROWS = 16, AMX_ROW_BYTES = 64 };

typedef struct AmxTiles {
    _Alignas(64) uint8_t config[64]; // as ldtilecfg read it; palette 0: not configured
    uint8_t tile[AMX_TILES][AMX_ROWS][AMX_ROW_BYTES];
} AmxTiles;

// One instruction: its encoding from `code` on, the general registers by their numbers in
// encodings. Returns how many bytes it is long; 0: not one of AMX; < 0: one that a CPU refuses, and
// *why.
int amx_execute(AmxTiles *t, const uint8_t *code, const uint64_t reg[16], const char **why);

bool amx_is_native(void); // this CPU has it all, and the system gives leave
// From here on AMX instructions work in this process: natively, or by the handler, whose tiles are
// the calling thread's.
void amx_enable(void);
// Then a program need not ask for AMX: what it needs of the CPU without that, 0 ended, to
// needs[64].
void amx_enabled_needs(HoneModelDesc *desc, uint32_t *needs);

#endif
