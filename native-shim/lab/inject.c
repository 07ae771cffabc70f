// SPDX-License-Identifier: MIT
/*
 * inject: sends crafted packets on a device.
 *
 *   inject DEVICE [MARK] < FRAMES
 *
 * Each line of the input is one packet in hex, from its link-layer header (or from its IP header, where the device has
 * none). A line `LINEAR HEX` sends a packet of more than a page of which only the first LINEAR bytes lie in the socket
 * buffer's linear part, as some drivers deliver them (packet(7), PACKET_VNET_HDR). MARK is the packets' mark (SO_MARK),
 * which a veth keeps within one network namespace. Prints how many were sent; ends with status 1 at the first that the
 * kernel refuses.
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

int main(int argc, char **argv)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET };
	char *line = NULL, *space;
	size_t room = 0;
	int length, one = 1, sent = 0, fd;
	unsigned int mark;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: inject DEVICE [MARK] < FRAMES\n");
		return 2;
	}
	mark = argc == 3 ? (unsigned int)strtoul(argv[2], NULL, 0) : 0;
	address.sll_ifindex = (int)if_nametoindex(argv[1]);
	fd = socket(AF_PACKET, SOCK_RAW, 0); /* protocol 0: receives nothing */
	if (!address.sll_ifindex || fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark))) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		perror(argv[1]);
		return 1;
	}
	while (getline(&line, &room, stdin) > 0) {
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
