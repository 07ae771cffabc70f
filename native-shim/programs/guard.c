// SPDX-License-Identifier: MIT
/*
 * guard: while nobody watches over the redirects, removes each whose ifb goes down or away.
 *
 * Standard input tells of the redirects, in lists of lines. An empty line ends a list, and the last whole one counts:
 *
 *   filter DEVICE PREF KIND HANDLE IFB...   a filter of tc's at the ingress hook of DEVICE; handle 0: all of that preference
 *   chain CHAIN IFB...                      a chain of nft's table netdev headgate
 *
 * DEVICE and IFB are `:INDEX`, or the name of one that may not be there yet. As long as somebody at the other end of standard
 * input says something, be it the same list again, nothing is done. At its end, however that came, and when nothing has come for
 * ten seconds, the program is on duty: it looks once, then hears of links (rtnetlink(7)), and asks the kernel itself, by no
 * other program. What comes after a silence ends that duty. The program ends when standard input has and nothing is left to
 * guard, and when a process of root connects to its socket: abstract (unix(7)), so of this network namespace alone,
 * @headgate-guard-RANDOM. It says `ready` on standard output when it listens there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "guard/guard.h"

#define MOST_INPUT (1 << 15)
#define AGAIN_MS 100 /* until a removal that failed is tried again */
#define SILENCE_MS 10000 /* after which whoever told us is taken to hang: he says something every two seconds (guard.ts) */

static char input[MOST_INPUT], list[MOST_INPUT];
static bool ended; /* standard input has */
static int links;
static uint32_t asked; /* the look whose answers count */

static void read_input(void)
{
	static size_t length;
	ssize_t more = read(STDIN_FILENO, input + length, sizeof(input) - length);

	if (more <= 0) {
		ended = more == 0 || errno != EINTR;
		return;
	}
	length += (size_t)more;
	for (size_t i = 0; i < length; i++) {
		if (input[i] != '\n' || (i > 0 && input[i - 1] != '\n'))
			continue;
		memcpy(list, input, i);
		list[i] = '\0';
		length -= i + 1;
		memmove(input, input + i + 1, length);
		i = (size_t)-1;
	}
	/* A list that is longer than we can hold: who told it hears of our end. */
	if (length == sizeof(input))
		_exit(1);
}

/* Somebody connects: at root's wish this ends, and the connection with it. */
static void answer(int listener)
{
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t size = sizeof(peer);
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0 && !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) && peer.uid == 0)
		_exit(0);
	close(fd);
}

/* The name is as long as one can be, since node 20 knows of no other length; and by chance, so nobody can take it before us. */
static int listen_here(void)
{
	static const char begin[] = "headgate-guard-";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	unsigned char random[sizeof(address.sun_path)];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || getrandom(random, sizeof(random), 0) != sizeof(random))
		return -1;
	for (size_t i = 1; i < sizeof(address.sun_path); i++)
		address.sun_path[i] = i < sizeof(begin) ? begin[i - 1] : "0123456789abcdef"[random[i] % 16];
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 8))
		return -1;
	return fd;
}

/* Asks for all links; the answers come between the news. */
static void look(void)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
	} request = { { sizeof(request), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, ++asked, 0 }, { .ifi_family = AF_UNSPEC } };

	begin_look();
	send(links, &request, sizeof(request), 0);
}

static void hear(const struct nlmsghdr *message)
{
	const struct ifinfomsg *info = NLMSG_DATA(message);
	int length = (int)IFLA_PAYLOAD(message);
	const char *name = "";

	/* Those of a bridge's ports have its family. */
	if ((message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK) || info->ifi_family != AF_UNSPEC)
		return;
	for (const struct rtattr *attr = IFLA_RTA(info); RTA_OK(attr, length); attr = RTA_NEXT(attr, length))
		if (attr->rta_type == IFLA_IFNAME)
			name = RTA_DATA(attr);
	hear_link(info->ifi_index, name, message->nlmsg_type == RTM_NEWLINK, info->ifi_flags & IFF_UP);
}

/* News and answers that wait. False: some were lost, and it takes another look. */
static bool hear_all(void)
{
	static char buffer[1 << 15] __attribute__((aligned(8)));
	ssize_t length;

	while ((length = recv(links, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0) {
		size_t left = (size_t)length;

		for (const struct nlmsghdr *message = (void *)buffer; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
			if (message->nlmsg_flags & NLM_F_DUMP_INTR || message->nlmsg_type == NLMSG_ERROR)
				return false;
			if (message->nlmsg_type != NLMSG_DONE)
				hear(message);
			else if (message->nlmsg_seq == asked)
				end_look();
		}
	}
	return length == 0 || errno == EAGAIN || errno == EINTR;
}

static int open_links(void)
{
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
}

/* The clock stands still while the machine sleeps, as who would tell us does. */
static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until standard input ends, or is silent for too long. */
static void wait_for_duty(int listener)
{
	struct pollfd fds[] = { { STDIN_FILENO, POLLIN, 0 }, { listener, POLLIN, 0 } };
	int64_t until = now_ms() + SILENCE_MS, left;

	while (!ended && (left = until - now_ms()) > 0) {
		if (poll(fds, 2, (int)left) <= 0)
			continue;
		if (fds[1].revents)
			answer(listener);
		if (fds[0].revents) {
			read_input();
			until = now_ms() + SILENCE_MS;
		}
	}
}

/* Guards what was said last, until something is said again, or nobody is there to say it and nothing is left. */
static void guard(int listener)
{
	static char lines[MOST_INPUT];
	struct pollfd fds[] = { { links, POLLIN, 0 }, { listener, POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };
	int group = RTNLGRP_LINK;

	read_list(strcpy(lines, list));
	/* First the news, then the look: what happens between is told. */
	setsockopt(links, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group));
	look();
	while (!ended || !is_all_gone()) {
		fds[2].fd = ended ? -1 : STDIN_FILENO;
		if (poll(fds, 3, has_due() ? AGAIN_MS : -1) > 0) {
			if (fds[1].revents)
				answer(listener);
			if (fds[2].revents)
				read_input();
			if (fds[2].revents && !ended)
				return;
			if (fds[0].revents && !hear_all())
				look();
		}
		remove_due();
	}
}

int main(void)
{
	int listener, null;

	prctl(PR_SET_NAME, "headgate-guard");
	/* What we were started with is none of ours to hold. */
	close_range(3, ~0U, 0);
	listener = listen_here();
	links = open_links();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (listener < 0 || links < 0 || null < 0 || !open_removals() || chdir("/") || write(STDOUT_FILENO, "ready\n", 6) != 6) {
		perror("guard");
		return 1;
	}
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	for (;;) {
		wait_for_duty(listener);
		guard(listener);
		if (ended)
			return 0;
		/* What this one has still to tell will be history. Without another we end, which who told us hears. */
		close(links);
		if ((links = open_links()) < 0)
			return 1;
	}
}
