// The licences of what is linked statically into hone and into the programs that it makes.
#ifndef RUNTIME_CORE_LICENCES_H
#define RUNTIME_CORE_LICENCES_H

#include <stdbool.h>
#include <stdio.h>

// Prints them, whole where their terms ask for it: of all, or of what is inside of this program.
void rt_licences(FILE *f, bool all);

#endif
