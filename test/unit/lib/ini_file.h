/* An INI file for a test program's settings: make_ini and remove_ini are its group's setup and teardown. */
#ifndef PROFEFE_TEST_INI_FILE_H
#define PROFEFE_TEST_INI_FILE_H

extern char ini_path[]; /* valid from make_ini on */

int make_ini(void **state);
int remove_ini(void **state);
/* Makes the text its whole content. */
void write_ini(const char *text);

#endif
