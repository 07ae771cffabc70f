// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netns.h"

static int socket_here(int protocol, struct hg_error *error)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	return fd < 0 ? hg_fail(error, errno, "socket", NULL) : fd;
}

int hg_netns_socket(const char *netns, int protocol, struct hg_error *error)
{
	int here, there, fd;

	if (!netns)
		return socket_here(protocol, error);
	there = open(netns, O_RDONLY | O_CLOEXEC);
	if (there < 0) {
		char what[60];

		fd = errno;
		snprintf(what, sizeof(what), "open %s", netns);
		return hg_fail(error, fd, what, NULL);
	}
	here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (here < 0) {
		fd = hg_fail(error, errno, "open /proc/thread-self/ns/net", NULL);
	} else if (setns(there, CLONE_NEWNET)) {
		fd = hg_fail(error, errno, "setns", NULL);
	} else {
		fd = socket_here(protocol, error);
		/* The caller is JavaScript's main thread: in a foreign namespace it would go on to change the
		 * wrong machine's network. Nothing better than death is left. */
		if (setns(here, CLONE_NEWNET))
			abort();
	}
	if (here >= 0)
		close(here);
	close(there);
	return fd;
}
