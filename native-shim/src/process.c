// SPDX-License-Identifier: MIT
/* What a service needs of the system and node does not offer. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal.h"

HG_EXPORT int32_t hg_lock(int32_t fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) ? -errno : 0;
}

HG_EXPORT int32_t hg_peer(int32_t fd, uint32_t *ids, uint32_t max)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (max < 3)
		return -EINVAL;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length))
		return -errno;
	/* The kernel writes nothing where the groups do not fit: ERANGE. */
	length = (max - 3) * sizeof(*ids);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, ids + 3, &length))
		return -errno;
	ids[0] = (uint32_t)peer.pid;
	ids[1] = peer.uid;
	ids[2] = peer.gid;
	return (int32_t)(3 + length / sizeof(*ids));
}

HG_EXPORT int32_t hg_notify(const char *path, const char *text)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t length = strlen(path);
	ssize_t sent;
	int fd, failure;

	if (length == 0 || length >= sizeof(to.sun_path))
		return -EINVAL;
	memcpy(to.sun_path, path, length);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&to,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	failure = sent < 0 ? -errno : 0;
	close(fd);
	return failure;
}

/* Neither has a wrapper in libc. */
static int inherit_only(uint64_t keep)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data))
		return -errno;
	data[0].inheritable &= (uint32_t)keep;
	data[1].inheritable &= (uint32_t)(keep >> 32);
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

HG_EXPORT int32_t hg_exec_with(uint64_t keep, const char *path, const char *const *argv, struct hg_error *error)
{
	int failure;

	for (unsigned long cap = 0; cap < 64; cap++) {
		int held = keep >> cap & 1 ? 0 : prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		/* EINVAL: the kernel knows no such capability, nor any higher one. */
		if (held < 0)
			break;
		if (held && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
			return hg_fail(error, errno, "prctl PR_CAPBSET_DROP", NULL);
	}
	failure = inherit_only(keep);
	if (failure)
		return hg_fail(error, -failure, "capset", NULL);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return hg_fail(error, errno, "prctl PR_CAP_AMBIENT", NULL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return hg_fail(error, errno, "prctl PR_SET_NO_NEW_PRIVS", NULL);
	/* node marks every descriptor that it was started with (uv_disable_stdio_inheritance()). */
	for (int fd = 0; fd < 3; fd++)
		fcntl(fd, F_SETFD, 0);
	execve(path, (char *const *)argv, environ);
	return hg_fail(error, errno, "execve", path);
}
