// SPDX-License-Identifier: MIT
/*
 * stream: numbered packets, so that every one that is lost or comes twice is known.
 *
 *   stream send ADDRESS PORT FLOWS RATE SOURCE   sends RATE packets a second of UDP, in turn over FLOWS flows: flow f from
 *                                                port SOURCE + f to port PORT + f
 *   stream receive ADDRESS PORT FLOWS            counts them
 *
 * Each prints `ready`, ends when its standard input does (the receiver when for a second nothing has come since), and then
 * prints one line of JSON. The sender:
 * {"sent", "seconds", "refused", "flows": [packets of each flow]}, `refused` of the kernel (not sent). It keeps its pace by
 * the clock and catches up after a pause, but by a few packets at a time: what does not fit is a shortfall, not a burst
 * that overruns a queue. The receiver: {"flows": [{"packets", "twice", "last"}], "overrun"}: different numbers that came,
 * those that came again, the highest, and what its own socket had no room for.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_FLOWS 64
#define BATCH 64
/* Packets that it may be behind; those before are not made up for. */
#define MOST_BEHIND 256
#define PAYLOAD 64
#define QUIET_MS 1000
#define NANO 1000000000ull
/* Numbers of one flow that the receiver can tell apart. */
#define MOST_NUMBERS (1u << 24)

static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static uint32_t payloads[BATCH][PAYLOAD / 4];

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NANO + (uint64_t)t.tv_nsec;
}

/* Waits that long at most; says whether the input has ended. */
static int ended(int ms)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&input, 1, ms) > 0;
}

/* A socket at that port, connected or bound; -1 and errno. */
static int open_socket(struct sockaddr_in6 *address, socklen_t length, int local, int peer)
{
	int fd = socket(address->sin6_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in6 any = { .sin6_family = address->sin6_family, .sin6_port = htons((uint16_t)local) };
	int room = 1 << 25, one = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof(one));
	if (!peer) {
		address->sin6_port = htons((uint16_t)local);
		return bind(fd, (struct sockaddr *)address, length) ? -1 : fd;
	}
	address->sin6_port = htons((uint16_t)peer);
	if (bind(fd, (struct sockaddr *)&any, length) || connect(fd, (struct sockaddr *)address, length))
		return -1;
	return fd;
}

static int send_all(const int *fds, int flows, uint64_t rate)
{
	uint32_t sent[MOST_FLOWS] = { 0 };
	uint64_t start = now(), due, done = 0, total = 0, refused = 0, at;
	int flow = 0, count, took, i;

	while (!ended(1)) {
		at = now();
		due = (at - start) * rate / NANO;
		if (due - done > MOST_BEHIND)
			done = due - MOST_BEHIND;
		while (done < due) {
			count = due - done < BATCH / 2 ? (int)(due - done) : BATCH / 2;
			for (i = 0; i < count; i++)
				payloads[i][0] = htonl(sent[flow] + (uint32_t)i);
			took = sendmmsg(fds[flow], messages, (unsigned int)count, 0);
			if (took < 0 && errno != EAGAIN && errno != ENOBUFS && errno != ECONNREFUSED)
				return fail("sendmmsg");
			took = took < 0 ? 0 : took;
			refused += (uint64_t)(count - took);
			sent[flow] += (uint32_t)took;
			total += (uint64_t)took;
			done += (uint64_t)count;
			flow = (flow + 1) % flows;
		}
	}
	printf("{\"sent\":%llu,\"seconds\":%.3f,\"refused\":%llu,\"flows\":[", (unsigned long long)total,
	       (double)(now() - start) / (double)NANO, (unsigned long long)refused);
	for (i = 0; i < flows; i++)
		printf("%s%u", i ? "," : "", sent[i]);
	printf("]}\n");
	return 0;
}

struct counts {
	unsigned char *seen;
	uint32_t packets, twice, last, overrun;
};

static void count_number(struct counts *c, uint32_t number)
{
	unsigned char bit = (unsigned char)(1u << (number & 7));

	if (number >= MOST_NUMBERS)
		return;
	if (c->seen[number >> 3] & bit) {
		c->twice++;
		return;
	}
	c->seen[number >> 3] |= bit;
	c->packets++;
	if (number > c->last)
		c->last = number;
}

/* Takes all that waits at the socket. */
static void receive(int fd, struct counts *c)
{
	static char control[BATCH][CMSG_SPACE(sizeof(uint32_t))];
	struct cmsghdr *note;
	int count, i;

	do {
		for (i = 0; i < BATCH; i++) {
			messages[i].msg_hdr.msg_control = control[i];
			messages[i].msg_hdr.msg_controllen = sizeof(control[i]);
		}
		count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
		for (i = 0; i < count; i++) {
			count_number(c, ntohl(payloads[i][0]));
			note = CMSG_FIRSTHDR(&messages[i].msg_hdr);
			if (note && note->cmsg_type == SO_RXQ_OVFL)
				memcpy(&c->overrun, CMSG_DATA(note), sizeof(c->overrun));
		}
	} while (count == BATCH);
}

static int receive_all(const int *fds, int flows)
{
	static struct counts counts[MOST_FLOWS];
	struct pollfd polled[MOST_FLOWS + 1] = { { .fd = STDIN_FILENO, .events = POLLIN } };
	uint32_t overrun = 0;
	int last = 0, waited, i;

	for (i = 0; i < flows; i++) {
		polled[i + 1] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
		counts[i].seen = calloc(1, MOST_NUMBERS / 8);
		if (!counts[i].seen)
			return fail("calloc");
	}
	for (;;) {
		waited = poll(polled, (nfds_t)flows + 1, last ? QUIET_MS : -1);
		if (waited < 0)
			return fail("poll");
		if (waited == 0)
			break;
		if (polled[0].revents) {
			last = 1;
			polled[0].fd = -1;
		}
		for (i = 0; i < flows; i++)
			if (polled[i + 1].revents)
				receive(fds[i], &counts[i]);
	}
	printf("{\"flows\":[");
	for (i = 0; i < flows; i++) {
		printf("%s{\"packets\":%u,\"twice\":%u,\"last\":%u}", i ? "," : "", counts[i].packets, counts[i].twice,
		       counts[i].last);
		overrun += counts[i].overrun;
	}
	printf("],\"overrun\":%u}\n", overrun);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
	socklen_t length = sizeof(address);
	int sends = argc == 7 && !strcmp(argv[1], "send"), fds[MOST_FLOWS], flows, i;

	if (!sends && !(argc == 5 && !strcmp(argv[1], "receive"))) {
		fprintf(stderr, "usage: stream send ADDRESS PORT FLOWS RATE SOURCE | stream receive ADDRESS PORT FLOWS\n");
		return 2;
	}
	if (inet_pton(AF_INET, argv[2], &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		length = sizeof(*v4);
	} else if (inet_pton(AF_INET6, argv[2], &address.sin6_addr) != 1) {
		fprintf(stderr, "%s is no address\n", argv[2]);
		return 2;
	}
	flows = atoi(argv[4]);
	if (flows < 1 || flows > MOST_FLOWS) {
		fprintf(stderr, "1 to %d flows\n", MOST_FLOWS);
		return 2;
	}
	for (i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){ .iov_base = payloads[i], .iov_len = PAYLOAD };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &vectors[i], .msg_iovlen = 1 };
	}
	for (i = 0; i < flows; i++) {
		fds[i] = sends ? open_socket(&address, length, atoi(argv[6]) + i, atoi(argv[3]) + i)
			       : open_socket(&address, length, atoi(argv[3]) + i, 0);
		if (fds[i] < 0)
			return fail("socket");
	}
	printf("ready\n");
	fflush(stdout);
	return sends ? send_all(fds, flows, strtoull(argv[5], NULL, 10)) : receive_all(fds, flows);
}
