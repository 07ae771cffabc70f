// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

#include "internal.h"

/* A ctnetlink event begins with headers of 20 bytes, then comes the original tuple, in it the addresses, the source
 * first (ctnetlink_dump_tuples() in net/netfilter/nf_conntrack_netlink.c): each an attribute header of four bytes. */
#define FAMILY NLMSG_HDRLEN
#define SOURCE (FAMILY + sizeof(struct nfgenmsg) + 2 * NLA_HDRLEN)
#define SOURCE_TYPE (SOURCE + offsetof(struct nlattr, nla_type))
#define ADDRESS (SOURCE + NLA_HDRLEN)
/* A filter loads in network byte order; attribute types are in ours. */
#define TYPE(type) ((uint32_t)htons(type))

#define LOAD(size, at) BPF_STMT(BPF_LD | BPF_ABS | (size), (at))
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define RETURN(bytes) BPF_STMT(BPF_RET | BPF_K, (bytes))

int hg_filter_loopback(int fd, struct hg_error *error)
{
	struct sock_filter code[] = {
		LOAD(BPF_B, FAMILY),
		UNLESS(AF_INET, 5),
		LOAD(BPF_H, SOURCE_TYPE),
		UNLESS(TYPE(CTA_IP_V4_SRC), 14),
		LOAD(BPF_B, ADDRESS),
		UNLESS(127, 12),
		RETURN(0),
		UNLESS(AF_INET6, 10),
		LOAD(BPF_H, SOURCE_TYPE),
		UNLESS(TYPE(CTA_IP_V6_SRC), 8),
		LOAD(BPF_W, ADDRESS),
		UNLESS(0, 6),
		LOAD(BPF_W, ADDRESS + 4),
		UNLESS(0, 4),
		LOAD(BPF_W, ADDRESS + 8),
		UNLESS(0, 2),
		LOAD(BPF_W, ADDRESS + 12),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 1, 0),
		RETURN(0xffffffff),
		RETURN(0),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)))
		return hg_fail(error, errno, "attach a socket filter", NULL);
	return 0;
}
