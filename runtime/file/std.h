// Standard input, output and error of a program. Private header, of the compiler too.
#ifndef RUNTIME_FILE_STD_H
#define RUNTIME_FILE_STD_H

// First of all in main(): where one of the three is closed, its number is taken, so that no file
// opened later gets it and what is printed there; using it stays an error. A file past the limit
// that the shell set is an error of its writing, not the end of the process.
void rt_std_open(void);
// Last of all: `code`, or 1 after a line on standard error where something that was printed did not
// arrive. Where its reader went away, the process ends by SIGPIPE as ever.
int rt_std_close(int code);

#endif
