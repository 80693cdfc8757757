/* Standard input, output and error, for main. */
#ifndef PROFEFE_STD_FDS_H
#define PROFEFE_STD_FDS_H

/* Fills those that the parent left closed, before anything else is opened: a socket or a file of ours must not get the
 * number to which log lines go. Reading and writing a filled one fails with EBADF, as before. */
void std_fds_fill(void);

/* Writes text to stdout, through to the end: 0, or -Exxx, which stderr is told with the program's name. */
int std_fds_print(const char *program, const char *text);

#endif
