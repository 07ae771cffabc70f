// SPDX-License-Identifier: MIT
/* Plays the service manager: prints each datagram that comes to the unix socket PATH as one line, its lines joined
 * by a space. Says "ready" first. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char text[4096];
	ssize_t length;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	if (argc != 2 || strlen(argv[1]) >= sizeof(at.sun_path))
		return 2;
	memcpy(at.sun_path, argv[1], strlen(argv[1]) + 1);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at))) {
		perror("bind");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while ((length = recv(fd, text, sizeof(text) - 1, 0)) > 0) {
		text[length] = '\0';
		for (char *end = text; (end = strchr(end, '\n'));)
			*end = ' ';
		puts(text);
	}
	return 0;
}
