/* SPDX-License-Identifier: MIT
 * A source from the inside: what conntrack, dump, packets and links plug into. */
#ifndef HEADGATE_SOURCE_H
#define HEADGATE_SOURCE_H

#include <stdatomic.h>

#include "internal.h"

#define HG_SOURCE_END 1

/* All run on the source's thread. They return 0 to go on, HG_SOURCE_END at a good end, -errno at a bad one,
 * which becomes a record of kind HG_FAILED. */
struct hg_source_ops {
	uint32_t record_size;
	/* Once, before the first read; may be NULL. */
	int (*start)(struct hg_source *source, void *state);
	/* Packs one message into a record that is zeroed but for its time, and sets its kind; false: there is nothing in it. */
	bool (*parse)(void *record, const struct nlmsghdr *message);
	/* In place of `parse`, where a message is more than a record. */
	int (*receive)(struct hg_source *source, void *state, const void *datagram, size_t length);
	/* After a record of kind HG_OVERRUN; may be NULL. */
	int (*overrun)(struct hg_source *source, void *state);
};

/* Another way than the socket for messages to come: the thread waits for both, and reads this first. */
struct hg_feed {
	int fd; /* for poll(2), until the next read */
	atomic_uint bytes; /* that it holds at most, now */
	/* Hands some messages on (hg_source_receive), not all at once, and says whether some are left. 0 or -errno. */
	int (*read)(struct hg_feed *feed, struct hg_source *source, bool *left);
	void (*close)(struct hg_feed *feed);
};

/* Starts a thread that reads `fd`. Takes fd and state (free(3)), also when it fails. */
struct hg_source *hg_source_start(const struct hg_source_ops *ops, void *state, int fd, uint32_t ring,
				  struct hg_error *error);
/* The same with a feed, which it takes likewise, and which may be NULL. */
struct hg_source *hg_source_start_fed(const struct hg_source_ops *ops, void *state, int fd, struct hg_feed *feed,
				      uint32_t ring, struct hg_error *error);
/* What a feed calls: a message has come; so many have been lost up to here. */
int hg_source_receive(struct hg_source *source, const void *datagram, size_t length);
void hg_source_lost(struct hg_source *source, uint32_t count);
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
