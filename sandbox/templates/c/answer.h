#include <stddef.h>

/* Writes the answer to a request for that path; returns its HTTP status. */
int answer(const char *path, const char *version, const char *host, char *body, size_t size);
