/* SPDX-License-Identifier: MIT
 *
 * The shim's whole face: what TypeScript sees of the kernel's sockets.
 *
 * A *source* is one kernel socket, one thread that reads it, and one bounded ring of fixed-size records.
 * The thread never calls JavaScript. It rings a doorbell (a byte in a pipe) when records wait; the owner then
 * calls hg_source_take(), which copies them into a buffer that the owner has allocated.
 * When the ring is full the thread stops reading: the kernel's socket buffer fills, and what is lost there
 * arrives later as a record of kind HG_OVERRUN. A dump, which the kernel makes on demand, just pauses.
 *
 * Numbers are in host byte order, addresses are bytes in network order with an IPv4 address in the first
 * four of sixteen and zeros behind it. Times are nanoseconds of CLOCK_REALTIME; 0 where the kernel gave none.
 */
#ifndef HEADGATE_H
#define HEADGATE_H

#include <stdint.h>

#define HG_ABI 8 /* changes with every change of a record or a function; hg_abi() returns it */

/* What happened, where, and the kernel's own words for it (extended ACK), when it said any. */
struct hg_error {
	int32_t code;  /* errno, positive; 0: no error */
	char what[60]; /* the call that failed: "bind", "setns", ... */
	char text[192];
};

enum hg_kind {
	HG_NEW = 1,        /* conntrack: IPCTNL_MSG_CT_NEW with NLM_F_CREATE */
	HG_UPDATE = 2,     /* conntrack: IPCTNL_MSG_CT_NEW without */
	HG_DESTROY = 3,    /* conntrack: IPCTNL_MSG_CT_DELETE */
	HG_DUMPED = 4,     /* conntrack: one entry of a dump */
	HG_DUMP_START = 5, /* head.count: number of the attempt, from 1; what an earlier attempt said still holds or is said again */
	HG_DUMP_END = 6,   /* the source has ended; head.count: attempts made; flag HG_F_INTERRUPTED if the last one was, too */
	HG_PACKET = 7,     /* NFLOG: a sampled packet */
	HG_LINK = 8,       /* rtnetlink: a link as it is now */
	HG_LINK_GONE = 9,
	HG_ADDRESS = 10,
	HG_ADDRESS_GONE = 11,
	HG_ROUTE = 12, /* main table, unicast */
	HG_ROUTE_GONE = 13,
	HG_PAYLOAD = 14, /* NFLOG: what a packet carries */
	HG_TC_GONE = 15,    /* rtnetlink: a qdisc, class, filter or chain of a device has been removed or replaced */
	HG_TABLE_GONE = 16, /* nftables: a table, or something in it but the elements of its sets, has been removed */
	/* The kernel dropped messages for this socket; head.count: how many, where it copies them into a ring, else how often it
	 * said so (ENOBUFS). It stands where the
	 * loss was: behind it nothing is missing, so that a dump begun now makes good what is missing before it. */
	HG_OVERRUN = 32,
	HG_FAILED = 33,  /* the source has ended; head.count: errno */
};

enum hg_flag { /* which optional fields of a record hold something */
	HG_F_COUNTERS = 1 << 0,
	HG_F_START = 1 << 1,
	HG_F_STOP = 1 << 2,
	HG_F_MARK = 1 << 3,
	HG_F_TIMEOUT = 1 << 4,
	HG_F_TCP_STATE = 1 << 5,
	HG_F_INTERRUPTED = 1 << 7,
	HG_F_PORTS = 1 << 8,
	HG_F_ICMP = 1 << 9,
	HG_F_FRAGMENT = 1 << 10, /* packet: a fragment after the first, so no ports */
	HG_F_STATUS = 1 << 11,
	HG_F_MAC = 1 << 12,
	HG_F_HELPER = 1 << 13,
};

struct hg_head { /* 16 bytes, first in every record */
	uint16_t kind;
	uint16_t flags;
	uint32_t count;
	uint64_t time_ns; /* when the shim received it */
};

struct hg_tuple { /* 40 bytes */
	uint8_t src[16], dst[16];
	uint16_t src_port, dst_port; /* TCP, UDP, SCTP, DCCP, UDPLITE; of GRE its keys, without HG_F_PORTS */
	uint16_t icmp_id;
	uint8_t icmp_type, icmp_code; /* ICMP and ICMPv6 */
};

struct hg_flow { /* 184 bytes; zone to original is the flow's identity, 44 bytes in one piece */
	struct hg_head head;
	uint32_t id; /* CTA_ID: reused by the kernel, and not unique in a large table */
	uint32_t status; /* IPS_* of linux/netfilter/nf_conntrack_common.h */
	uint32_t mark;
	uint32_t timeout; /* seconds */
	uint64_t start_ns, stop_ns;
	uint64_t original_packets, original_bytes, reply_packets, reply_bytes;
	uint16_t zone;
	uint8_t family;   /* AF_INET or AF_INET6 */
	uint8_t protocol; /* IPPROTO_* */
	struct hg_tuple original;
	struct hg_tuple reply;
	uint8_t tcp_state; /* TCP_CONNTRACK_* */
	char helper[16];   /* its conntrack helper's name, padded with NUL (NF_CT_HELPER_NAME_LEN) */
	uint8_t pad[3];
};

struct hg_packet { /* 96 bytes */
	struct hg_head head; /* time_ns: the packet's own time stamp where it has one */
	uint32_t mark;
	uint32_t in_ifindex, out_ifindex;
	uint32_t length; /* of the packet from its network header, as that header says */
	uint16_t group;  /* NFLOG group */
	uint16_t ethertype;
	uint8_t hook; /* NF_INET_* */
	uint8_t family, protocol;
	uint8_t dscp;      /* 0..63 */
	uint8_t hop_limit; /* or TTL */
	uint8_t tcp_flags;
	uint8_t mac[6]; /* source, where the device has one */
	struct hg_tuple tuple;
	char prefix[8]; /* start of the rule's log prefix, padded with NUL */
};

#define HG_PAYLOAD_BYTES 4096

struct hg_payload { /* 4176 bytes */
	struct hg_head head;
	struct hg_tuple tuple;
	uint32_t sequence; /* of TCP: number of the first byte */
	uint32_t size;     /* bytes that the packet carries behind its UDP or TCP header */
	uint32_t length;   /* how many of them are here */
	uint16_t group;    /* NFLOG group */
	uint8_t family, protocol;
	uint8_t tcp_flags;
	uint8_t pad[7];
	uint8_t data[HG_PAYLOAD_BYTES];
};

struct hg_link { /* 72 bytes: link, address, route, or what is gone */
	struct hg_head head;
	uint32_t ifindex; /* of a route: its output device, 0 where there is none or several */
	uint32_t flags;   /* IFF_* of a link, IFA_F_* of an address */
	uint32_t mtu;
	uint16_t type; /* ARPHRD_* of a link */
	uint8_t family;
	uint8_t prefix_length;
	uint8_t address[16]; /* of an address, or a route's destination */
	char name[16];       /* of a link; of a table, cut off behind 15 bytes */
	uint32_t table;      /* of a route */
	uint32_t pad;
};

struct hg_mark_request { /* 52 bytes */
	uint16_t zone;
	uint8_t family;
	uint8_t protocol;
	struct hg_tuple original;
	uint32_t mark;
	uint32_t mask; /* only these bits change: new = (old & ~mask) | (mark & mask) */
};

struct hg_socket_query { /* 40 bytes: a socket of TCP or UDP, as it sees its ends */
	uint8_t family;
	uint8_t protocol;
	uint16_t pad;
	uint16_t local_port, remote_port;
	uint8_t local[16], remote[16];
};

struct hg_socket { /* 24 bytes */
	int32_t status; /* 0 found, -ENOENT none, other -errno */
	uint32_t uid;   /* who made it */
	uint32_t inode; /* of sockfs: /proc/PID/fd */
	uint32_t pad;
	uint64_t cgroup; /* cgroup2's id, of who made it; 0 where the kernel does not say */
};

struct hg_tc_stat { /* 96 bytes: one qdisc or one class */
	uint32_t handle; /* major << 16 | minor */
	uint32_t parent; /* 0xffffffff: root, 0xfffffff1: ingress or clsact */
	uint32_t is_class;
	uint32_t drops, overlimits, qlen, backlog; /* backlog in bytes, qlen in packets */
	uint32_t pad;
	uint64_t bytes, packets;
	uint64_t rate, ceil; /* of an HTB class, bytes a second; else 0 */
	char kind[32]; /* "htb", "bfifo", ... */
};

struct hg_source_stats {
	uint64_t records;  /* put into the ring so far */
	uint64_t overruns; /* ENOBUFS seen so far; with a ring: events that found no room in the kernel's ring */
	uint64_t ring_full; /* times the thread had to wait for the owner */
	uint32_t receive_buffer; /* SO_RCVBUF as the kernel reports it: twice what it grants */
	uint32_t waiting; /* records in the ring now */
	uint32_t ring_bytes; /* of the ring that the kernel copies events into; 0: it queues them at the socket */
	uint32_t pad;
};

struct hg_source;
struct hg_marks;
struct hg_sockets;

uint32_t hg_abi(void);

/* All open functions: `netns` is a path such as /run/netns/box, or NULL for the caller's own.
 * `receive_buffer` in bytes (SO_RCVBUFFORCE, or SO_RCVBUF where that is not allowed), 0: the system's default.
 * `ring` in records, rounded up to a power of two, at least 64.
 * They return NULL and fill *error when they fail, and then nothing is left open. */

#define HG_GROUP_NEW 1
#define HG_GROUP_UPDATE 2
#define HG_GROUP_DESTROY 4
/* Leaves flows between loopback addresses out, in the kernel. */
#define HG_NO_LOOPBACK 16
/* Follows conntrack events. groups: HG_GROUP_*, and HG_NO_LOOPBACK. With every overrun the receive buffer doubles, up to
 * `most_buffer`. `copier`: path of copy-events.bpf.o, which has the kernel copy events into a ring of `receive_buffer` bytes,
 * that grows likewise, up to 32 MiB; without it (NULL), or where it cannot be loaded (CAP_BPF, Linux 5.8), they come by the socket.
 * Records: struct hg_flow. */
struct hg_source *hg_conntrack_open(const char *netns, uint32_t groups, uint32_t receive_buffer, uint32_t most_buffer,
				    const char *copier, uint32_t ring, struct hg_error *error);

/* Dumps the conntrack table on a socket of its own: HG_DUMP_START, HG_DUMPED..., HG_DUMP_END. An interrupted dump
 * (NLM_F_DUMP_INTR) is begun again, at most `attempts` times in all. Where mask is not 0 the kernel sends only
 * entries with (mark & mask) == mark given; likewise with all bits of status (IPS_*), where that is not 0 (Linux 5.18;
 * earlier ones send all). family: AF_INET, AF_INET6 or AF_UNSPEC. Records: struct hg_flow. */
struct hg_source *hg_conntrack_dump(const char *netns, uint8_t family, uint32_t mark, uint32_t mask, uint32_t status,
				    uint32_t attempts, uint32_t ring, struct hg_error *error);

/* Receives packets that nft `log group GROUP` or NFLOG sends up; copies at most 192 bytes of each. Records: struct hg_packet. */
struct hg_source *hg_packets_open(const char *netns, uint16_t group, uint32_t receive_buffer, uint32_t ring,
				  struct hg_error *error);

/* The same with what the packets carry behind their UDP or TCP header, at most HG_PAYLOAD_BYTES; others are passed over,
 * and those that carry nothing. Records: struct hg_payload. */
struct hg_source *hg_payloads_open(const char *netns, uint16_t group, uint32_t receive_buffer, uint32_t ring,
				   struct hg_error *error);

/* Tells what links, addresses and main-table routes there are, between HG_DUMP_START and HG_DUMP_END, and follows
 * them, and what tc loses. After an overrun, or where the kernel calls its answer interrupted, it tells everything again: what was
 * known at HG_DUMP_START and is not told by HG_DUMP_END is gone. Records: struct hg_link. */
struct hg_source *hg_links_open(const char *netns, uint32_t ring, struct hg_error *error);

/* Follows what nftables loses: HG_TABLE_GONE, with the table's name and family (NFPROTO_*). Records: struct hg_link. */
struct hg_source *hg_tables_open(const char *netns, uint32_t ring, struct hg_error *error);

/* The doorbell's read end: non-blocking, and the caller's to close. One byte or more means records wait. */
int32_t hg_source_doorbell(struct hg_source *);
/* Moves at most `max` records into `records`, oldest first; returns how many. Never blocks. After the doorbell, take
 * until fewer than `max` come: it does not ring for records that were there already. */
int32_t hg_source_take(struct hg_source *, void *records, uint32_t max);
void hg_source_get_stats(struct hg_source *, struct hg_source_stats *);
/* Stops the thread, closes the socket, frees everything but the doorbell's read end. */
void hg_source_close(struct hg_source *);

struct hg_marks *hg_marks_open(const char *netns, struct hg_error *error);
/* Writes marks in as few sends as fit. results[i]: 0 written, -ENOENT flow gone (no error), other -errno; -ENOBUFS:
 * it is not known, for the kernel's answer was lost. Returns 0, -ENOBUFS where a result is, or -errno when the socket
 * itself failed (results not filled are then set to that). */
int32_t hg_marks_write(struct hg_marks *, const struct hg_mark_request *requests, uint32_t count, int32_t *results);
void hg_marks_close(struct hg_marks *);

struct hg_sockets *hg_sockets_open(const char *netns, struct hg_error *error);
/* Looks up which socket each packet would come to (sock_diag(7)): a connected one, else one that listens, or is bound to
 * the port; also while a connection is not accepted yet, the one that listens. Returns 0, or -errno where the netlink socket failed; the results behind that are not filled. */
int32_t hg_sockets_find(struct hg_sockets *, const struct hg_socket_query *queries, uint32_t count,
			struct hg_socket *results);
void hg_sockets_close(struct hg_sockets *);

/* Reads statistics of every qdisc and class of a device; returns how many there are (may exceed max), or -errno. */
int32_t hg_tc_stats(const char *netns, uint32_t ifindex, struct hg_tc_stat *stats, uint32_t max, struct hg_error *error);

/* Removes a filter at a device's ingress hook in chain 0, protocol all: `tc filter del dev D ingress protocol all pref N handle H
 * KIND`, in microseconds; with handle 0 all of that preference. Returns 0 or -errno: -ENOENT where there is none, -EINVAL where
 * what is there is of another kind. */
int32_t hg_filter_del(const char *netns, uint32_t ifindex, uint16_t pref, const char *kind, uint32_t handle,
		      struct hg_error *error);

/* Sums, over all processors, the values of the per-cpu array map `map` (8-byte values) that program prog_id uses.
 * Returns how many values the map has (may exceed max), or -errno. */
int32_t hg_bpf_counters(uint32_t prog_id, const char *map, uint64_t *values, uint32_t max, struct hg_error *error);

/* Reads and writes the one value (8 bytes) of the array map `map` that program prog_id uses. Returns 0 or -errno: -ENOENT where
 * there is no such program, or it uses no such map. */
int32_t hg_bpf_get(uint32_t prog_id, const char *map, uint64_t *value);
int32_t hg_bpf_set(uint32_t prog_id, const char *map, uint64_t value);

/* Takes the exclusive lock of an open file, flock(2), which ends with the last descriptor of it, so with the process
 * however that ends. Returns 0, -EWOULDBLOCK where another holds it, or -errno. */
int32_t hg_lock(int32_t fd);

/* Who connected a unix stream socket, as of connect(2) (SO_PEERCRED, SO_PEERGROUPS): process id, user id, group id and
 * the supplementary groups, into ids. Returns how many that are, or -errno: -ERANGE where max is too small. */
int32_t hg_peer(int32_t fd, uint32_t *ids, uint32_t max);

/* Sends one datagram to the unix socket at a path, in the abstract namespace where that begins with '@': sd_notify(3).
 * Never waits. Returns 0 or -errno. */
int32_t hg_notify(const char *path, const char *text);

/* Becomes another program (execve(2), with the environment as it is) that has the capabilities `keep` (a bit mask) at
 * most, and that can gain none (PR_SET_NO_NEW_PRIVS); it has descriptors 0 to 2. Capabilities belong to threads, and the caller has many; only a
 * new program begins with one. argv ends with NULL. Needs CAP_SETPCAP where the bounding set holds more than `keep`.
 * Returns -errno where it could not be; the calling thread's bounding set may be smaller then. */
int32_t hg_exec_with(uint64_t keep, const char *path, const char *const *argv, struct hg_error *error);

/* What adjtimex(2) says of the clock: TIME_OK (0) to TIME_WAIT where it is synchronised, TIME_ERROR (5) where not; or -errno. */
int32_t hg_clock_state(void);

#endif
