// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../bpf/copy-events.h"
#include "event-ring.h"

#define ROUND 512 /* records read before the doorbell has its turn */
#define FREED 64  /* records read before the kernel is told of the room */
#define MOST_BYTES (32u << 20)

struct ring {
	struct hg_ring_reader reader;
	struct bpf_object *object; /* NULL: there is none */
	int fd;
};

struct event_ring {
	struct hg_feed feed; /* first: the source knows this alone */
	struct ring now;
	struct ring larger; /* what the kernel writes to, while `now` is read to its end */
	int socket;
	void *object; /* the file, as it was when we began: another one may be there by the time that we grow */
	size_t length;
	size_t page;
	size_t most; /* it does not grow beyond so many bytes */
	bool no_loopback;
};

/* What the kernel could not copy until `lost` was read came before the events that stood at the ring's end then or later: so the
 * loss is said when these are reached, and behind it nothing is missing (HG_OVERRUN). */
static void look_for_loss(struct hg_ring_reader *r)
{
	uint64_t lost = __atomic_load_n(r->lost, __ATOMIC_SEQ_CST);

	if (r->owing || lost == r->told)
		return;
	r->owing = true;
	r->owed = lost;
	r->behind = __atomic_load_n(r->producer, __ATOMIC_SEQ_CST);
}

static void say_loss(struct hg_ring_reader *r, struct hg_source *source, unsigned long at)
{
	if (!r->owing || (long)(at - r->behind) < 0)
		return;
	hg_source_lost(source, (uint32_t)(r->owed - r->told));
	r->told = r->owed;
	r->owing = false;
}

/* The kernel writes a record's length last, and wakes whoever polls if the consumer stands at it: so its place is written
 * before the next record is looked at, both sequentially consistent (kernel/bpf/ringbuf.c, bpf_ringbuf_commit()). */
int hg_ring_read(struct hg_ring_reader *r, struct hg_source *source, bool *left)
{
	unsigned long at = *r->consumer;
	int status = 0;

	look_for_loss(r);
	for (int i = 1; i <= ROUND && status == 0; i++) {
		const uint8_t *record = r->data + (at & (r->size - 1));
		const struct copied_event *event = (const void *)(record + BPF_RINGBUF_HDR_SZ);
		uint32_t header;

		if (at == __atomic_load_n(r->producer, __ATOMIC_SEQ_CST))
			break;
		header = __atomic_load_n((const uint32_t *)(const void *)record, __ATOMIC_SEQ_CST);
		if (header & BPF_RINGBUF_BUSY_BIT)
			break;
		if (!(header & BPF_RINGBUF_DISCARD_BIT))
			status = hg_source_receive(source, event->message, event->length);
		at += ((header & ~(uint32_t)BPF_RINGBUF_DISCARD_BIT) + BPF_RINGBUF_HDR_SZ + 7u) / 8 * 8;
		if (i % FREED == 0)
			__atomic_store_n(r->consumer, at, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(r->consumer, at, __ATOMIC_SEQ_CST);
	say_loss(r, source, at);
	/* Lost while this round emptied the ring: nothing else may come to wake us for it. */
	look_for_loss(r);
	say_loss(r, source, at);
	*left = at != __atomic_load_n(r->producer, __ATOMIC_SEQ_CST);
	return status;
}

static void unmap(const void *memory, size_t bytes)
{
	if (memory)
		munmap((void *)(uintptr_t)memory, bytes);
}

static void close_ring(struct ring *ring, size_t page)
{
	unmap(ring->reader.lost, page);
	unmap(ring->reader.consumer, page);
	unmap(ring->reader.producer, page + 2 * ring->reader.size);
	bpf_object__close(ring->object);
	memset(ring, 0, sizeof(*ring));
}

static bool load(const struct event_ring *events, struct ring *ring, size_t bytes)
{
	struct bpf_map *constants = bpf_object__find_map_by_name(ring->object, ".rodata");
	struct bpf_map *map = bpf_object__find_map_by_name(ring->object, "events");

	return constants && map && bpf_map__set_max_entries(map, (uint32_t)bytes) == 0 &&
	       bpf_map__set_initial_value(constants, &events->no_loopback, sizeof(events->no_loopback)) == 0 &&
	       bpf_object__load(ring->object) == 0;
}

static void *map_at(int fd, size_t bytes, int protection, size_t offset)
{
	void *memory = mmap(NULL, bytes, protection, MAP_SHARED, fd, (off_t)offset);

	return memory == MAP_FAILED ? NULL : memory;
}

static bool map_ring(struct ring *ring, size_t page)
{
	struct bpf_map *events = bpf_object__find_map_by_name(ring->object, "events");
	struct bpf_map *variables = bpf_object__find_map_by_name(ring->object, ".bss");
	struct hg_ring_reader *r = &ring->reader;

	if (!events || !variables)
		return false;
	ring->fd = bpf_map__fd(events);
	r->size = bpf_map__max_entries(events);
	r->lost = map_at(bpf_map__fd(variables), page, PROT_READ, 0);
	r->consumer = map_at(ring->fd, page, PROT_READ | PROT_WRITE, 0);
	r->producer = map_at(ring->fd, page + 2 * r->size, PROT_READ, page);
	r->data = (const uint8_t *)r->producer + page;
	return r->lost && r->consumer && r->producer;
}

/* In place of the filter that is there, if there is one. */
static bool attach(const struct ring *ring, int fd)
{
	struct bpf_program *program = bpf_object__find_program_by_name(ring->object, "copy_events");
	int program_fd = program ? bpf_program__fd(program) : -1;

	return program_fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &program_fd, sizeof(program_fd)) == 0;
}

/* False: all is as before. */
static bool open_ring(const struct event_ring *events, struct ring *ring, size_t bytes)
{
	ring->object = bpf_object__open_mem(events->object, events->length, NULL);
	if (ring->object && load(events, ring, bytes) && map_ring(ring, events->page) && attach(ring, events->socket))
		return true;
	close_ring(ring, events->page);
	return false;
}

static long membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

/* Has the kernel write to a ring twice as large. Once the barrier is over, which is a synchronize_rcu() (membarrier(2)), nobody writes
 * to the old one any more: it is read to its end first, so that all events stay in their order. With one processor alone the
 * kernel takes it for done: a writer who was preempted in the filter would have an event lost, and not counted. */
static void grow(struct event_ring *events)
{
	size_t bytes = 2 * events->now.reader.size;
	/* Negative, or without it: nohz_full. */
	long known = membarrier(MEMBARRIER_CMD_QUERY);

	if (bytes > events->most)
		return;
	if (known < 0 || !(known & MEMBARRIER_CMD_GLOBAL) || !open_ring(events, &events->larger, bytes))
		events->most = 0;
	else
		membarrier(MEMBARRIER_CMD_GLOBAL);
}

static void use(struct event_ring *events, struct ring ring)
{
	events->now = ring;
	events->feed.fd = ring.fd;
	atomic_store(&events->feed.bytes, (uint32_t)ring.reader.size);
}

static int read_feed(struct hg_feed *feed, struct hg_source *source, bool *left)
{
	struct event_ring *events = (struct event_ring *)feed;
	uint64_t told = events->now.reader.told;
	int status = hg_ring_read(&events->now.reader, source, left);

	if (status == 0 && events->now.reader.told != told && !events->larger.object) {
		grow(events);
		status = hg_ring_read(&events->now.reader, source, left);
	}
	/* Nobody is woken any more by the old one: what is empty now is left now. */
	if (status == 0 && events->larger.object && !*left) {
		close_ring(&events->now, events->page);
		use(events, events->larger);
		events->larger = (struct ring){ 0 };
		status = hg_ring_read(&events->now.reader, source, left);
	}
	return status;
}

static void close_feed(struct hg_feed *feed)
{
	struct event_ring *events = (struct event_ring *)feed;

	close_ring(&events->now, events->page);
	close_ring(&events->larger, events->page);
	free(events->object);
	free(events);
}

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level, (void)format, (void)args;
	return 0;
}

static bool read_file(struct event_ring *events, const char *path)
{
	FILE *file = fopen(path, "re");
	long length = file && !fseek(file, 0, SEEK_END) ? ftell(file) : -1;

	if (length > 0 && (events->object = malloc((size_t)length))) {
		rewind(file);
		events->length = fread(events->object, 1, (size_t)length, file);
	}
	if (file)
		fclose(file);
	return length > 0 && events->length == (size_t)length;
}

struct hg_feed *hg_event_ring_open(int fd, const char *object, uint32_t bytes, uint32_t most, bool no_loopback)
{
	struct event_ring *events = calloc(1, sizeof(*events));
	struct ring ring = { 0 };
	size_t size;

	if (!events)
		return NULL;
	libbpf_set_print(silent);
	size = events->page = (size_t)sysconf(_SC_PAGESIZE);
	while (size < bytes && size < MOST_BYTES)
		size *= 2;
	events->feed.read = read_feed;
	events->feed.close = close_feed;
	events->socket = fd;
	events->most = most < MOST_BYTES ? most : MOST_BYTES;
	events->no_loopback = no_loopback;
	if (read_file(events, object) && open_ring(events, &ring, size)) {
		use(events, ring);
		return &events->feed;
	}
	close_feed(&events->feed);
	return NULL;
}
