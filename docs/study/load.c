/*
 * The study's hosts in one process, with sockets in two network namespaces: `world` sends, `box` receives.
 *
 *   load SETTLE_MS MEASURE_MS LONG UDP_BIT_PER_S SHORTS_PER_S SHORT_BYTES SEED
 *
 * LONG TCP flows without end, UDP datagrams of 1200 bytes paced one by one, short TCP flows that begin at random
 * (Poisson), and one voice call: 172 bytes every 20 ms, each with the time when it was sent. Prints a JSON line when
 * the load has settled, one when it was measured, and one with what single datagrams and short flows took.
 * Times are in ms, of CLOCK_MONOTONIC.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define WORLD "10.9.0.1"
#define BOX "10.9.1.2"
#define CHUNK 65536
#define MOST 16384
#define UDP_BYTES 1200
/* IPv4, UDP, and Ethernet as tc counts it */
#define HEADERS 42
#define VOICE_BYTES 172
#define DRAIN_MS 2000

enum port { TCP_PORT = 5001, UDP_PORT, VOICE_PORT };
enum kind { LISTENER, SENDER, LONG_FLOW, SHORT_FLOW, UDP_IN, VOICE_IN, UDP_TICK, VOICE_TICK, SHORT_TICK, PHASE_TICK };

struct end {
	enum kind kind;
	int fd;
	uint64_t left;     /* SENDER: to be sent; none known yet: 0 */
	uint64_t received; /* LONG_FLOW, SHORT_FLOW */
	double start;      /* SHORT_FLOW */
};

struct voice {
	uint32_t sequence;
	double sent;
};

static char chunk[CHUNK];
static int poller, world_ns, box_ns, snmp, udp_out, voice_out;
static struct end *longs[256];
static int long_count, shorts_open, voice_sent, heard_count, times_count;
static uint64_t short_received, udp_received, rng;
static struct { uint32_t sequence; double delay; } heard[MOST];
static struct { double start, took; } times[MOST];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* xorshift64*, in (0, 1] */
static double uniform(void)
{
	rng ^= rng >> 12;
	rng ^= rng << 25;
	rng ^= rng >> 27;
	return ((rng * 0x2545f4914f6cdd1dULL >> 11) + 1) / 9007199254740993.0;
}

static struct end *watch(enum kind kind, int fd, uint32_t events)
{
	struct end *end = calloc(1, sizeof(*end));
	struct epoll_event event = {.events = events, .data.ptr = end};

	if (!end || fd < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event))
		err(1, "kind %d", kind);
	end->kind = kind;
	end->fd = fd;
	return end;
}

static void drop(struct end *end)
{
	close(end->fd);
	free(end);
}

static struct sockaddr_in address(const char *host, enum port port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

	inet_pton(AF_INET, host, &a.sin_addr);
	return a;
}

static int open_socket(int ns, int type, const char *host, enum port port, int to)
{
	struct sockaddr_in a = address(host, port);
	int one = 1, fd;

	if (setns(ns, CLONE_NEWNET))
		err(1, "setns");
	fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (to)
		connect(fd, (struct sockaddr *)&a, sizeof(a)); /* of TCP: goes on by itself */
	else if (bind(fd, (struct sockaddr *)&a, sizeof(a)))
		err(1, "bind %s:%d", host, port);
	return fd;
}

/* A timer that rings every `ms`; once, where `once`. */
static struct itimerspec period(double ms, int once)
{
	struct timespec t = {.tv_sec = ms / 1e3, .tv_nsec = fmod(ms, 1e3) * 1e6};

	if (t.tv_sec == 0 && t.tv_nsec == 0)
		t.tv_nsec = 1;
	return (struct itimerspec){.it_value = t, .it_interval = once ? (struct timespec){0} : t};
}

static int timer(double ms, int once)
{
	struct itimerspec spec = period(ms, once);
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);

	timerfd_settime(fd, 0, &spec, NULL);
	return fd;
}

static uint64_t rung(struct end *end)
{
	uint64_t count = 0;

	return read(end->fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/* What goes on without end must not go on after it, into the next run. */
static void reset_at_close(int fd)
{
	struct linger linger = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static struct end *fetch(enum kind kind, uint32_t bytes)
{
	struct end *end = watch(kind, open_socket(box_ns, SOCK_STREAM, WORLD, TCP_PORT, 1), EPOLLOUT);

	end->start = now();
	end->left = bytes;
	if (kind == LONG_FLOW)
		reset_at_close(end->fd);
	return end;
}

static void change(struct end *end, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = end};

	epoll_ctl(poller, EPOLL_CTL_MOD, end->fd, &event);
}

/* The first four bytes that come say how many are wanted; 0: without end. */
static void serve(struct end *end, uint32_t events)
{
	uint32_t wish;
	ssize_t n;

	if (end->left == 0) {
		if (recv(end->fd, &wish, sizeof(wish), 0) != sizeof(wish))
			return drop(end);
		end->left = wish ? wish : UINT64_MAX;
		if (!wish)
			reset_at_close(end->fd);
		change(end, EPOLLOUT);
	}
	if (events & (EPOLLERR | EPOLLHUP))
		return drop(end);
	n = send(end->fd, chunk, end->left < CHUNK ? end->left : CHUNK, MSG_NOSIGNAL);
	if (n > 0 && (end->left -= n) == 0)
		drop(end);
}

static void receive(struct end *end, uint32_t events)
{
	uint32_t wish = end->left;
	ssize_t n;

	if (events & EPOLLOUT) {
		if (send(end->fd, &wish, sizeof(wish), MSG_NOSIGNAL) == sizeof(wish))
			change(end, EPOLLIN);
		return;
	}
	n = recv(end->fd, chunk, CHUNK, 0);
	if (n > 0) {
		end->received += n;
		if (end->kind == SHORT_FLOW)
			short_received += n;
	} else if (end->kind == SHORT_FLOW) {
		if (n == 0 && times_count < MOST) {
			times[times_count].start = end->start;
			times[times_count++].took = now() - end->start;
		}
		shorts_open--;
		drop(end);
	}
}

static void hear(struct end *end)
{
	char datagram[VOICE_BYTES];
	struct voice voice;

	while (recv(end->fd, datagram, sizeof(datagram), 0) > 0) {
		memcpy(&voice, datagram, sizeof(voice));
		if (heard_count < MOST) {
			heard[heard_count].sequence = voice.sequence;
			heard[heard_count++].delay = now() - voice.sent;
		}
	}
}

static void talk(void)
{
	char datagram[VOICE_BYTES] = {0};
	struct voice voice = {.sequence = voice_sent++, .sent = now()};

	memcpy(datagram, &voice, sizeof(voice));
	send(voice_out, datagram, sizeof(datagram), 0);
}

static long retransmitted(void)
{
	char text[4096] = {0}, *line;
	long count = -1;

	/* Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs */
	if (pread(snmp, text, sizeof(text) - 1, 0) > 0 && (line = strstr(text, "\nTcp: ")) &&
	    (line = strstr(line + 1, "\nTcp: ")))
		sscanf(line, "\nTcp: %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %ld", &count);
	return count;
}

static void print_sample(void)
{
	printf("{\"at\":%.3f,\"long\":[", now());
	for (int i = 0; i < long_count; i++)
		printf("%s%lu", i ? "," : "", longs[i]->received);
	printf("],\"short\":%lu,\"udp\":%lu,\"sequence\":%d,\"retransmitted\":%ld}\n", short_received, udp_received,
	       voice_sent, retransmitted());
	fflush(stdout);
}

static void print_times(void)
{
	printf("{\"heard\":[");
	for (int i = 0; i < heard_count; i++)
		printf("%s[%u,%.3f]", i ? "," : "", heard[i].sequence, heard[i].delay);
	printf("],\"times\":[");
	for (int i = 0; i < times_count; i++)
		printf("%s[%.3f,%.3f]", i ? "," : "", times[i].start, times[i].took);
	printf("],\"open\":%d}\n", shorts_open);
}

int main(int argc, char **argv)
{
	static const struct itimerspec never;
	double settle, measure, udp_rate, shorts;
	struct end *voice_tick, *short_tick = NULL, *phase_tick;
	int phase = 0, short_bytes, listener;

	if (argc != 8)
		errx(2, "usage: load SETTLE_MS MEASURE_MS LONG UDP_BIT_PER_S SHORTS_PER_S SHORT_BYTES SEED");
	settle = atof(argv[1]);
	measure = atof(argv[2]);
	long_count = atoi(argv[3]);
	udp_rate = atof(argv[4]);
	shorts = atof(argv[5]);
	short_bytes = atoi(argv[6]);
	rng = 0x9e3779b97f4a7c15ULL ^ strtoull(argv[7], NULL, 10);
	if (long_count > 256)
		errx(2, "at most 256 long flows");

	poller = epoll_create1(0);
	world_ns = open("/run/netns/world", O_RDONLY);
	box_ns = open("/run/netns/box", O_RDONLY);
	listener = open_socket(world_ns, SOCK_STREAM, WORLD, TCP_PORT, 0);
	listen(listener, 256);
	watch(LISTENER, listener, EPOLLIN);
	snmp = open("/proc/thread-self/net/snmp", O_RDONLY);
	udp_out = open_socket(world_ns, SOCK_DGRAM, BOX, UDP_PORT, 1);
	voice_out = open_socket(world_ns, SOCK_DGRAM, BOX, VOICE_PORT, 1);
	watch(UDP_IN, open_socket(box_ns, SOCK_DGRAM, BOX, UDP_PORT, 0), EPOLLIN);
	watch(VOICE_IN, open_socket(box_ns, SOCK_DGRAM, BOX, VOICE_PORT, 0), EPOLLIN);
	for (int i = 0; i < long_count; i++)
		longs[i] = fetch(LONG_FLOW, 0);
	voice_tick = watch(VOICE_TICK, timer(20, 0), EPOLLIN);
	phase_tick = watch(PHASE_TICK, timer(settle, 1), EPOLLIN);
	if (udp_rate > 0)
		watch(UDP_TICK, timer((UDP_BYTES + HEADERS) * 8e3 / udp_rate, 0), EPOLLIN);
	if (shorts > 0)
		short_tick = watch(SHORT_TICK, timer(-log(uniform()) / shorts * 1e3, 1), EPOLLIN);

	for (;;) {
		struct epoll_event events[64];
		int count = epoll_wait(poller, events, 64, -1);

		for (int i = 0; i < count; i++) {
			struct end *end = events[i].data.ptr;
			struct itimerspec spec;
			ssize_t n;

			switch (end->kind) {
			case LISTENER:
				watch(SENDER, accept4(end->fd, NULL, NULL, SOCK_NONBLOCK), EPOLLIN);
				break;
			case SENDER:
				serve(end, events[i].events);
				break;
			case LONG_FLOW:
			case SHORT_FLOW:
				receive(end, events[i].events);
				break;
			case UDP_IN:
				while ((n = recv(end->fd, chunk, CHUNK, 0)) > 0)
					udp_received += n;
				break;
			case VOICE_IN:
				hear(end);
				break;
			case UDP_TICK:
				for (uint64_t due = rung(end); due > 0; due--)
					send(udp_out, chunk, UDP_BYTES, 0);
				break;
			case VOICE_TICK:
				for (uint64_t due = rung(end); due > 0; due--)
					talk();
				break;
			case SHORT_TICK:
				if (rung(end) == 0)
					break;
				fetch(SHORT_FLOW, short_bytes);
				shorts_open++;
				spec = period(-log(uniform()) / shorts * 1e3, 1);
				timerfd_settime(end->fd, 0, &spec, NULL);
				break;
			case PHASE_TICK:
				rung(end);
				if (phase < 2)
					print_sample();
				else
					return print_times(), 0;
				/* What was sent by now may still be on its way: the call and new flows end, the rest goes on. */
				if (++phase == 2) {
					timerfd_settime(voice_tick->fd, 0, &never, NULL);
					if (short_tick)
						timerfd_settime(short_tick->fd, 0, &never, NULL);
				}
				spec = period(phase == 1 ? measure : DRAIN_MS, 1);
				timerfd_settime(phase_tick->fd, 0, &spec, NULL);
				break;
			}
		}
	}
}
