// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../bpf/copy-events.h"
#include "event-ring.h"

#define ROUND 512 /* records read before the doorbell has its turn */
#define FREED 64  /* records read before the kernel is told of the room */
#define MOST_BYTES (64u << 20)

struct event_ring {
	struct hg_feed feed; /* first: the source knows this alone */
	struct hg_ring_reader reader;
	struct bpf_object *object;
	size_t page;
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

static int read_feed(struct hg_feed *feed, struct hg_source *source, bool *left)
{
	return hg_ring_read(&((struct event_ring *)feed)->reader, source, left);
}

static void unmap(const void *memory, size_t bytes)
{
	if (memory)
		munmap((void *)(uintptr_t)memory, bytes);
}

static void close_feed(struct hg_feed *feed)
{
	struct event_ring *ring = (struct event_ring *)feed;

	unmap(ring->reader.lost, ring->page);
	unmap(ring->reader.consumer, ring->page);
	unmap(ring->reader.producer, ring->page + 2 * ring->reader.size);
	bpf_object__close(ring->object);
	free(ring);
}

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level, (void)format, (void)args;
	return 0;
}

static bool load(const struct event_ring *ring, uint32_t bytes, bool no_loopback)
{
	struct bpf_map *constants = bpf_object__find_map_by_name(ring->object, ".rodata");
	struct bpf_map *events = bpf_object__find_map_by_name(ring->object, "events");
	uint32_t size = (uint32_t)ring->page;

	while (size < bytes && size < MOST_BYTES)
		size *= 2;
	return constants && events && bpf_map__set_max_entries(events, size) == 0 &&
	       bpf_map__set_initial_value(constants, &no_loopback, sizeof(no_loopback)) == 0 &&
	       bpf_object__load(ring->object) == 0;
}

static void *map_at(int fd, size_t bytes, int protection, size_t offset)
{
	void *memory = mmap(NULL, bytes, protection, MAP_SHARED, fd, (off_t)offset);

	return memory == MAP_FAILED ? NULL : memory;
}

static bool map_ring(struct event_ring *ring)
{
	struct bpf_map *events = bpf_object__find_map_by_name(ring->object, "events");
	struct bpf_map *variables = bpf_object__find_map_by_name(ring->object, ".bss");
	struct hg_ring_reader *r = &ring->reader;

	if (!events || !variables)
		return false;
	ring->feed.fd = bpf_map__fd(events);
	r->size = bpf_map__max_entries(events);
	r->lost = map_at(bpf_map__fd(variables), ring->page, PROT_READ, 0);
	r->consumer = map_at(ring->feed.fd, ring->page, PROT_READ | PROT_WRITE, 0);
	r->producer = map_at(ring->feed.fd, ring->page + 2 * r->size, PROT_READ, ring->page);
	r->data = (const uint8_t *)r->producer + ring->page;
	return r->lost && r->consumer && r->producer;
}

static bool attach(struct event_ring *ring, int fd)
{
	struct bpf_program *program = bpf_object__find_program_by_name(ring->object, "copy_events");
	int program_fd = program ? bpf_program__fd(program) : -1;

	return program_fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &program_fd, sizeof(program_fd)) == 0;
}

struct hg_feed *hg_event_ring_open(int fd, const char *object, uint32_t bytes, bool no_loopback)
{
	struct event_ring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		return NULL;
	libbpf_set_print(silent);
	ring->page = (size_t)sysconf(_SC_PAGESIZE);
	ring->feed.read = read_feed;
	ring->feed.close = close_feed;
	ring->object = bpf_object__open_file(object, NULL);
	if (ring->object && load(ring, bytes, no_loopback) && map_ring(ring) && attach(ring, fd))
		return &ring->feed;
	close_feed(&ring->feed);
	return NULL;
}
