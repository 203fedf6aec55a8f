#include "answer.h"

#include <assert.h>
#include <string.h>

int main(void)
{
    char body[1024];

    assert(answer("/", "1.2.3", "here", body, sizeof body) == 200);
    assert(strstr(body, "\"version\": \"1.2.3\""));
    assert(answer("/health", "1.2.3", "here", body, sizeof body) == 200);
    assert(strcmp(body, "{\"version\": \"1.2.3\"}") == 0);
    assert(answer("/nowhere", "1.2.3", "here", body, sizeof body) == 404);
    return 0;
}
