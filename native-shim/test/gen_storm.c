// SPDX-License-Identifier: MIT
/* gen_storm DEVICE DESTINATION SECONDS [SKIP]: sends UDP from 198.18.0.0/15 to an Ethernet device's peer, each datagram of
 * another flow (addresses and ports are a counter, beginning at SKIP), as fast as it can, past qdiscs; one process for a
 * processor. The destination's address is `HARDWARE,ADDRESS,PORT`. Prints how many were sent, in
 * how many seconds, and how many of those it had a processor; receiving is a part of it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 256

struct frame {
	struct ether_header ether;
	struct iphdr ip;
	struct udphdr udp;
	char payload[16];
} __attribute__((packed));

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint16_t checksum(const void *header)
{
	uint16_t words[sizeof(struct iphdr) / 2];
	uint32_t sum = 0;

	memcpy(words, header, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~(sum + (sum >> 16));
}

static void make(struct frame *frame, uint32_t n)
{
	frame->ip.saddr = htonl(0xc6120000 | (n >> 15 & 0x1ffff));
	frame->udp.source = htons((uint16_t)(1024 + (n & 0x7fff)));
	frame->ip.check = 0;
	frame->ip.check = checksum(&frame->ip);
}

int main(int argc, char **argv)
{
	static struct frame frames[BATCH];
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec parts[BATCH];
	/* Of no protocol: with one, the kernel would hand it all that arrives. */
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_halen = ETH_ALEN };
	unsigned char mac[ETH_ALEN];
	char address[INET_ADDRSTRLEN];
	unsigned int port;
	uint32_t n, first;
	double begin, last;
	struct rusage usage;
	int one = 1, fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (argc < 4 || fd < 0 ||
	    sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx,%15[0-9.],%u", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
		   &mac[5], address, &port) != 8)
		return 2;
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&to, sizeof(to))) {
		perror(argv[1]);
		return 1;
	}
	for (int i = 0; i < BATCH; i++) {
		struct frame *frame = &frames[i];

		memcpy(frame->ether.ether_dhost, mac, ETH_ALEN);
		frame->ether.ether_shost[0] = 2;
		frame->ether.ether_type = htons(ETH_P_IP);
		frame->ip = (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
					    .tot_len = htons(sizeof(*frame) - sizeof(frame->ether)),
					    .daddr = inet_addr(address) };
		frame->udp = (struct udphdr){ .dest = htons((uint16_t)port),
					      .len = htons(sizeof(frame->udp) + sizeof(frame->payload)) };
		parts[i] = (struct iovec){ frame, sizeof(*frame) };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1 };
	}
	first = n = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0;
	begin = seconds();
	last = begin + strtod(argv[3], NULL);
	while (seconds() < last) {
		int sent;

		for (uint32_t i = 0; i < BATCH; i++)
			make(&frames[i], n + i);
		sent = sendmmsg(fd, messages, BATCH, 0);
		if (sent < 0 && errno != ENOBUFS && errno != EAGAIN) {
			perror("sendmmsg");
			return 1;
		}
		n += sent > 0 ? (uint32_t)sent : 0;
	}
	getrusage(RUSAGE_SELF, &usage);
	printf("%u %.3f %.3f\n", n - first, seconds() - begin,
	       (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	return 0;
}
