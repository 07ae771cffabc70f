// SPDX-License-Identifier: MIT
/* read_marks COUNT: for each of COUNT new flows, the time from its event to the one that says that it has a mark. Says
 * "ready", and then the median, the 99th percentile and the largest, in microseconds, and how often events were lost. Gives up
 * when nothing has come for five seconds: then fewer are counted, which it says first. */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#define SLOTS (1u << 20)

static struct {
	uint32_t id;
	uint64_t born;
} slots[SLOTS];
static uint32_t *delays;
static uint32_t count, wanted;

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static uint32_t slot_of(uint32_t id)
{
	uint32_t slot = id * 2654435761u % SLOTS;

	while (slots[slot].id && slots[slot].id != id)
		slot = (slot + 1) % SLOTS;
	return slot;
}

static int note(const struct nlmsghdr *event, void *data)
{
	const struct nlattr *attr;
	uint32_t id = 0, mark = 0, slot;

	(void)data;
	mnl_attr_for_each(attr, event, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) == CTA_ID)
			id = ntohl(mnl_attr_get_u32(attr));
		if (mnl_attr_get_type(attr) == CTA_MARK)
			mark = ntohl(mnl_attr_get_u32(attr));
	}
	slot = slot_of(id);
	if (event->nlmsg_flags & NLM_F_CREATE) {
		slots[slot].id = id;
		slots[slot].born = now_us();
	} else if (mark && slots[slot].born && count < wanted) {
		delays[count++] = (uint32_t)(now_us() - slots[slot].born);
		slots[slot].born = 0;
	}
	return MNL_CB_OK;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	struct mnl_socket *events = mnl_socket_open(NETLINK_NETFILTER);
	struct timeval patience = { 5, 0 };
	char buffer[8192];
	int bytes = 64 << 20;
	unsigned int lost = 0;

	wanted = argc == 2 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
	delays = calloc(wanted, sizeof(*delays));
	if (!events || !wanted || !delays || mnl_socket_bind(events, 0, MNL_SOCKET_AUTOPID) < 0)
		return 2;
	setsockopt(mnl_socket_get_fd(events), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	setsockopt(mnl_socket_get_fd(events), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	for (int group = NFNLGRP_CONNTRACK_NEW; group <= NFNLGRP_CONNTRACK_UPDATE; group++)
		mnl_socket_setsockopt(events, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group));
	puts("ready");
	fflush(stdout);
	while (count < wanted) {
		ssize_t got = mnl_socket_recvfrom(events, buffer, sizeof(buffer));

		if (got < 0 && errno == ENOBUFS)
			lost++;
		else if (got < 0)
			break;
		else
			mnl_cb_run(buffer, (size_t)got, 0, 0, note, NULL);
	}
	if (!count)
		return 1;
	qsort(delays, count, sizeof(*delays), compare);
	printf("%u %u %u %u %u\n", count, delays[count / 2], delays[count / 100 * 99], delays[count - 1], lost);
	return 0;
}
