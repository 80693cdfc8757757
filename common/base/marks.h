/* What a prototype promises or asks beyond its types, so that the compiler holds its callers to it. */
#ifndef PROFEFE_MARKS_H
#define PROFEFE_MARKS_H

/* To ignore the result is a bug: a failure that nobody sees, an output that was not set, memory that nobody frees. */
#define MUST_CHECK __attribute__((warn_unused_result))

/* These parameters, counted from 1, are never NULL. Others may be where their comment says so. */
#define NONNULL(...) __attribute__((nonnull(__VA_ARGS__)))

/* The parameter `text` is a format of printf, and its values begin with the parameter `first`; 0 = they are a
 * va_list. */
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

/* The last value is NULL. */
#define NULL_ENDED __attribute__((sentinel))

#endif
