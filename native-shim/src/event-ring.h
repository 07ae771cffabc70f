/* SPDX-License-Identifier: MIT
 * Conntrack events by a ring that the kernel copies them into, in place of the socket's queue. */
#ifndef HEADGATE_EVENT_RING_H
#define HEADGATE_EVENT_RING_H

#include "source.h"

/* Has a filter copy what comes to a socket into a ring (bpf/copy-events.bpf.c, built, at `object`). From then on the
 * socket itself gets nothing: attach it before the first group is joined. NULL where that cannot be done, for want of CAP_BPF
 * or of a kernel from 5.8 on; then nothing has changed. The ring has `bytes`, rounded up to a power of two and whole pages;
 * with each loss it doubles, up to `most` and 32 MiB. */
struct hg_feed *hg_event_ring_open(int fd, const char *object, uint32_t bytes, uint32_t most, bool no_loopback);

/* The reader alone, of a ring that is there already: the tests make one in memory. */
struct hg_ring_reader {
	const uint8_t *data; /* mapped twice, one behind the other, so that no record is cut in two */
	size_t size;	     /* a power of two */
	unsigned long *consumer;
	const unsigned long *producer;
	const uint64_t *lost; /* events that found no room */
	uint64_t told;	      /* how many of them have been said */
	bool owing;	      /* some more are to be said when all before `behind` has been read, and how many there were then */
	unsigned long behind;
	uint64_t owed;
};

/* Hands some of what is in the ring to the source, and says whether some is left. 0, or what the source says. */
int hg_ring_read(struct hg_ring_reader *reader, struct hg_source *source, bool *left);

#endif
