// SPDX-License-Identifier: MIT
/* gen_frames DEVICE MAC FLOWS COUNT: sends COUNT frames of 60 bytes out of DEVICE to MAC: UDP from 198.51.0.0/16, FLOWS different
 * ones in turn, to 192.0.2.1 port 443. Stays on processor 0, on which a veth pair has the frames received as well, by this
 * thread or by ksoftirqd/0. Prints ns of its own processor time for each. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 32

struct frame {
	struct ethhdr ethernet;
	struct iphdr ip;
	struct udphdr udp;
	char data[18];
} __attribute__((packed));

static uint16_t checksum(const void *data, size_t bytes)
{
	const uint8_t *at = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < bytes; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void fill(struct frame *frame, uint32_t flow)
{
	frame->ip.saddr = htonl(0xc6330000u | flow >> 12);
	frame->udp.source = htons((uint16_t)(1024 + (flow & 0xfff)));
	frame->ip.check = 0;
	frame->ip.check = checksum(&frame->ip, sizeof(frame->ip));
}

int main(int argc, char **argv)
{
	struct frame frames[BATCH];
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	struct sockaddr_ll to = { .sll_family = AF_PACKET };
	struct timespec begin, end;
	cpu_set_t one;
	int fd = socket(AF_PACKET, SOCK_RAW, 0), yes = 1;
	uint32_t flows, count, flow = 0;

	if (argc != 5 || fd < 0)
		return 2;
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	flows = (uint32_t)strtoul(argv[3], NULL, 10);
	count = (uint32_t)strtoul(argv[4], NULL, 10);
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes));
	memset(frames, 0, sizeof(frames));
	for (int i = 0; i < BATCH; i++) {
		struct frame *f = &frames[i];

		if (sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &f->ethernet.h_dest[0], &f->ethernet.h_dest[1],
			   &f->ethernet.h_dest[2], &f->ethernet.h_dest[3], &f->ethernet.h_dest[4], &f->ethernet.h_dest[5]) != 6)
			return 2;
		f->ethernet.h_source[0] = 2;
		f->ethernet.h_proto = htons(ETH_P_IP);
		f->ip = (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP };
		f->ip.tot_len = htons(sizeof(*f) - sizeof(f->ethernet));
		f->ip.daddr = htonl(0xc0000201);
		f->udp.dest = htons(443);
		f->udp.len = htons(sizeof(f->udp) + sizeof(f->data));
		vectors[i] = (struct iovec){ f, sizeof(*f) };
		messages[i].msg_hdr = (struct msghdr){ &to, sizeof(to), &vectors[i], 1, NULL, 0, 0 };
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	for (uint32_t sent = 0; sent < count;) {
		int got;

		for (int i = 0; i < BATCH; i++, flow = (flow + 1) % flows)
			fill(&frames[i], flow);
		got = sendmmsg(fd, messages, BATCH, 0);
		if (got < 0)
			return 1;
		sent += (uint32_t)got;
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	printf("%.1f\n", ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / count);
	return 0;
}
