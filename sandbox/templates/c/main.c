/* The web service of @NAME@: `@NAME@ PORT VERSION`. Each request has a process of its own. */
#include "answer.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void serve(int client, const char *version)
{
    char request[4096], path[256] = "", host[256] = "", body[1024];
    size_t length = 0;

    alarm(10); /* for all of a request */
    while (length < sizeof request - 1) {
        ssize_t got = read(client, request + length, sizeof request - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
        request[length] = '\0';
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    request[length] = '\0';
    gethostname(host, sizeof host - 1);
    sscanf(request, "GET %255s", path);
    int status = answer(path, version, host, body, sizeof body);
    dprintf(client,
            "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
            "Connection: close\r\n\r\n%s",
            status, status == 200 ? "OK" : "Not Found", strlen(body), body);
    shutdown(client, SHUT_WR);
}

int main(int count, char **arguments)
{
    if (count != 3) {
        fprintf(stderr, "usage: %s PORT VERSION\n", arguments[0]);
        return 2;
    }
    int yes = 1, server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)atoi(arguments[1]))};
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 128)) {
        perror("cannot listen");
        return 1;
    }
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int client = accept(server, NULL, NULL);
        if (client >= 0 && fork() == 0) {
            serve(client, arguments[2]);
            return 0;
        }
        close(client);
    }
}
