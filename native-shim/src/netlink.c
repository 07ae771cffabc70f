// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netns.h"

#define ANSWER_BYTES 32768 /* the kernel fills at most that much of a dump at once */

void hg_netlink_set_room(int fd, int bytes)
{
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

int hg_netlink_open(const char *netns, int protocol, uint32_t receive_buffer, struct hg_error *error)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	int bytes = receive_buffer > INT_MAX / 2 ? INT_MAX / 2 : (int)receive_buffer;
	int one = 1;
	int fd = hg_netns_socket(netns, protocol, error);

	if (fd < 0)
		return fd;
	/* Kernels without these are fine too: errors then come with the request, and without words. */
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	if (bytes)
		hg_netlink_set_room(fd, bytes);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		int code = errno;

		close(fd);
		return hg_fail(error, code, "bind", NULL);
	}
	return fd;
}

int hg_netlink_join(int fd, unsigned int group, struct hg_error *error)
{
	if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)))
		return hg_fail(error, errno, "join a netlink group", NULL);
	return 0;
}

int hg_netlink_send(int fd, const struct nlmsghdr *request)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t sent;

	do
		sent = sendto(fd, request, request->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

int hg_netlink_status(const struct nlmsghdr *message)
{
	int status;

	/* NLMSG_DONE of very old kernels carries nothing: a good end. */
	if (message->nlmsg_len < NLMSG_HDRLEN + sizeof(status))
		return message->nlmsg_type == NLMSG_DONE ? 0 : -EBADMSG;
	memcpy(&status, mnl_nlmsg_get_payload(message), sizeof(status));
	return status > 0 || status < -4095 ? -EBADMSG : status;
}

void hg_attrs(const struct nlattr **table, uint16_t max, const void *data, size_t length)
{
	const uint8_t *at = data;

	memset(table, 0, (max + 1u) * sizeof(*table));
	while (length >= NLA_HDRLEN) {
		const struct nlattr *attr = (const void *)at;
		size_t step = NLA_ALIGN(attr->nla_len);

		if (attr->nla_len < NLA_HDRLEN || attr->nla_len > length)
			break;
		if ((attr->nla_type & NLA_TYPE_MASK) <= max)
			table[attr->nla_type & NLA_TYPE_MASK] = attr;
		if (step >= length)
			break;
		length -= step;
		at += step;
	}
}

void hg_attr_text(char *out, size_t size, const struct nlattr *attr)
{
	const char *text = hg_attr(attr, 0);
	size_t length = text ? attr->nla_len - (size_t)NLA_HDRLEN : 0;

	if (length)
		memcpy(out, text, strnlen(text, length < size ? length : size));
}

/* The kernel's own words on a refused request: NLMSGERR_ATTR_MSG, behind the header (NETLINK_CAP_ACK). */
static void copy_words(const struct nlmsghdr *message, char *text, size_t size)
{
	const struct nlattr *table[NLMSGERR_ATTR_MSG + 1];
	size_t skip = sizeof(struct nlmsgerr);
	size_t length = mnl_nlmsg_get_payload_len(message);

	memset(text, 0, size);
	if (!(message->nlmsg_flags & NLM_F_ACK_TLVS) || length <= skip)
		return;
	if (!(message->nlmsg_flags & NLM_F_CAPPED)) {
		struct nlmsgerr said;

		memcpy(&said, mnl_nlmsg_get_payload(message), sizeof(said));
		if (said.msg.nlmsg_len > NLMSG_HDRLEN)
			skip += NLMSG_ALIGN(said.msg.nlmsg_len - NLMSG_HDRLEN);
		if (length <= skip)
			return;
	}
	hg_attrs(table, NLMSGERR_ATTR_MSG, (const uint8_t *)mnl_nlmsg_get_payload(message) + skip, length - skip);
	hg_attr_text(text, size - 1, table[NLMSGERR_ATTR_MSG]);
}

/* Reads one datagram of answers. 0: more to come; 1: done; -errno. */
static int read_answers(int fd, void *buffer, uint32_t sequence, mnl_cb_t answer, void *data, bool *interrupted,
			char *text, size_t size)
{
	/* The kernel answers within sendto() and within recv(), so nothing there means that nothing will come. */
	ssize_t got = recv(fd, buffer, ANSWER_BYTES, MSG_DONTWAIT);
	const struct nlmsghdr *message = buffer;
	int left = (int)got;

	if (got < 0)
		return errno == EINTR ? 0 : errno == EAGAIN ? -EBADMSG : -errno;
	for (; hg_message_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		if (message->nlmsg_seq != sequence)
			continue;
		if (message->nlmsg_flags & NLM_F_DUMP_INTR)
			*interrupted = true;
		if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
			int status = hg_netlink_status(message);

			if (status)
				copy_words(message, text, size);
			return status ? status : 1;
		}
		if (answer && answer(message, data) < 0)
			return -EBADMSG;
	}
	return 0;
}

int hg_netlink_ask(int fd, struct nlmsghdr *request, mnl_cb_t answer, void *data, const char *what,
		   struct hg_error *error)
{
	static uint32_t last;
	uint32_t sequence = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
	bool interrupted = false;
	char text[192] = "";
	void *buffer = malloc(ANSWER_BYTES);
	int status;

	if (!buffer)
		return hg_fail(error, ENOMEM, what, NULL);
	request->nlmsg_seq = sequence;
	if (!(request->nlmsg_flags & NLM_F_DUMP))
		request->nlmsg_flags |= NLM_F_ACK;
	status = hg_netlink_send(fd, request);
	while (status == 0)
		status = read_answers(fd, buffer, sequence, answer, data, &interrupted, text, sizeof(text));
	free(buffer);
	if (status < 0)
		return hg_fail(error, -status, what, text);
	return interrupted;
}
