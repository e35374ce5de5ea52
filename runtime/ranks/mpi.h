// Two ranks' exchange, under what ranks.h offers. Private to this room.
#ifndef RUNTIME_RANKS_MPI_H
#define RUNTIME_RANKS_MPI_H

#include "runtime/ranks/ranks.h"

// Sends and receives at once; either may be of 0 bytes. `other` calls it with the numbers swapped.
bool rt_mpi_swap(RtRanks *r, int other, const void *send, size_t send_bytes, void *receive,
                 size_t receive_bytes, RtErr *err);

#endif
