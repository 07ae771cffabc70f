// SPDX-License-Identifier: MIT
/* Reads conntrack events (NEW and DESTROY) with libnetfilter_conntrack, as its examples do, and does nothing with them
 * but to count: what others are measured against. Says "ready", and at SIGTERM how many there were, and how often it lost some. */
#include <errno.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

static unsigned long events, lost;

static void finish(int signal)
{
	(void)signal;
	printf("%lu %lu\n", events, lost);
	fflush(stdout);
	_Exit(0);
}

static int count(enum nf_conntrack_msg_type type, struct nf_conntrack *ct, void *data)
{
	(void)type, (void)ct, (void)data;
	events++;
	return NFCT_CB_CONTINUE;
}

int main(void)
{
	struct nfct_handle *handle = nfct_open(CONNTRACK, NF_NETLINK_CONNTRACK_NEW | NF_NETLINK_CONNTRACK_DESTROY);
	int bytes = 32 << 20;

	if (!handle) {
		perror("nfct_open");
		return 1;
	}
	setsockopt(nfct_fd(handle), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	nfct_callback_register(handle, NFCT_T_ALL, count, NULL);
	signal(SIGTERM, finish);
	puts("ready");
	fflush(stdout);
	while (nfct_catch(handle) >= 0 || errno == ENOBUFS)
		lost++;
	perror("nfct_catch");
	return 1;
}
