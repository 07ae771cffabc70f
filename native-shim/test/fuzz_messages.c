// SPDX-License-Identifier: MIT
/* Mutates messages as the kernel sends them, and hands each to every parser of the shim.
 * HG_SEED repeats a run, HG_ITERATIONS makes it longer; both are printed. */
#include <linux/if_link.h>
#include <linux/inet_diag.h>
#include <linux/gen_stats.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <libnetfilter_log/libnetfilter_log.h>

#include "test.h"

#define ITERATIONS 200000
#define SECONDS 20 /* at most, however slow the build */

static uint64_t state;

static uint64_t random64(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint32_t below(uint32_t bound)
{
	return (uint32_t)(random64() % bound);
}

static uint8_t corpus[16][MESSAGE_BYTES] __attribute__((aligned(8)));
static uint32_t corpus_size;

static void *entry(void)
{
	return corpus[corpus_size++];
}

static struct nlmsghdr *route_message(uint16_t type, size_t header)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(entry());

	m->nlmsg_type = type;
	mnl_nlmsg_put_extra_header(m, header);
	*(uint8_t *)mnl_nlmsg_get_payload(m) = type == RTM_NEWLINK ? 0 : AF_INET;
	return m;
}

static void build_corpus(void)
{
	static const uint8_t ipv6[] = { 0x60, 0, 0, 0, 0, 24, 0, 64, [40] = 44, 1, [56] = 60, 0, [64] = 6, 0 };
	/* UDP and TCP with some bytes behind their headers. */
	static const uint8_t dns[] = { 0x45, 0, 0, 32, [8] = 64, 17, [20] = 0, 53, 0x80, 1, 0, 12, 0, 0, 'a', 'b', 'c', 'd' };
	static const uint8_t http[] = { 0x45, 0, 0, 48, [8] = 64, 6, [20] = 0, 53, 0x80, 1, [32] = 0x60, 0x18, [44] = 'a', 'b', 'c', 'd' };
	struct sample udp = TCP4, sctp = TCP4;
	struct nlmsghdr *m;
	struct nlattr *nest;

	udp.protocol = IPPROTO_UDP;
	sctp.protocol = IPPROTO_SCTP;
	build_flow(entry(), &TCP4, true);
	build_flow(entry(), &ICMP6, true);
	build_flow(entry(), &udp, true);
	build_flow(entry(), &sctp, true);
	m = nflog_nlmsg_put_header(entry(), NFULNL_MSG_PACKET, AF_INET6, 1);
	mnl_attr_put(m, NFULA_PACKET_HDR, 4, "\x86\xdd\x01\x00");
	mnl_attr_put(m, NFULA_HWADDR, 12, "\x00\x06\0\0abcdefgh");
	mnl_attr_put_strz(m, NFULA_PREFIX, "prefix");
	mnl_attr_put(m, NFULA_PAYLOAD, sizeof(ipv6), ipv6);
	m = nflog_nlmsg_put_header(entry(), NFULNL_MSG_PACKET, AF_INET, 2);
	mnl_attr_put(m, NFULA_PAYLOAD, sizeof(dns), dns);
	m = nflog_nlmsg_put_header(entry(), NFULNL_MSG_PACKET, AF_INET, 2);
	mnl_attr_put(m, NFULA_PAYLOAD, sizeof(http), http);
	m = mnl_nlmsg_put_header(entry());
	m->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELCHAIN;
	mnl_nlmsg_put_extra_header(m, sizeof(struct nfgenmsg));
	mnl_attr_put_strz(m, NFTA_CHAIN_TABLE, "headgate");
	mnl_attr_put_strz(m, NFTA_CHAIN_NAME, "a chain with a long name");
	m = mnl_nlmsg_put_header(entry());
	m->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	mnl_nlmsg_put_extra_header(m, sizeof(struct inet_diag_msg));
	mnl_attr_put_u64(m, INET_DIAG_CGROUP_ID, 1);
	m = route_message(RTM_NEWLINK, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(m, IFLA_IFNAME, "0123456789abcde");
	mnl_attr_put_u32(m, IFLA_MTU, 1500);
	m = route_message(RTM_NEWADDR, sizeof(struct ifaddrmsg));
	mnl_attr_put_u32(m, IFA_LOCAL, 1);
	m = route_message(RTM_NEWROUTE, sizeof(struct rtmsg));
	((struct rtmsg *)mnl_nlmsg_get_payload(m))->rtm_type = RTN_UNICAST;
	((struct rtmsg *)mnl_nlmsg_get_payload(m))->rtm_dst_len = 24;
	mnl_attr_put_u32(m, RTA_TABLE, RT_TABLE_MAIN);
	mnl_attr_put_u32(m, RTA_DST, 1);
	m = route_message(RTM_NEWQDISC, sizeof(struct tcmsg));
	((struct tcmsg *)mnl_nlmsg_get_payload(m))->tcm_ifindex = 1;
	mnl_attr_put_strz(m, TCA_KIND, "bfifo");
	nest = mnl_attr_nest_start(m, TCA_STATS2);
	mnl_attr_put(m, TCA_STATS_BASIC, 12, "abcdefghijkl");
	mnl_attr_put(m, TCA_STATS_QUEUE, 20, "abcdefghijklmnopqrst");
	mnl_attr_nest_end(m, nest);
}

static size_t mutate(uint8_t *out)
{
	const uint8_t *from = corpus[below(corpus_size)];
	size_t length = ((const struct nlmsghdr *)from)->nlmsg_len;

	memcpy(out, from, length);
	for (uint32_t n = below(8); n > 0; n--) {
		size_t at = below((uint32_t)length);

		switch (below(5)) {
		case 0:
			out[at] = (uint8_t)random64();
			break;
		case 1:
			out[at] ^= (uint8_t)(1u << below(8));
			break;
		case 2: /* a length or a type: 16 bits in the middle of nowhere */
			at &= ~1u;
			out[at] = (uint8_t)below(64);
			out[at + 1] = (uint8_t)(below(4) ? 0 : 0xff);
			break;
		case 3: /* one part over another */
			memmove(out + at, out + below((uint32_t)length), length - at < 16 ? 0 : 16 - below(8));
			break;
		case 4:
			length = NLMSG_HDRLEN + below((uint32_t)(length - NLMSG_HDRLEN + 1));
			break;
		}
		if (length <= NLMSG_HDRLEN)
			break;
	}
	return length;
}

static uint32_t parsed, payloads;

static void parse_all(const struct nlmsghdr *m)
{
	struct hg_tc_stat stat;
	struct hg_payload payload;
	struct hg_socket socket;
	struct hg_packet packet;
	struct hg_flow flow;
	struct hg_link link;

	memset(&flow, 0, sizeof(flow));
	memset(&packet, 0, sizeof(packet));
	memset(&link, 0, sizeof(link));
	if (hg_flow_parse(&flow, m)) {
		CHECK(flow.family == AF_INET || flow.family == AF_INET6);
		parsed++;
	}
	parsed += hg_packet_parse(&packet, m);
	memset(&payload, 0, sizeof(payload));
	if (hg_payload_parse(&payload, m)) {
		CHECK(payload.length <= payload.size && payload.length <= HG_PAYLOAD_BYTES);
		payloads++;
	}
	memset(&socket, 0, sizeof(socket));
	parsed += hg_socket_parse(&socket, m);
	if (hg_link_parse(&link, m)) {
		CHECK(memchr(link.name, 0, sizeof(link.name)));
		parsed++;
	}
	memset(&link, 0, sizeof(link));
	if (hg_table_parse(&link, m)) {
		CHECK(memchr(link.name, 0, sizeof(link.name)));
		parsed++;
	}
	if (hg_tc_parse(&stat, 1, m)) {
		CHECK(memchr(stat.kind, 0, sizeof(stat.kind)));
		parsed++;
	}
	CHECK(hg_netlink_status(m) <= 0);
}

int main(void)
{
	const char *seed = getenv("HG_SEED"), *wanted = getenv("HG_ITERATIONS");
	uint32_t iterations = wanted ? (uint32_t)strtoul(wanted, NULL, 0) : ITERATIONS;
	double deadline = seconds() + (wanted ? 1e9 : SECONDS);
	uint32_t done = 0;

	state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) * 0x9e3779b97f4a7c15u | 1;
	printf("   HG_SEED=%#llx HG_ITERATIONS=%u\n", (unsigned long long)state, iterations);
	fflush(stdout);
	build_corpus();
	for (uint32_t i = 0; i < corpus_size; i++)
		parse_all((void *)corpus[i]);
	CHECK(parsed == corpus_size && payloads == 2);
	for (; done < iterations && (done % 256 || seconds() < deadline); done++) {
		uint8_t scratch[MESSAGE_BYTES + 64] __attribute__((aligned(8)));
		size_t length = mutate(scratch);
		uint8_t *exact = exactly(scratch, length);
		const struct nlmsghdr *m = (void *)exact;
		int left = (int)length;

		/* As every receiver does: a message that claims more than is here is not looked at. */
		for (; hg_message_ok(m, left); m = mnl_nlmsg_next(m, &left))
			parse_all(m);
		free(exact);
	}
	CHECK(parsed > done / 20);
	printf("ok %u messages, %u records\n", done, parsed);
	return 0;
}
