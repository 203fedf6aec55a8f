#include "answer.h"

#include <stdio.h>
#include <string.h>

int answer(const char *path, const char *version, const char *host, char *body, size_t size)
{
    if (strcmp(path, "/") == 0) {
        snprintf(body, size, "{\"application\": \"@NAME@\", \"version\": \"%s\", \"host\": \"%s\"}",
                 version, host);
        return 200;
    }
    if (strcmp(path, "/health") == 0) {
        snprintf(body, size, "{\"version\": \"%s\"}", version);
        return 200;
    }
    snprintf(body, size, "{\"error\": \"no such page\"}");
    return 404;
}
