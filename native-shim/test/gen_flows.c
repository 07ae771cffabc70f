// SPDX-License-Identifier: MIT
/* gen_flows COUNT RATE LAG: makes COUNT conntrack entries by ctnetlink, RATE a second (0: as fast as it can), and
 * deletes each when LAG others have come after it (0: none), in the namespace that it runs in; for storms. They are UDP
 * from 192.0.2.1 to 198.51.0.0/16, port 443. Prints how many seconds it took, and how many the kernel refused. */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define MESSAGE_BYTES 256

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put_tuple(struct nlmsghdr *m, uint16_t type, uint32_t n, bool reply)
{
	uint32_t ours = htonl(0xc0000201), theirs = htonl(0xc6330000 | n >> 15);
	uint16_t port = htons((uint16_t)(1024 + (n & 0x7fff))), service = htons(443);
	struct nlattr *tuple = mnl_attr_nest_start(m, type), *part = mnl_attr_nest_start(m, CTA_TUPLE_IP);

	mnl_attr_put_u32(m, CTA_IP_V4_SRC, reply ? theirs : ours);
	mnl_attr_put_u32(m, CTA_IP_V4_DST, reply ? ours : theirs);
	mnl_attr_nest_end(m, part);
	part = mnl_attr_nest_start(m, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(m, CTA_PROTO_NUM, IPPROTO_UDP);
	mnl_attr_put_u16(m, CTA_PROTO_SRC_PORT, reply ? service : port);
	mnl_attr_put_u16(m, CTA_PROTO_DST_PORT, reply ? port : service);
	mnl_attr_nest_end(m, part);
	mnl_attr_nest_end(m, tuple);
}

static size_t put_message(void *buffer, uint32_t n, bool create)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *header;

	m->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | (create ? IPCTNL_MSG_CT_NEW : IPCTNL_MSG_CT_DELETE);
	m->nlmsg_flags = NLM_F_REQUEST | (create ? NLM_F_CREATE | NLM_F_EXCL : 0);
	header = mnl_nlmsg_put_extra_header(m, sizeof(*header));
	header->nfgen_family = AF_INET;
	put_tuple(m, CTA_TUPLE_ORIG, n, false);
	if (create) {
		put_tuple(m, CTA_TUPLE_REPLY, n, true);
		mnl_attr_put_u32(m, CTA_TIMEOUT, htonl(600));
	}
	return m->nlmsg_len;
}

int main(int argc, char **argv)
{
	static uint8_t buffer[2 * BATCH * MESSAGE_BYTES] __attribute__((aligned(8)));
	char answer[8192];
	uint32_t count, lag, refused = 0;
	int batch;
	double rate, begin = seconds();
	struct mnl_socket *socket = mnl_socket_open(NETLINK_NETFILTER);

	if (argc != 4 || !socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return 2;
	count = (uint32_t)strtoul(argv[1], NULL, 10);
	rate = strtod(argv[2], NULL);
	/* One message each millisecond, where that is enough. */
	batch = rate > 0 && rate < BATCH * 1000 ? (int)(rate / 1000) : BATCH;
	batch = batch > 0 ? batch : 1;
	lag = (uint32_t)strtoul(argv[3], NULL, 10);
	for (uint32_t n = 0; n < count;) {
		size_t bytes = 0;

		for (int i = 0; i < batch && n < count; i++, n++) {
			bytes += put_message(buffer + bytes, n, true);
			if (lag && n >= lag)
				bytes += put_message(buffer + bytes, n - lag, false);
		}
		if (mnl_socket_sendto(socket, buffer, bytes) < 0)
			return 1;
		/* The kernel answers what it refuses alone. */
		while (recv(mnl_socket_get_fd(socket), answer, sizeof(answer), MSG_DONTWAIT) > 0)
			refused++;
		while (rate > 0 && n / rate > seconds() - begin)
			usleep(100);
	}
	printf("%.3f %u\n", seconds() - begin, refused);
	return 0;
}
