// SPDX-License-Identifier: MIT
/* One thread fills the ring, the owner empties it: a ring of one producer and one consumer, without a lock.
 *
 * Two flags cross the threads, each with the same argument: the one side sets the flag and then looks at the
 * ring, the other changes the ring and then looks at the flag, all sequentially consistent, so that at least one
 * of them sees the other. `rung`: the doorbell has rung and the owner has not come yet. `starved`: the thread
 * waits for room. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "source.h"

#define MIN_RING 64u
#define MAX_RING (1u << 22)
#define LINGER_NS 1000000 /* under load the doorbell rings at most that often */
/* From so many records a second on a waking costs more than what it brings, so it rings less often still. */
#define BUSY_RECORDS 16000
#define BUSY_LINGER_NS 4000000
#define BATCH 32	  /* datagrams read by one call */
#define ROUNDS 16	  /* such calls before the doorbell has its turn */
#define DATAGRAM_BYTES 32768
#define STACK_BYTES (256 << 10)
/* A socket buffer from this size on, as a feed does, holds what comes in one linger: then the thread sleeps through it, and reads
 * hundreds of messages on one waking (docs/architecture.md, "Batches"). */
#define NAP_BUFFER (8u << 20)

struct hg_source {
	const struct hg_source_ops *ops;
	void *state;
	struct hg_feed *feed; /* NULL: all comes by the socket */
	int fd, wake, bell[2];
	uint8_t *ring;
	uint32_t mask;
	atomic_uint receive_buffer; /* as the kernel tells it: twice what was asked for */
	atomic_uint most_buffer;    /* it may grow to that, by the same count */
	pthread_t thread;

	/* the thread's own */
	uint64_t now_ns;      /* CLOCK_REALTIME of the last read */
	int64_t last_ring_ns; /* CLOCK_MONOTONIC */
	int64_t linger_ns;
	uint32_t announced;   /* head when the doorbell rang last */
	bool lingering;
	bool fed;		  /* messages are left in the feed */
	uint32_t overruns;	  /* seen, and not yet said */
	uint64_t read_since;	  /* bytes read since the last of them */
	uint8_t *buffers;
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];

	_Alignas(64) atomic_uint head; /* written by the thread; indices run freely and wrap */
	atomic_bool starved;
	atomic_ullong stat_records, stat_overruns, stat_full;
	_Alignas(64) atomic_uint tail; /* written by the owner */
	atomic_bool rung, stop;
};

static int64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static uint64_t realtime_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void poke(int fd)
{
	uint64_t one = 1;

	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void ring_now(struct hg_source *s)
{
	int64_t now = monotonic_ns(), since = now - s->last_ring_ns;
	uint32_t head = atomic_load(&s->head);
	bool busy = (head - s->announced) * 1000000000ll >= BUSY_RECORDS * since;

	s->linger_ns = busy && since >= LINGER_NS ? BUSY_LINGER_NS : LINGER_NS;
	s->announced = head;
	s->last_ring_ns = now;
	s->lingering = s->linger_ns == BUSY_LINGER_NS;
	/* A full pipe (EAGAIN) rings already, a closed one (EPIPE) has nobody left to hear. */
	if (!atomic_exchange(&s->rung, true))
		while (write(s->bell[1], "", 1) < 0 && errno == EINTR)
			;
}

static void ring_unless_early(struct hg_source *s)
{
	if (s->announced == atomic_load(&s->head))
		s->lingering = false;
	else if (monotonic_ns() - s->last_ring_ns < s->linger_ns)
		s->lingering = true;
	else
		ring_now(s);
}

/* Sleeps until the socket or the owner has something, or the linger is over. */
static void wait_for_input(struct hg_source *s)
{
	struct pollfd fds[] = { { s->wake, POLLIN, 0 }, { s->fd, POLLIN, 0 }, { s->feed ? s->feed->fd : -1, POLLIN, 0 } };
	struct timespec left = { 0, 0 };
	uint64_t pokes;

	if (s->lingering) {
		int64_t due = s->last_ring_ns + s->linger_ns - monotonic_ns();

		/* What one round has left of the feed is read at once: a linger a round would be a bound on their number. */
		left.tv_nsec = due > 0 && !s->fed ? (long)due : 0;
	}
	if (ppoll(fds, s->lingering && (s->feed || s->receive_buffer >= NAP_BUFFER) ? 1 : 3, s->lingering ? &left : NULL,
		  NULL) > 0 &&
	    fds[0].revents)
		(void)!read(s->wake, &pokes, sizeof(pokes));
}

static bool is_full(struct hg_source *s)
{
	return atomic_load(&s->head) - atomic_load(&s->tail) > s->mask;
}

static void wait_for_room(struct hg_source *s)
{
	struct pollfd fd = { s->wake, POLLIN, 0 };
	uint64_t pokes;

	atomic_fetch_add(&s->stat_full, 1);
	atomic_store(&s->starved, true);
	while (is_full(s) && !atomic_load(&s->stop)) {
		ring_now(s);
		if (poll(&fd, 1, -1) > 0)
			(void)!read(s->wake, &pokes, sizeof(pokes));
	}
	atomic_store(&s->starved, false);
}

void *hg_source_put(struct hg_source *s, uint16_t kind)
{
	uint32_t size = s->ops->record_size;
	struct hg_head *head;

	if (is_full(s))
		wait_for_room(s);
	if (atomic_load_explicit(&s->stop, memory_order_relaxed))
		return NULL;
	head = (void *)(s->ring + (size_t)(atomic_load(&s->head) & s->mask) * size);
	memset(head, 0, size);
	head->kind = kind;
	head->time_ns = s->now_ns;
	return head;
}

void hg_source_commit(struct hg_source *s)
{
	/* The thread alone writes both. */
	atomic_store_explicit(&s->stat_records, atomic_load_explicit(&s->stat_records, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	atomic_store(&s->head, atomic_load_explicit(&s->head, memory_order_relaxed) + 1);
}

void hg_source_say(struct hg_source *s, uint16_t kind, uint16_t flags, uint32_t count)
{
	struct hg_head *head = hg_source_put(s, kind);

	if (!head)
		return;
	head->flags = flags;
	head->count = count;
	hg_source_commit(s);
}

static int take_each(struct hg_source *s, const struct nlmsghdr *message, int left)
{
	for (; hg_message_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		void *record = hg_source_put(s, 0);

		if (!record)
			return 0;
		if (s->ops->parse(record, message))
			hg_source_commit(s);
	}
	return 0;
}

int hg_source_receive(struct hg_source *s, const void *datagram, size_t length)
{
	return s->ops->parse ? take_each(s, datagram, (int)length) : s->ops->receive(s, s->state, datagram, length);
}

void hg_source_lost(struct hg_source *s, uint32_t count)
{
	atomic_fetch_add(&s->stat_overruns, count);
	hg_source_say(s, HG_OVERRUN, 0, count);
}

int hg_source_fd(const struct hg_source *s)
{
	return s->fd;
}

static int say_overrun(struct hg_source *s)
{
	uint32_t count = s->overruns;

	s->overruns = 0;
	hg_source_say(s, HG_OVERRUN, 0, count);
	return s->ops->overrun ? s->ops->overrun(s, s->state) : 0;
}

void hg_source_let_grow(struct hg_source *s, uint32_t bytes)
{
	atomic_store(&s->most_buffer, bytes > INT_MAX / 2 ? INT_MAX : 2 * bytes);
}

static uint32_t read_buffer_size(const struct hg_source *s)
{
	int bytes = 0;
	socklen_t size = sizeof(bytes);

	getsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &bytes, &size);
	return (uint32_t)bytes;
}

/* Asks for as much as the kernel tells now, which it doubles. */
static void grow_buffer(struct hg_source *s)
{
	int bytes = (int)atomic_load(&s->receive_buffer);

	if ((uint32_t)bytes > atomic_load(&s->most_buffer) / 2)
		return;
	hg_netlink_set_room(s->fd, bytes);
	atomic_store(&s->receive_buffer, read_buffer_size(s));
}

/* ENOBUFS is said before what still waits in the socket, but happened behind it; and the kernel drops all
 * messages from then on until the socket has been read empty (net/netlink/af_netlink.c, NETLINK_S_CONGESTED).
 * So the record waits until then: it stands where the loss was, and whoever dumps after it misses nothing. What waits in the
 * feed comes before it for the same reason. */
static int note_overrun(struct hg_source *s)
{
	int status = s->overruns && !s->fed && !is_full(s) ? say_overrun(s) : 0;

	s->overruns++;
	s->read_since = 0;
	atomic_fetch_add(&s->stat_overruns, 1);
	grow_buffer(s);
	return status;
}

/* Reads one batch of datagrams. Sets *empty when the socket has nothing left. */
static int read_batch(struct hg_source *s, bool *empty)
{
	int status = 0;
	int got = recvmmsg(s->fd, s->messages, BATCH, MSG_DONTWAIT, NULL);

	if (got < 0) {
		*empty = errno == EAGAIN;
		if (errno == ENOBUFS)
			return note_overrun(s);
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	}
	s->now_ns = realtime_ns();
	for (int i = 0; i < got && status == 0 && !atomic_load_explicit(&s->stop, memory_order_relaxed); i++) {
		s->read_since += s->messages[i].msg_len;
		if (s->messages[i].msg_hdr.msg_flags & MSG_TRUNC)
			status = note_overrun(s);
		else if (s->messages[i].msg_len == 0)
			status = -ECONNRESET; /* netlink has no empty datagrams: the peer of a test has closed */
		else
			status = hg_source_receive(s, s->buffers + (size_t)i * DATAGRAM_BYTES, s->messages[i].msg_len);
	}
	return status;
}

static int read_socket(struct hg_source *s)
{
	bool empty = false;
	int status = 0;

	for (int round = 0; round < ROUNDS && status == 0 && !empty && !atomic_load(&s->stop); round++)
		status = read_batch(s, &empty);
	/* As many bytes as the socket can hold have been read: it was empty in between, even if it is not now. */
	if (status == 0 && s->overruns && !s->fed && (empty || s->read_since >= s->receive_buffer))
		status = say_overrun(s);
	return status;
}

/* Also a socket with a feed is read: the kernel tells there what it had no memory for. */
static int read_all(struct hg_source *s)
{
	int status = 0;

	if (s->feed) {
		s->now_ns = realtime_ns();
		status = s->feed->read(s->feed, s, &s->fed);
	}
	return status < 0 ? status : read_socket(s);
}

static void *run(void *arg)
{
	struct hg_source *s = arg;
	int status;

	s->now_ns = realtime_ns();
	status = s->ops->start ? s->ops->start(s, s->state) : 0;
	while (status == 0 && !atomic_load(&s->stop)) {
		wait_for_input(s);
		status = read_all(s);
		ring_unless_early(s);
	}
	if (status < 0)
		hg_source_say(s, HG_FAILED, 0, (uint32_t)-status);
	ring_now(s);
	return NULL;
}

static void free_source(struct hg_source *s)
{
	if (s->feed)
		s->feed->close(s->feed);
	free(s->state);
	free(s->ring);
	free(s->buffers);
	if (s->fd >= 0)
		close(s->fd);
	if (s->wake >= 0)
		close(s->wake);
	if (s->bell[1] >= 0)
		close(s->bell[1]);
	free(s);
}

static uint32_t ring_records(uint32_t wanted)
{
	uint32_t records = MIN_RING;

	while (records < wanted && records < MAX_RING)
		records *= 2;
	return records;
}

static int allocate(struct hg_source *s, uint32_t ring)
{
	uint32_t records = ring_records(ring);

	s->mask = records - 1;
	s->ring = calloc(records, s->ops->record_size);
	s->buffers = malloc((size_t)BATCH * DATAGRAM_BYTES);
	if (!s->ring || !s->buffers)
		return ENOMEM;
	for (int i = 0; i < BATCH; i++) {
		s->vectors[i] = (struct iovec){ s->buffers + (size_t)i * DATAGRAM_BYTES, DATAGRAM_BYTES };
		s->messages[i].msg_hdr = (struct msghdr){ .msg_iov = &s->vectors[i], .msg_iovlen = 1 };
	}
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake < 0 || pipe2(s->bell, O_CLOEXEC | O_NONBLOCK))
		return errno;
	return 0;
}

/* Signals are the main thread's: a thread of ours that took SIGTERM would keep node from seeing it. */
static int start_thread(struct hg_source *s)
{
	pthread_attr_t attr;
	sigset_t all, before;
	int code;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(&s->thread, &attr, run, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (code == 0)
		pthread_setname_np(s->thread, "headgate");
	return code;
}

struct hg_source *hg_source_start(const struct hg_source_ops *ops, void *state, int fd, uint32_t ring,
				  struct hg_error *error)
{
	return hg_source_start_fed(ops, state, fd, NULL, ring, error);
}

struct hg_source *hg_source_start_fed(const struct hg_source_ops *ops, void *state, int fd, struct hg_feed *feed,
				      uint32_t ring, struct hg_error *error)
{
	struct hg_source *s = aligned_alloc(64, (sizeof(*s) + 63) / 64 * 64);
	int code;

	if (!s) {
		if (feed)
			feed->close(feed);
		free(state);
		close(fd);
		hg_fail(error, ENOMEM, "malloc", NULL);
		return NULL;
	}
	memset(s, 0, sizeof(*s));
	s->ops = ops;
	s->state = state;
	s->feed = feed;
	s->fd = fd;
	s->linger_ns = LINGER_NS;
	s->wake = s->bell[0] = s->bell[1] = -1;
	s->last_ring_ns = monotonic_ns() - LINGER_NS;
	s->receive_buffer = read_buffer_size(s);
	code = allocate(s, ring);
	if (code == 0)
		code = start_thread(s);
	if (code) {
		if (s->bell[0] >= 0)
			close(s->bell[0]);
		free_source(s);
		hg_fail(error, code, "start a source", NULL);
		return NULL;
	}
	return s;
}

HG_EXPORT int32_t hg_source_doorbell(struct hg_source *s)
{
	return s->bell[0];
}

HG_EXPORT int32_t hg_source_take(struct hg_source *s, void *records, uint32_t max)
{
	uint32_t size = s->ops->record_size;
	uint32_t tail = atomic_load_explicit(&s->tail, memory_order_relaxed);
	uint32_t count, first;

	atomic_store(&s->rung, false);
	count = atomic_load(&s->head) - tail;
	if (count > max)
		count = max;
	first = s->mask + 1 - (tail & s->mask);
	if (first > count)
		first = count;
	memcpy(records, s->ring + (size_t)(tail & s->mask) * size, (size_t)first * size);
	memcpy((uint8_t *)records + (size_t)first * size, s->ring, (size_t)(count - first) * size);
	atomic_store(&s->tail, tail + count);
	if (count && atomic_load(&s->starved))
		poke(s->wake);
	return (int32_t)count;
}

HG_EXPORT void hg_source_get_stats(struct hg_source *s, struct hg_source_stats *stats)
{
	*stats = (struct hg_source_stats){
		.records = atomic_load(&s->stat_records),
		.overruns = atomic_load(&s->stat_overruns),
		.ring_full = atomic_load(&s->stat_full),
		.receive_buffer = s->receive_buffer,
		.waiting = atomic_load(&s->head) - atomic_load(&s->tail),
		.ring_bytes = s->feed ? atomic_load(&s->feed->bytes) : 0,
	};
}

HG_EXPORT void hg_source_close(struct hg_source *s)
{
	if (!s)
		return;
	atomic_store(&s->stop, true);
	poke(s->wake);
	pthread_join(s->thread, NULL);
	free_source(s);
}

HG_EXPORT uint32_t hg_abi(void)
{
	return HG_ABI;
}
