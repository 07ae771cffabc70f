// SPDX-License-Identifier: MIT
/*
 * inject: sends crafted packets on a device.
 *
 *   inject [DEVICE] < FRAMES
 *
 * Each line of the input is one packet in hex, from its link-layer header (or from its IP header, where the device has
 * none). A line `LINEAR HEX` sends a packet of more than a page of which only the first LINEAR bytes lie in the socket
 * buffer's linear part, as some drivers deliver them (packet(7), PACKET_VNET_HDR). A line `> DEVICE MARK` sends what
 * follows by another device, with that mark (SO_MARK; a veth keeps it within its network namespace). Prints how many
 * were sent; ends with status 1 at the first that the kernel refuses.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LARGEST 65536

static struct {
	struct virtio_net_hdr header;
	unsigned char data[LARGEST];
} __attribute__((packed)) frame;

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads hex up to the line's end; its length in bytes, or -1 for what is no hex, or is too long. */
static int read_hex(const char *text)
{
	int length = 0;

	for (; *text && *text != '\n'; text += 2, length++) {
		int high = digit(text[0]), low = high < 0 ? -1 : digit(text[1]);

		if (low < 0 || length == LARGEST)
			return -1;
		frame.data[length] = (unsigned char)(high << 4 | low);
	}
	return length;
}

/* Sends by that device from now on; -1 and errno. */
static int send_by(int fd, const char *device, unsigned int mark)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET };

	address.sll_ifindex = (int)if_nametoindex(device);
	if (!address.sll_ifindex || setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		return -1;
	return bind(fd, (struct sockaddr *)&address, sizeof(address));
}

int main(int argc, char **argv)
{
	char *line = NULL, *space, device[IF_NAMESIZE];
	size_t room = 0;
	int length, one = 1, sent = 0, fd;
	unsigned int mark;

	if (argc > 2) {
		fprintf(stderr, "usage: inject [DEVICE] < FRAMES\n");
		return 2;
	}
	fd = socket(AF_PACKET, SOCK_RAW, 0); /* protocol 0: receives nothing */
	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one))) {
		perror("socket");
		return 1;
	}
	if (argc == 2 && send_by(fd, argv[1], 0)) {
		perror(argv[1]);
		return 1;
	}
	while (getline(&line, &room, stdin) > 0) {
		if (sscanf(line, "> %15s %u", device, &mark) == 2) {
			if (send_by(fd, device, mark) == 0)
				continue;
			perror(device);
			return 1;
		}
		space = strchr(line, ' ');
		frame.header.hdr_len = space ? (unsigned short)atoi(line) : 0;
		length = read_hex(space ? space + 1 : line);
		if (length < 0) {
			fprintf(stderr, "line %d is no frame\n", sent + 1);
			return 1;
		}
		if (write(fd, &frame, sizeof(frame.header) + (size_t)length) < 0) {
			fprintf(stderr, "line %d: ", sent + 1);
			perror("write");
			return 1;
		}
		sent++;
	}
	printf("%d\n", sent);
	free(line);
	close(fd);
	return 0;
}
