// SPDX-License-Identifier: MIT
#include <linux/if_link.h>
#include <linux/gen_stats.h>
#include <linux/rtnetlink.h>

#include "test.h"

/* Behind <netinet/in.h>, which has the same structs. */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

static char buffer[MESSAGE_BYTES] __attribute__((aligned(8)));

static bool parse(struct hg_link *out, const struct nlmsghdr *message)
{
	memset(out, 0, sizeof(*out));
	return hg_link_parse(out, message);
}

static struct nlmsghdr *message(uint16_t type, const void *header, size_t size)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);

	m->nlmsg_type = type;
	memcpy(mnl_nlmsg_put_extra_header(m, size), header, size);
	return m;
}

static void a_link(void)
{
	struct ifinfomsg info = { .ifi_index = 7, .ifi_type = 1, .ifi_flags = 0x1043 };
	struct nlmsghdr *m = message(RTM_NEWLINK, &info, sizeof(info));
	struct hg_link l;

	mnl_attr_put_strz(m, IFLA_IFNAME, "wan");
	mnl_attr_put_u32(m, IFLA_MTU, 1492);
	CHECK(parse(&l, m));
	CHECK(l.head.kind == HG_LINK && l.ifindex == 7 && l.flags == 0x1043 && l.type == 1 && l.mtu == 1492);
	CHECK(strcmp(l.name, "wan") == 0);
	m->nlmsg_type = RTM_DELLINK;
	CHECK(parse(&l, m) && l.head.kind == HG_LINK_GONE);
}

static void a_port_leaving_its_bridge_is_no_link_gone(void)
{
	struct ifinfomsg info = { .ifi_family = AF_BRIDGE, .ifi_index = 7 };
	struct hg_link l;

	CHECK(!parse(&l, message(RTM_DELLINK, &info, sizeof(info))));
}

static void an_address(void)
{
	struct ifaddrmsg info = { .ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = 4 };
	struct nlmsghdr *m = message(RTM_NEWADDR, &info, sizeof(info));
	struct hg_link l;

	CHECK(!parse(&l, m));
	mnl_attr_put(m, IFA_ADDRESS, 4, "\x0a\x00\x00\x01"); /* the peer's */
	mnl_attr_put(m, IFA_LOCAL, 4, "\x0a\x00\x00\x02");
	CHECK(parse(&l, m));
	CHECK(l.head.kind == HG_ADDRESS && l.family == AF_INET && l.prefix_length == 32 && l.ifindex == 4);
	CHECK(memcmp(l.address, "\x0a\x00\x00\x02\0\0\0\0", 8) == 0);
}

static void routes_of_the_main_table_only(void)
{
	struct rtmsg info = { .rtm_family = AF_INET6, .rtm_dst_len = 64, .rtm_table = RT_TABLE_MAIN,
			      .rtm_type = RTN_UNICAST };
	struct nlmsghdr *m = message(RTM_NEWROUTE, &info, sizeof(info));
	struct rtmsg *header = mnl_nlmsg_get_payload(m);
	struct hg_link l;

	mnl_attr_put(m, RTA_DST, 16, "\xfd\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
	mnl_attr_put_u32(m, RTA_OIF, 3);
	CHECK(parse(&l, m) && l.head.kind == HG_ROUTE && l.table == RT_TABLE_MAIN && l.ifindex == 3);
	CHECK(l.prefix_length == 64 && l.address[0] == 0xfd);
	header->rtm_type = RTN_LOCAL;
	CHECK(!parse(&l, m));
	header->rtm_type = RTN_UNICAST;
	header->rtm_flags = RTM_F_CLONED;
	CHECK(!parse(&l, m));
	header->rtm_flags = 0;
	mnl_attr_put_u32(m, RTA_TABLE, 1000);
	CHECK(!parse(&l, m));
}

static void the_default_route_has_no_destination(void)
{
	struct rtmsg info = { .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_type = RTN_UNICAST };
	struct nlmsghdr *m = message(RTM_NEWROUTE, &info, sizeof(info));
	struct hg_link l;

	mnl_attr_put_u32(m, RTA_OIF, 3);
	CHECK(parse(&l, m) && l.prefix_length == 0 && l.ifindex == 3);
	((struct rtmsg *)mnl_nlmsg_get_payload(m))->rtm_dst_len = 24;
	CHECK(!parse(&l, m));
}

static void what_tc_loses_by_its_device(void)
{
	struct tcmsg info = { .tcm_ifindex = 5, .tcm_handle = 0x7fe00000 };
	struct hg_link l;

	CHECK(parse(&l, message(RTM_DELQDISC, &info, sizeof(info))) && l.head.kind == HG_TC_GONE && l.ifindex == 5);
	CHECK(parse(&l, message(RTM_DELTFILTER, &info, sizeof(info))) && l.head.kind == HG_TC_GONE);
	CHECK(!parse(&l, message(RTM_DELQDISC, &info, sizeof(info) - 4)));
	CHECK(!parse(&l, message(RTM_NEWQDISC, &info, sizeof(info))));
}

static void what_nftables_loses_by_its_table(void)
{
	struct nfgenmsg info = { .nfgen_family = NFPROTO_INET };
	const uint16_t subsystem = NFNL_SUBSYS_NFTABLES << 8;
	struct nlmsghdr *m = message(subsystem | NFT_MSG_DELRULE, &info, sizeof(info));
	struct hg_link l = { 0 };

	CHECK(!hg_table_parse(&l, m));
	mnl_attr_put_strz(m, NFTA_RULE_TABLE, "headgate");
	CHECK(hg_table_parse(&l, m) && l.head.kind == HG_TABLE_GONE && l.family == NFPROTO_INET);
	CHECK(strcmp(l.name, "headgate") == 0);
	m->nlmsg_type = subsystem | NFT_MSG_DELSETELEM;
	CHECK(!hg_table_parse(&l, m));
	m->nlmsg_type = NFT_MSG_DELRULE;
	CHECK(!hg_table_parse(&l, m));
	m = message(subsystem | NFT_MSG_DELTABLE, &info, sizeof(info));
	mnl_attr_put_strz(m, NFTA_TABLE_NAME, "a-name-of-some-length");
	memset(&l, 0, sizeof(l));
	CHECK(hg_table_parse(&l, m) && strcmp(l.name, "a-name-of-some-") == 0);
}

static void statistics_of_a_class(void)
{
	struct tcmsg info = { .tcm_ifindex = 5, .tcm_handle = 0x7fe00001, .tcm_parent = 0x7fe00000 };
	struct nlmsghdr *m = message(RTM_NEWTCLASS, &info, sizeof(info));
	struct gnet_stats_basic basic = { .bytes = 1ull << 35, .packets = 77 };
	struct gnet_stats_queue queue = { .qlen = 1, .backlog = 2, .drops = 3, .overlimits = 4 };
	struct hg_tc_stat stat;
	struct nlattr *nest;

	mnl_attr_put_strz(m, TCA_KIND, "htb");
	nest = mnl_attr_nest_start(m, TCA_STATS2);
	mnl_attr_put(m, TCA_STATS_BASIC, 12, &basic);
	mnl_attr_put(m, TCA_STATS_QUEUE, sizeof(queue), &queue);
	mnl_attr_nest_end(m, nest);
	CHECK(hg_tc_parse(&stat, 5, m) && !hg_tc_parse(&stat, 6, m) && hg_tc_parse(&stat, 5, m));
	CHECK(stat.is_class && stat.handle == 0x7fe00001 && stat.parent == 0x7fe00000 && !strcmp(stat.kind, "htb"));
	CHECK(stat.bytes == 1ull << 35 && stat.packets == 77);
	CHECK(stat.qlen == 1 && stat.backlog == 2 && stat.drops == 3 && stat.overlimits == 4);
}

int main(void)
{
	RUN(a_link);
	RUN(a_port_leaving_its_bridge_is_no_link_gone);
	RUN(an_address);
	RUN(routes_of_the_main_table_only);
	RUN(the_default_route_has_no_destination);
	RUN(what_tc_loses_by_its_device);
	RUN(what_nftables_loses_by_its_table);
	RUN(statistics_of_a_class);
	return 0;
}
