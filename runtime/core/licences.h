// The licences of what is linked statically into hone and into the programs that it makes.
#ifndef RUNTIME_CORE_LICENCES_H
#define RUNTIME_CORE_LICENCES_H

#include <stdio.h>

void rt_licences(FILE *f); // prints them, whole where their terms ask for it

#endif
