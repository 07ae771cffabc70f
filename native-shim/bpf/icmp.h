/* SPDX-License-Identifier: MIT
 *
 * ICMP and ICMPv6 by message type. (linux/icmp.h drags in the C library, which has no BPF target.)
 */
#ifndef HEADGATE_ICMP_H
#define HEADGATE_ICMP_H

#include <linux/in.h>
#include <stdbool.h>
#include "packet.h"

#define ICMP_HEADER 8 /* bytes; an error's quoted packet follows */

/* RFC 792 */
#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_REDIRECT 5
#define ICMP_ECHO_REQUEST 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMP_TIMESTAMP_REQUEST 13
#define ICMP_TIMESTAMP_REPLY 14

/* RFC 4443, 2710, 4861, 3810 */
#define ICMPV6_ERROR_FIRST 1
#define ICMPV6_ERROR_LAST 4
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129
#define ICMPV6_MLD_FIRST 130
#define ICMPV6_MLD_LAST 132
#define ICMPV6_ND_FIRST 133
#define ICMPV6_ND_LAST 137
#define ICMPV6_MLD2_REPORT 143

static __always_inline bool is_icmp(const struct ip_header *ip)
{
	return ip->protocol == (ip->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static __always_inline bool is_icmp_request(const struct ip_header *ip, __u8 type)
{
	return ip->family == 4 ? type == ICMP_ECHO_REQUEST || type == ICMP_TIMESTAMP_REQUEST
			       : type == ICMPV6_ECHO_REQUEST;
}

static __always_inline bool is_icmp_reply(const struct ip_header *ip, __u8 type)
{
	return ip->family == 4 ? type == ICMP_ECHO_REPLY || type == ICMP_TIMESTAMP_REPLY : type == ICMPV6_ECHO_REPLY;
}

/* Those that quote a packet; a redirect is one, as for conntrack (net/netfilter/nf_conntrack_proto_icmp.c). */
static __always_inline bool is_icmp_error(const struct ip_header *ip, __u8 type)
{
	if (ip->family == 6)
		return type >= ICMPV6_ERROR_FIRST && type <= ICMPV6_ERROR_LAST;
	return type == ICMP_UNREACHABLE || type == ICMP_SOURCE_QUENCH || type == ICMP_REDIRECT ||
	       type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM;
}

/*
 * Neighbour and router discovery, and multicast listener discovery: a link does not work without them. The hop limits
 * are what their RFCs demand of a receiver; they keep packets of these types from afar in the queues.
 */
static __always_inline bool is_link_control(const struct ip_header *ip, __u8 type)
{
	if (ip->family == 4)
		return false;
	if (type >= ICMPV6_ND_FIRST && type <= ICMPV6_ND_LAST)
		return ip->hop_limit == 255;
	return ((type >= ICMPV6_MLD_FIRST && type <= ICMPV6_MLD_LAST) || type == ICMPV6_MLD2_REPORT) &&
	       ip->hop_limit == 1;
}

#endif
