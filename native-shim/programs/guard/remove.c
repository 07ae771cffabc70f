// SPDX-License-Identifier: MIT
/* Takes a redirect away, by the kernel itself: nothing else has to be there, or to be started. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "guard.h"

#define TABLE "headgate"

struct request {
	struct nlmsghdr head;
	char body[1024];
};

static int tc, nft;

bool open_removals(void)
{
	tc = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	nft = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	return tc >= 0;
}

static void add(struct request *request, const void *data, size_t length)
{
	memcpy((char *)request + NLMSG_ALIGN(request->head.nlmsg_len), data, length);
	request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) + (uint32_t)length;
}

static void add_text(struct request *request, uint16_t type, const char *text)
{
	struct nlattr attr = { (uint16_t)(NLA_HDRLEN + strlen(text) + 1), type };

	add(request, &attr, sizeof(attr));
	add(request, text, strlen(text) + 1);
}

/* Sends messages and takes the answer to the one of them that asks for one; 0 or errno. */
static int ask(int fd, const void *messages, size_t length)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[4096];
	} answer;

	/* A transaction may have failed for several reasons. */
	while (recv(fd, &answer, sizeof(answer), MSG_DONTWAIT) >= 0)
		;
	if (send(fd, messages, length, 0) < 0)
		return errno;
	if (recv(fd, &answer, sizeof(answer), 0) < (ssize_t)NLMSG_LENGTH(sizeof(int)) || answer.head.nlmsg_type != NLMSG_ERROR)
		return EIO;
	return -answer.error.error;
}

int del_filter(int ifindex, uint32_t pref, const char *kind, uint32_t handle)
{
	struct tcmsg info = {
		.tcm_ifindex = ifindex,
		.tcm_handle = handle,
		.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
		.tcm_info = TC_H_MAKE(pref << 16, htons(ETH_P_ALL)),
	};
	struct request request = { .head = { NLMSG_HDRLEN, RTM_DELTFILTER, NLM_F_REQUEST | NLM_F_ACK, 0, 0 } };

	add(&request, &info, sizeof(info));
	add_text(&request, TCA_KIND, kind);
	return ask(tc, &request, request.head.nlmsg_len);
}

/* A message of a transaction, behind those before it. */
static void add_message(char *messages, size_t *length, uint16_t type, uint16_t flags, struct nfgenmsg info, const char *chain)
{
	struct request request = { .head = { NLMSG_HDRLEN, type, NLM_F_REQUEST | flags, 0, 0 } };

	add(&request, &info, sizeof(info));
	if (chain) {
		/* The same numbers in both messages: NFTA_RULE_TABLE and NFTA_CHAIN_TABLE are 1. */
		add_text(&request, NFTA_RULE_TABLE, TABLE);
		add_text(&request, type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELCHAIN) ? NFTA_CHAIN_NAME : NFTA_RULE_CHAIN, chain);
	}
	memcpy(messages + *length, &request, NLMSG_ALIGN(request.head.nlmsg_len));
	*length += NLMSG_ALIGN(request.head.nlmsg_len);
}

/* nft flush chain, delete chain: in one transaction. */
int del_chain(const char *chain)
{
	const struct nfgenmsg whole = { AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES) };
	const struct nfgenmsg part = { NFPROTO_NETDEV, NFNETLINK_V0, 0 };
	char messages[4 * sizeof(struct request)];
	size_t length = 0;

	add_message(messages, &length, NFNL_MSG_BATCH_BEGIN, 0, whole, NULL);
	add_message(messages, &length, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELRULE, 0, part, chain);
	add_message(messages, &length, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELCHAIN, NLM_F_ACK, part, chain);
	add_message(messages, &length, NFNL_MSG_BATCH_END, 0, whole, NULL);
	return ask(nft, messages, length);
}
