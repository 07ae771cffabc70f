/* SPDX-License-Identifier: MIT
 * What copy-events.bpf.c and its reader agree on. */
#ifndef HEADGATE_COPY_EVENTS_H
#define HEADGATE_COPY_EVENTS_H

#include <linux/types.h>

/* Longer ones count as lost. ctnetlink_conntrack_event() makes at most some 800 bytes, with a security context and all. */
#define COPY_MOST_BYTES 2040

/* A record of the ring. */
struct copied_event {
	__u32 length; /* of the netlink message */
	__u32 pad;
	__u8 message[];
};

#endif
