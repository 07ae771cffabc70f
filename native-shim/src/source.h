/* SPDX-License-Identifier: MIT
 * A source from the inside: what conntrack, dump, packets and links plug into. */
#ifndef HEADGATE_SOURCE_H
#define HEADGATE_SOURCE_H

#include "internal.h"

#define HG_SOURCE_END 1

/* All run on the source's thread. They return 0 to go on, HG_SOURCE_END at a good end, -errno at a bad one,
 * which becomes a record of kind HG_FAILED. */
struct hg_source_ops {
	uint32_t record_size;
	/* Once, before the first read; may be NULL. */
	int (*start)(struct hg_source *source, void *state);
	int (*receive)(struct hg_source *source, void *state, const void *datagram, size_t length);
	/* After a record of kind HG_OVERRUN; may be NULL. */
	int (*overrun)(struct hg_source *source, void *state);
};

/* Starts a thread that reads `fd`. Takes fd and state (free(3)), also when it fails. */
struct hg_source *hg_source_start(const struct hg_source_ops *ops, void *state, int fd, uint32_t ring,
				  struct hg_error *error);
/* Has the socket's receive buffer double with every overrun, as long as it holds at most so many bytes. */
void hg_source_let_grow(struct hg_source *source, uint32_t bytes);
int hg_source_fd(const struct hg_source *source);
/* The next record of the ring: zeroed, with kind and time. Waits for room. NULL: the source is closing. */
void *hg_source_put(struct hg_source *source, uint16_t kind);
/* Gives the record that hg_source_put() returned to the owner. One that is not committed is used again. */
void hg_source_commit(struct hg_source *source);
/* Puts and commits a record that has a head only. */
void hg_source_say(struct hg_source *source, uint16_t kind, uint16_t flags, uint32_t count);

#endif
