// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

struct hg_sockets {
	int fd;
};

struct nlmsghdr *hg_socket_build(void *buffer, const struct hg_socket_query *query)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *request = mnl_nlmsg_put_extra_header(message, sizeof(*request));
	struct inet_diag_sockid *id = &request->id;
	/* Of UDP the kernel looks up a packet's ends, which are the other way round (udp_dump_one() in net/ipv4/udp_diag.c). */
	bool swap = query->protocol == IPPROTO_UDP;
	size_t size = query->family == AF_INET ? 4 : 16;

	message->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	message->nlmsg_flags = NLM_F_REQUEST;
	request->sdiag_family = query->family;
	request->sdiag_protocol = query->protocol;
	request->idiag_states = ~0u;
	memcpy(swap ? id->idiag_dst : id->idiag_src, query->local, size);
	memcpy(swap ? id->idiag_src : id->idiag_dst, query->remote, size);
	id->idiag_sport = htons(swap ? query->remote_port : query->local_port);
	id->idiag_dport = htons(swap ? query->local_port : query->remote_port);
	id->idiag_cookie[0] = INET_DIAG_NOCOOKIE;
	id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	return message;
}

bool hg_socket_parse(struct hg_socket *found, const struct nlmsghdr *message)
{
	const struct nlattr *attrs[INET_DIAG_CGROUP_ID + 1];
	const struct inet_diag_msg *said;
	const uint64_t *cgroup;

	if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY || message->nlmsg_len < NLMSG_HDRLEN + sizeof(*said))
		return false;
	said = mnl_nlmsg_get_payload(message);
	hg_attrs(attrs, INET_DIAG_CGROUP_ID, mnl_nlmsg_get_payload_offset(message, sizeof(*said)),
		 mnl_nlmsg_get_payload_len(message) - sizeof(*said));
	found->uid = said->idiag_uid;
	found->inode = said->idiag_inode;
	cgroup = hg_attr(attrs[INET_DIAG_CGROUP_ID], sizeof(*cgroup));
	if (cgroup)
		memcpy(&found->cgroup, cgroup, sizeof(found->cgroup));
	return true;
}

static int take(const struct nlmsghdr *message, void *data)
{
	hg_socket_parse(data, message);
	return 0;
}

HG_EXPORT struct hg_sockets *hg_sockets_open(const char *netns, struct hg_error *error)
{
	struct hg_sockets *sockets = calloc(1, sizeof(*sockets));

	if (!sockets) {
		hg_fail(error, ENOMEM, "malloc", NULL);
		return NULL;
	}
	sockets->fd = hg_netlink_open(netns, NETLINK_SOCK_DIAG, 0, error);
	if (sockets->fd < 0) {
		free(sockets);
		return NULL;
	}
	return sockets;
}

static void ask(int fd, const struct hg_socket_query *query, struct hg_socket *result)
{
	char buffer[HG_SOCKET_BYTES] __attribute__((aligned(8)));

	memset(result, 0, sizeof(*result));
	result->status = hg_netlink_ask(fd, hg_socket_build(buffer, query), take, result, "look up a socket", NULL);
}

/* What is between SYN and accept(2), and what its process has closed, is shown without inode, and with uid 0
 * (inet_req_diag_fill(), sock_i_uid()): then whoever listens there is meant, where somebody does. */
static void find(int fd, const struct hg_socket_query *query, struct hg_socket *result)
{
	ask(fd, query, result);
	if (result->status == 0 && result->inode == 0 && query->protocol == IPPROTO_TCP) {
		struct hg_socket_query listener = *query;

		memset(listener.remote, 0, sizeof(listener.remote));
		listener.remote_port = 0;
		ask(fd, &listener, result);
	}
	if (result->status == 0 && result->inode == 0)
		result->status = -ENOENT;
}

HG_EXPORT int32_t hg_sockets_find(struct hg_sockets *sockets, const struct hg_socket_query *queries, uint32_t count,
				  struct hg_socket *results)
{
	for (uint32_t i = 0; i < count; i++) {
		find(sockets->fd, &queries[i], &results[i]);
		if (results[i].status == -ENOBUFS || results[i].status == -EBADMSG || results[i].status == -EBADF)
			return results[i].status;
	}
	return 0;
}

HG_EXPORT void hg_sockets_close(struct hg_sockets *sockets)
{
	if (!sockets)
		return;
	close(sockets->fd);
	free(sockets);
}
