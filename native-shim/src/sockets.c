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

HG_EXPORT int32_t hg_sockets_find(struct hg_sockets *sockets, const struct hg_socket_query *queries, uint32_t count,
				  struct hg_socket *results)
{
	for (uint32_t i = 0; i < count; i++) {
		char buffer[HG_SOCKET_BYTES] __attribute__((aligned(8)));

		memset(&results[i], 0, sizeof(results[i]));
		results[i].status = hg_netlink_ask(sockets->fd, hg_socket_build(buffer, &queries[i]), take, &results[i],
						   "look up a socket", NULL);
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
