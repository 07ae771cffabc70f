// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

/* Requests in one send. An answer takes about 1 KiB of the socket's buffer, and the kernel drops those that find no
 * room: RECEIVE_BUFFER holds four times as many as there can be. */
#define BATCH 128
#define RECEIVE_BUFFER (512u << 10)
#define ANSWER_BYTES 4096

struct hg_marks {
	int fd;
	uint32_t sequence;
	uint8_t buffer[BATCH * HG_MARK_BYTES] __attribute__((aligned(8)));
};

static void put_protocol(struct nlmsghdr *message, const struct hg_mark_request *request)
{
	const struct hg_tuple *t = &request->original;
	bool v6 = request->protocol == IPPROTO_ICMPV6;

	mnl_attr_put_u8(message, CTA_PROTO_NUM, request->protocol);
	if (v6 || request->protocol == IPPROTO_ICMP) {
		mnl_attr_put_u16(message, v6 ? CTA_PROTO_ICMPV6_ID : CTA_PROTO_ICMP_ID, htons(t->icmp_id));
		mnl_attr_put_u8(message, v6 ? CTA_PROTO_ICMPV6_TYPE : CTA_PROTO_ICMP_TYPE, t->icmp_type);
		mnl_attr_put_u8(message, v6 ? CTA_PROTO_ICMPV6_CODE : CTA_PROTO_ICMP_CODE, t->icmp_code);
	} else {
		/* The kernel wants both for every protocol that has ports, and looks at neither for others. */
		mnl_attr_put_u16(message, CTA_PROTO_SRC_PORT, htons(t->src_port));
		mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, htons(t->dst_port));
	}
}

struct nlmsghdr *hg_mark_build(void *buffer, const struct hg_mark_request *request, uint32_t sequence)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	bool v4 = request->family == AF_INET;
	size_t size = v4 ? 4 : 16;
	struct nfgenmsg *header;
	struct nlattr *tuple, *part;

	message->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK; /* without NLM_F_CREATE: changes what is there */
	message->nlmsg_seq = sequence;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->nfgen_family = request->family;
	header->version = NFNETLINK_V0;
	tuple = mnl_attr_nest_start(message, CTA_TUPLE_ORIG);
	part = mnl_attr_nest_start(message, CTA_TUPLE_IP);
	mnl_attr_put(message, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, size, request->original.src);
	mnl_attr_put(message, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, size, request->original.dst);
	mnl_attr_nest_end(message, part);
	part = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
	put_protocol(message, request);
	mnl_attr_nest_end(message, part);
	mnl_attr_nest_end(message, tuple);
	if (request->zone)
		mnl_attr_put_u16(message, CTA_ZONE, htons(request->zone));
	mnl_attr_put_u32(message, CTA_MARK, htonl(request->mark & request->mask));
	mnl_attr_put_u32(message, CTA_MARK_MASK, htonl(request->mask));
	return message;
}

HG_EXPORT struct hg_marks *hg_marks_open(const char *netns, struct hg_error *error)
{
	struct hg_marks *marks = calloc(1, sizeof(*marks));

	if (!marks) {
		hg_fail(error, ENOMEM, "malloc", NULL);
		return NULL;
	}
	marks->fd = hg_conntrack_socket(netns, RECEIVE_BUFFER, error);
	if (marks->fd < 0) {
		free(marks);
		return NULL;
	}
	return marks;
}

/* Reads the answers to requests first..first+count-1, the last of which alone has one in any case: the others' are
 * errors. Returns 0 or -errno. The kernel has made all of them before sendto() returned. */
static int read_answers(struct hg_marks *marks, uint32_t first, uint32_t count, int32_t *results)
{
	uint8_t buffer[ANSWER_BYTES] __attribute__((aligned(8)));

	memset(results, 0, count * sizeof(*results));
	for (;;) {
		ssize_t got = recv(marks->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		const struct nlmsghdr *message = (void *)buffer;
		int left = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? -ENOBUFS : -errno;
		for (; hg_message_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
			uint32_t i = message->nlmsg_seq - first;

			if (i >= count || message->nlmsg_type != NLMSG_ERROR)
				continue;
			results[i] = hg_netlink_status(message);
			if (i == count - 1)
				return 0;
		}
	}
}

static int write_batch(struct hg_marks *marks, const struct hg_mark_request *requests, uint32_t count, int32_t *results)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	uint32_t first = marks->sequence;
	size_t bytes = 0;
	ssize_t sent;

	marks->sequence += count;
	for (uint32_t i = 0; i < count; i++) {
		struct nlmsghdr *message = hg_mark_build(marks->buffer + bytes, &requests[i], first + i);

		if (i < count - 1)
			message->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
		bytes += message->nlmsg_len;
	}
	do
		sent = sendto(marks->fd, marks->buffer, bytes, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : read_answers(marks, first, count, results);
}

HG_EXPORT int32_t hg_marks_write(struct hg_marks *marks, const struct hg_mark_request *requests, uint32_t count,
				 int32_t *results)
{
	uint32_t unanswered = 0;

	for (uint32_t at = 0; at < count; at += BATCH) {
		uint32_t size = count - at < BATCH ? count - at : BATCH;
		int status = write_batch(marks, requests + at, size, results + at);
		/* Where the kernel had no room for an answer, nothing is known of that batch; after any other error, none is tried. */
		uint32_t end = status == -ENOBUFS ? at + size : count;

		for (uint32_t i = at; status < 0 && i < end; i++)
			results[i] = status;
		if (status < 0 && status != -ENOBUFS)
			return status;
		unanswered += status < 0;
	}
	return unanswered ? -ENOBUFS : 0;
}

HG_EXPORT void hg_marks_close(struct hg_marks *marks)
{
	if (!marks)
		return;
	close(marks->fd);
	free(marks);
}
