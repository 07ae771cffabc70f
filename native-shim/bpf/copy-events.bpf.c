// SPDX-License-Identifier: MIT
/*
 * A socket filter that copies conntrack events into a ring and keeps the socket empty (docs/decisions/0049): nothing is queued,
 * charged and freed message by message, and the reader is woken once for all that have come meanwhile.
 *
 * What finds no room in the ring is counted in `lost`, behind which the reader looks at the whole table, as it does when a
 * socket overruns. Linux 5.8 and later; the reader: src/event-ring.c.
 */
#include <linux/bpf.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "copy-events.h"

#define KEEP_NOTHING 0
#define AF_INET 2
#define AF_INET6 10

/* Where an event has its family, and the first address of its original tuple, the source: src/filter.c. */
#define FAMILY 16
#define SOURCE_TYPE 30
#define SOURCE 32

const volatile bool no_loopback = false;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20); /* the loader sets it */
} events SEC(".maps");

__u64 lost;

static __always_inline bool is_loopback(struct __sk_buff *skb)
{
	__u8 family, address[16];
	__u16 type;

	if (bpf_skb_load_bytes(skb, FAMILY, &family, sizeof(family)) ||
	    bpf_skb_load_bytes(skb, SOURCE_TYPE, &type, sizeof(type)))
		return false;
	if (family == AF_INET && type == CTA_IP_V4_SRC)
		return !bpf_skb_load_bytes(skb, SOURCE, address, 1) && address[0] == 127;
	if (family != AF_INET6 || type != CTA_IP_V6_SRC || bpf_skb_load_bytes(skb, SOURCE, address, sizeof(address)))
		return false;
#pragma unroll
	for (int i = 0; i < 15; i++)
		if (address[i])
			return false;
	return address[15] == 1;
}

/* The verifier wants to know sizes beforehand, so there are a few. */
static __always_inline void copy(struct __sk_buff *skb, __u32 length, const __u32 room)
{
	struct copied_event *event = bpf_ringbuf_reserve(&events, sizeof(*event) + room, 0);
	__u64 last;

	if (!event) {
		__sync_fetch_and_add(&lost, 1);
		return;
	}
	event->length = length;
	/* The barrier keeps the compiler from joining this with the addition below: the verifier then sees 1 to room bytes. */
	last = length - 1;
	barrier_var(last);
	if (last >= room || bpf_skb_load_bytes(skb, 0, event->message, last + 1)) {
		__sync_fetch_and_add(&lost, 1);
		bpf_ringbuf_discard(event, 0);
		return;
	}
	bpf_ringbuf_submit(event, 0);
}

SEC("socket")
int copy_events(struct __sk_buff *skb)
{
	__u32 length = skb->len;

	if (no_loopback && is_loopback(skb))
		return KEEP_NOTHING;
	if (length <= 248) /* IPv4 without much else */
		copy(skb, length, 248);
	else if (length <= 504)
		copy(skb, length, 504);
	else
		copy(skb, length, COPY_MOST_BYTES);
	return KEEP_NOTHING;
}

char _license[] SEC("license") = "Dual MIT/GPL";
