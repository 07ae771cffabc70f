/* SPDX-License-Identifier: MIT
 * What the shim's own files share. */
#ifndef HEADGATE_INTERNAL_H
#define HEADGATE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <libmnl/libmnl.h>

#include "headgate.h"

#define HG_EXPORT __attribute__((visibility("default")))

/* error.c */

/* Fills *error, which may be NULL; text may be NULL. Returns -code. */
int hg_fail(struct hg_error *error, int code, const char *what, const char *text);

/* netlink.c */

/* Opens a bound netlink socket in a network namespace (a path, NULL: ours). Returns it, or -errno. */
int hg_netlink_open(const char *netns, int protocol, uint32_t receive_buffer, struct hg_error *error);
/* Has the socket hold that many bytes of what has not been read: beyond net.core.rmem_max where we may. */
void hg_netlink_set_room(int fd, int bytes);
int hg_netlink_join(int fd, unsigned int group, struct hg_error *error);
int hg_netlink_send(int fd, const struct nlmsghdr *request);
/* Sends a request and hands every answer to `answer` until the acknowledgement or the end of the dump.
 * Returns 0, 1 where the kernel called the dump interrupted, or -errno. */
int hg_netlink_ask(int fd, struct nlmsghdr *request, mnl_cb_t answer, void *data, const char *what,
		   struct hg_error *error);
/* The number that a NLMSG_ERROR or NLMSG_DONE carries: 0 or -errno; -EBADMSG where it is cut off. */
int hg_netlink_status(const struct nlmsghdr *message);

/* conntrack.c */

/* A netlink socket that the kernel's ctnetlink has answered on once, so that it is loaded and allowed. */
int hg_conntrack_socket(const char *netns, uint32_t receive_buffer, struct hg_error *error);
/* Packs an entry from a ctnetlink message into flow, which is zeroed but for its head; sets head.kind where it is 0.
 * Returns false, with flow undefined, for a message without both whole tuples. */
bool hg_flow_parse(struct hg_flow *flow, const struct nlmsghdr *message);

/* filter.c */

/* Has the kernel keep from a socket events of flows whose source is a loopback address: no such flow crosses a link.
 * Messages that do not look as expected pass. Returns 0 or -errno. */
int hg_filter_loopback(int fd, struct hg_error *error);

/* packets.c */

bool hg_packet_parse(struct hg_packet *packet, const struct nlmsghdr *message);
/* Reads the header fields of an IP packet of which the first `length` bytes are here. Returns where the header behind
 * IP's begins; 0 where there is none, or it is not here. */
size_t hg_packet_read(struct hg_packet *packet, const uint8_t *data, size_t length);
/* A netlink socket that is the one listener of a log group; it gets at most that much of each packet. Or -errno. */
int hg_log_open(const char *netns, uint16_t group, uint32_t copy_bytes, uint32_t receive_buffer, struct hg_error *error);

/* payloads.c */

bool hg_payload_parse(struct hg_payload *payload, const struct nlmsghdr *message);

/* sockets.c */

/* Builds the request for one socket at `buffer`, which has room for HG_SOCKET_BYTES. */
#define HG_SOCKET_BYTES 128
struct nlmsghdr *hg_socket_build(void *buffer, const struct hg_socket_query *query);
/* Packs what the kernel says of a socket; false for a message that says nothing. */
bool hg_socket_parse(struct hg_socket *found, const struct nlmsghdr *message);

/* links.c */

/* Packs a link, an address, a unicast route of the main table, or what tc has lost; false for anything else. */
bool hg_link_parse(struct hg_link *link, const struct nlmsghdr *message);

/* tables.c */

/* Packs what nftables has lost; false for anything else. */
bool hg_table_parse(struct hg_link *table, const struct nlmsghdr *message);

/* marks.c */

/* Builds one request at `buffer`, which has room for HG_MARK_BYTES. */
#define HG_MARK_BYTES 192
struct nlmsghdr *hg_mark_build(void *buffer, const struct hg_mark_request *request, uint32_t sequence);

/* tc.c */

bool hg_tc_parse(struct hg_tc_stat *stat, uint32_t ifindex, const struct nlmsghdr *message);

/* mnl_nlmsg_ok() compares lengths as signed numbers, and believes a message of 3 GiB. */
static inline bool hg_message_ok(const struct nlmsghdr *message, int left)
{
	return mnl_nlmsg_ok(message, left) && message->nlmsg_len <= (uint32_t)left;
}

/* The payload of an attribute that holds at least `size` bytes, or NULL; attr may be NULL. Not libmnl's functions, here and in
 * hg_attrs(): a hundred calls into a library for each event were half of what reading it cost. */
static inline const void *hg_attr(const struct nlattr *attr, size_t size)
{
	return attr && attr->nla_len >= NLA_HDRLEN + size ? (const uint8_t *)attr + NLA_HDRLEN : NULL;
}

/* What an attribute of four bytes holds, as it stands there; 0 where it is absent or cut off. */
static inline uint32_t hg_attr_u32(const struct nlattr *attr)
{
	const void *field = hg_attr(attr, sizeof(uint32_t));
	uint32_t value = 0;

	if (field)
		memcpy(&value, field, sizeof(value));
	return value;
}

/* Copies text up to its NUL, at most `size` bytes of it, and writes no NUL itself; attr may be NULL. */
void hg_attr_text(char *out, size_t size, const struct nlattr *attr);

/* Sorts attributes into table[0..max] by type; unknown and cut off ones are left out. Later ones win. */
void hg_attrs(const struct nlattr **table, uint16_t max, const void *data, size_t length);

#endif
