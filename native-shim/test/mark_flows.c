// SPDX-License-Identifier: MIT
/* Marks each new flow, one message each: what a program does that works an event at a time. Says "ready". */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static struct mnl_socket *answers;

static int mark(const struct nlmsghdr *event, void *data)
{
	const struct nfgenmsg *about = mnl_nlmsg_get_payload(event);
	char buffer[1024] __attribute__((aligned(8)));
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *header;
	const struct nlattr *attr;

	(void)data;
	if (!(event->nlmsg_flags & NLM_F_CREATE))
		return MNL_CB_OK;
	request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
	request->nlmsg_flags = NLM_F_REQUEST;
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->nfgen_family = about->nfgen_family;
	mnl_attr_for_each(attr, event, sizeof(*about))
		if (mnl_attr_get_type(attr) == CTA_TUPLE_ORIG)
			mnl_attr_put(request, CTA_TUPLE_ORIG | NLA_F_NESTED, mnl_attr_get_payload_len(attr),
				     mnl_attr_get_payload(attr));
	mnl_attr_put_u32(request, CTA_MARK, htonl(1 << 24));
	mnl_attr_put_u32(request, CTA_MARK_MASK, htonl(0x7f000000));
	return mnl_socket_sendto(answers, request, request->nlmsg_len) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

int main(void)
{
	struct mnl_socket *events = mnl_socket_open(NETLINK_NETFILTER);
	char buffer[8192];
	int bytes = 32 << 20, group = NFNLGRP_CONNTRACK_NEW;

	answers = mnl_socket_open(NETLINK_NETFILTER);
	if (!events || !answers || mnl_socket_bind(events, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_bind(answers, 0, MNL_SOCKET_AUTOPID) < 0)
		return 2;
	setsockopt(mnl_socket_get_fd(events), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	mnl_socket_setsockopt(events, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group));
	puts("ready");
	fflush(stdout);
	for (;;) {
		ssize_t got = mnl_socket_recvfrom(events, buffer, sizeof(buffer));

		if (got > 0 && mnl_cb_run(buffer, (size_t)got, 0, 0, mark, NULL) < 0)
			return 1;
	}
}
