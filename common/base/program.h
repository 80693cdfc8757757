/* Which program the library works for, where it has to say so: each program has one, and hands it down. */
#ifndef PROFEFE_PROGRAM_H
#define PROFEFE_PROGRAM_H

struct program {
    const char *name;       /* "profefe-agent" */
    const char *noun;       /* one of several that share a directory, in a sentence: "agent" */
    const char *user_agent; /* "profefe-agent/0.1.0" */
};

#endif
