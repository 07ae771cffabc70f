// SPDX-License-Identifier: MIT
/*
 * access-link: an access link as an ISP has one, between two network namespaces.
 *
 *   access-link NETNS-A DEVICE-A NETNS-B DEVICE-B KBIT FIFO-MS DELAY-MS
 *
 * Makes a tun device in each namespace (paths such as /run/netns/box) and carries packets between them. Each way
 * has its own serial line of KBIT, its own FIFO in front of it that holds FIFO-MS of that line's time and drops at
 * the tail, and DELAY-MS of propagation behind it. A packet costs its length and 14 bytes of link header.
 *
 * Prints "ready" when both devices are there. Ends, and the devices with it, when its standard input closes: it
 * cannot outlive who started it. Before that it prints, for each way, from A to B first,
 * {"packets":N,"bytes":N,"drops":N}: delivered, and dropped for a full FIFO.
 *
 * Memory is bounded by what a line holds: KBIT * (FIFO-MS + DELAY-MS), in packets of at most MTU.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* setns, ppoll */
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define NSEC 1000000000ULL
#define LINK_HEADER 14
#define LARGEST 65536
#define BATCH 64 /* packets read from one device before the other has its turn */

struct packet {
	struct packet *next;
	uint64_t due_ns; /* when it arrives at the far end */
	size_t length;
	unsigned char data[];
};

/* One way of the link. */
struct line {
	int from, to;
	uint64_t free_ns; /* when the line has sent all that waits for it */
	struct packet *first, **last;
	uint64_t packets, bytes, drops;
};

static uint64_t bits_per_second, fifo_ns, delay_ns;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC + (uint64_t)t.tv_nsec;
}

static void die(const char *what, const char *which)
{
	fprintf(stderr, "access-link: %s %s: %s\n", what, which, strerror(errno));
	exit(1);
}

/* Goes into the namespace to stay there until the next call; a tun device belongs to where its file was opened. */
static int open_tun(const char *netns, const char *device)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int ns, tun;

	ns = open(netns, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWNET))
		die("cannot enter", netns);
	close(ns);
	tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tun < 0)
		die("cannot open", "/dev/net/tun");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	if (ioctl(tun, TUNSETIFF, &request))
		die("cannot make device", device);
	return tun;
}

/* Puts what has arrived on the device into the FIFO, or drops it. */
static void receive(struct line *line)
{
	static unsigned char data[LARGEST];

	for (int i = 0; i < BATCH; i++) {
		ssize_t length = read(line->from, data, sizeof(data));
		uint64_t now = now_ns();
		struct packet *packet;

		if (length < 0 && errno != EAGAIN && errno != EINTR)
			die("cannot read from", "tun");
		if (length <= 0)
			return;
		if (line->free_ns < now)
			line->free_ns = now;
		packet = line->free_ns - now > fifo_ns ? NULL : malloc(sizeof(*packet) + (size_t)length);
		if (!packet) {
			line->drops++;
			continue;
		}
		line->free_ns += ((uint64_t)length + LINK_HEADER) * 8 * NSEC / bits_per_second;
		packet->next = NULL;
		packet->due_ns = line->free_ns + delay_ns;
		packet->length = (size_t)length;
		memcpy(packet->data, data, (size_t)length);
		*line->last = packet;
		line->last = &packet->next;
	}
}

/* Hands over what is due; returns when the next is, or UINT64_MAX. */
static uint64_t deliver(struct line *line)
{
	for (struct packet *packet; (packet = line->first); free(packet)) {
		if (packet->due_ns > now_ns())
			return packet->due_ns;
		line->first = packet->next;
		if (!line->first)
			line->last = &line->first;
		/* A device that is down refuses (EIO): the packet is lost, as on any cable, and not counted. */
		if (write(line->to, packet->data, packet->length) < 0)
			continue;
		line->packets++;
		line->bytes += packet->length;
	}
	return UINT64_MAX;
}

static bool input_closed(void)
{
	char byte[64];
	ssize_t n = read(STDIN_FILENO, byte, sizeof(byte));

	return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

static uint64_t number(const char *text, const char *what, uint64_t least, uint64_t most)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value < least || value > most) {
		fprintf(stderr, "access-link: %s must be %llu to %llu, not %s\n", what, (unsigned long long)least,
			(unsigned long long)most, text);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	struct sched_param priority = { .sched_priority = 1 };
	struct line lines[2] = { 0 };
	int a, b;

	if (argc != 8) {
		fprintf(stderr, "usage: access-link NETNS-A DEVICE-A NETNS-B DEVICE-B KBIT FIFO-MS DELAY-MS\n");
		return 2;
	}
	bits_per_second = number(argv[5], "KBIT", 1, 1000000) * 1000;
	fifo_ns = number(argv[6], "FIFO-MS", 0, 10000) * 1000000;
	delay_ns = number(argv[7], "DELAY-MS", 0, 10000) * 1000000;

	a = open_tun(argv[1], argv[2]);
	b = open_tun(argv[3], argv[4]);
	for (int i = 0; i < 2; i++) {
		lines[i].from = i ? b : a;
		lines[i].to = i ? a : b;
		lines[i].last = &lines[i].first;
	}

	/* A cable is never late because the processor is busy. Where this is not allowed, it is only less exact. */
	sched_setscheduler(0, SCHED_RR, &priority);
	prctl(PR_SET_TIMERSLACK, 1UL);
	puts("ready");
	fflush(stdout);

	for (;;) {
		struct pollfd ready[] = {
			{ .fd = a, .events = POLLIN },
			{ .fd = b, .events = POLLIN },
			{ .fd = STDIN_FILENO, .events = POLLIN },
		};
		struct timespec wait, *timeout = NULL;
		uint64_t next = UINT64_MAX;

		for (int i = 0; i < 2; i++) {
			uint64_t due;

			receive(&lines[i]);
			due = deliver(&lines[i]);
			next = due < next ? due : next;
		}
		if (next != UINT64_MAX) {
			uint64_t now = now_ns();
			uint64_t left = next > now ? next - now : 0;

			wait = (struct timespec){ .tv_sec = (time_t)(left / NSEC), .tv_nsec = (long)(left % NSEC) };
			timeout = &wait;
		}
		if (ppoll(ready, 3, timeout, NULL) < 0 && errno != EINTR)
			die("cannot wait for", "packets");
		if (ready[2].revents && input_closed())
			break;
	}
	for (int i = 0; i < 2; i++) {
		printf("{\"packets\":%llu,\"bytes\":%llu,\"drops\":%llu}\n", (unsigned long long)lines[i].packets,
		       (unsigned long long)lines[i].bytes, (unsigned long long)lines[i].drops);
		for (struct packet *next, *packet = lines[i].first; packet; packet = next) {
			next = packet->next;
			free(packet);
		}
	}
	return 0;
}
