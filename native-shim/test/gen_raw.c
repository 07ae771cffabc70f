// SPDX-License-Identifier: MIT
/* gen_raw ADDRESS PROTOCOL COUNT: sends IPv4 packets of any protocol, 16 zero bytes each; for the kernel tests. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	char payload[16] = { 0 };
	int fd;

	if (argc != 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
		return 2;
	fd = socket(AF_INET, SOCK_RAW, atoi(argv[2]));
	if (fd < 0) {
		perror("socket");
		return 1;
	}
	for (int i = atoi(argv[3]); i > 0; i--) {
		if (sendto(fd, payload, sizeof(payload), 0, (struct sockaddr *)&to, sizeof(to)) < 0) {
			perror("sendto");
			return 1;
		}
	}
	return 0;
}
