// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static void a_lock_is_held_by_one_and_ends_with_it(void)
{
	char path[] = "/tmp/hg-lock-XXXXXX";
	int first = mkstemp(path), second = open(path, O_RDWR | O_CLOEXEC);

	CHECK(first >= 0 && second >= 0);
	CHECK(hg_lock(first) == 0);
	CHECK(hg_lock(second) == -EWOULDBLOCK);
	close(first);
	CHECK(hg_lock(second) == 0);
	close(second);
	unlink(path);
	CHECK(hg_lock(-1) == -EBADF);
}

static void a_peer_is_told_with_its_groups(void)
{
	gid_t groups[64];
	int pair[2], count = getgroups(64, groups);
	uint32_t ids[67];

	CHECK(count >= 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(hg_peer(pair[0], ids, 67) == 3 + count);
	CHECK(ids[0] == (uint32_t)getpid() && ids[1] == geteuid() && ids[2] == getegid());
	for (int i = 0; i < count; i++)
		CHECK(ids[3 + i] == groups[i]);
	CHECK(count == 0 || hg_peer(pair[0], ids, 3) == -ERANGE);
	CHECK(hg_peer(pair[0], ids, 2) == -EINVAL);
	close(pair[0]);
	close(pair[1]);
	CHECK(hg_peer(-1, ids, 67) == -EBADF);
}

static void notify(const char *name, const struct sockaddr_un *address, socklen_t length)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char got[32];

	CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)address, length) == 0);
	CHECK(hg_notify(name, "READY=1\nSTATUS=x") == 0);
	CHECK(recv(fd, got, sizeof(got), MSG_DONTWAIT) == 16 && memcmp(got, "READY=1\nSTATUS=x", 16) == 0);
	close(fd);
}

static void a_notification_reaches_paths_and_abstract_names(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char path[64], name[64];

	snprintf(path, sizeof(path), "/tmp/hg-notify-%d", getpid());
	memcpy(address.sun_path, path, strlen(path));
	notify(path, &address, sizeof(address));
	CHECK(hg_notify(path, "READY=1") == -ECONNREFUSED);
	unlink(path);
	CHECK(hg_notify(path, "READY=1") == -ENOENT);

	snprintf(name, sizeof(name), "@hg-notify-%d", getpid());
	memset(&address, 0, sizeof(address));
	address.sun_family = AF_UNIX;
	memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
	notify(name, &address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name)));
	CHECK(hg_notify("", "READY=1") == -EINVAL);
}

/* The new program prints what it may; it is grep, and has no mind of ours. */
static void a_program_begins_with_what_is_kept(void)
{
	const char *const argv[] = { "grep", "-E", "^(CapPrm|CapBnd|CapInh|CapAmb|NoNewPrivs)", "/proc/self/status", NULL };
	const char *const wanted = "CapInh:\t0000000000000000\nCapPrm:\t0000000000001000\nCapBnd:\t0000000000001000\n"
				   "CapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";
	char got[512];
	size_t length = 0;
	ssize_t part;
	int ends[2], status;
	pid_t child;

	CHECK(geteuid() == 0);
	CHECK(pipe(ends) == 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		dup2(ends[1], 1);
		fcntl(1, F_SETFD, FD_CLOEXEC);
		close(ends[0]);
		close(ends[1]);
		_exit(-hg_exec_with(1 << 12, "/bin/grep", argv, NULL));
	}
	close(ends[1]);
	while ((part = read(ends[0], got + length, sizeof(got) - 1 - length)) > 0)
		length += (size_t)part;
	got[length] = '\0';
	close(ends[0]);
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(strcmp(got, wanted) == 0);
}

static void a_program_that_is_not_there_is_an_error(void)
{
	const char *const argv[] = { "x", NULL };
	struct hg_error error;

	CHECK(hg_exec_with(~0ull, "/nowhere/x", argv, &error) == -ENOENT);
	CHECK(error.code == ENOENT && strcmp(error.what, "execve") == 0 && strcmp(error.text, "/nowhere/x") == 0);
}

int main(void)
{
	RUN(a_lock_is_held_by_one_and_ends_with_it);
	RUN(a_peer_is_told_with_its_groups);
	RUN(a_notification_reaches_paths_and_abstract_names);
	RUN(a_program_begins_with_what_is_kept);
	RUN(a_program_that_is_not_there_is_an_error);
	return 0;
}
