// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

#define MAX_MAPS 64
#define MAX_CPUS 8192

static int bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	int result = (int)syscall(SYS_bpf, command, attr, sizeof(*attr));

	return result < 0 ? -errno : result;
}

static int fd_by_id(enum bpf_cmd command, uint32_t id)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_id = id; /* map_id is the same member of the union */
	return bpf(command, &attr);
}

static int read_info(int fd, void *info, uint32_t size)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info = (uintptr_t)info;
	attr.info.info_len = size;
	return bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
}

/* A per-cpu value has a slot for every processor that the machine could have: the end of the list "0-3,8-11". */
static int possible_cpus(void)
{
	FILE *file = fopen("/sys/devices/system/cpu/possible", "re");
	int last = -1, number;
	char separator;

	if (!file)
		return -errno;
	while (fscanf(file, "%d", &number) == 1) {
		last = number;
		if (fscanf(file, "%c", &separator) != 1)
			break;
	}
	fclose(file);
	return last < 0 || last >= MAX_CPUS ? -EINVAL : last + 1;
}

/* The program's map of that name (the kernel keeps 15 characters of it), or -errno. */
static int open_map(uint32_t prog_id, const char *name, struct bpf_map_info *map)
{
	uint32_t ids[MAX_MAPS];
	struct bpf_prog_info prog;
	int fd = fd_by_id(BPF_PROG_GET_FD_BY_ID, prog_id);
	int status;

	if (fd < 0)
		return fd;
	memset(&prog, 0, sizeof(prog));
	prog.nr_map_ids = MAX_MAPS;
	prog.map_ids = (uintptr_t)ids;
	status = read_info(fd, &prog, sizeof(prog));
	close(fd);
	if (status < 0)
		return status;
	for (uint32_t i = 0; i < prog.nr_map_ids && i < MAX_MAPS; i++) {
		fd = fd_by_id(BPF_MAP_GET_FD_BY_ID, ids[i]);
		if (fd < 0)
			return fd;
		memset(map, 0, sizeof(*map));
		status = read_info(fd, map, sizeof(*map));
		if (status == 0 && strncmp(map->name, name, BPF_OBJ_NAME_LEN - 1) == 0)
			return fd;
		close(fd);
	}
	return -ENOENT;
}

static int sum(int map, uint32_t key, uint64_t *slots, int cpus, uint64_t *value)
{
	union bpf_attr attr;
	int status;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)map;
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)slots;
	status = bpf(BPF_MAP_LOOKUP_ELEM, &attr);
	if (status < 0)
		return status;
	*value = 0;
	for (int i = 0; i < cpus; i++)
		*value += slots[i];
	return 0;
}

static int with_value(enum bpf_cmd command, uint32_t prog_id, const char *name, uint64_t *value)
{
	struct bpf_map_info info;
	int fd = open_map(prog_id, name, &info);
	union bpf_attr attr;
	uint32_t key = 0;
	int status = -EINVAL;

	if (fd < 0)
		return fd;
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)fd;
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)value;
	if (info.type == BPF_MAP_TYPE_ARRAY && info.value_size == sizeof(*value))
		status = bpf(command, &attr);
	close(fd);
	return status;
}

HG_EXPORT int32_t hg_bpf_get(uint32_t prog_id, const char *map, uint64_t *value)
{
	return with_value(BPF_MAP_LOOKUP_ELEM, prog_id, map, value);
}

HG_EXPORT int32_t hg_bpf_set(uint32_t prog_id, const char *map, uint64_t value)
{
	return with_value(BPF_MAP_UPDATE_ELEM, prog_id, map, &value);
}

HG_EXPORT int32_t hg_bpf_counters(uint32_t prog_id, const char *map, uint64_t *values, uint32_t max,
				  struct hg_error *error)
{
	struct bpf_map_info info;
	int fd = open_map(prog_id, map, &info);
	int cpus = possible_cpus();
	uint64_t *slots;
	int status = 0;

	if (fd < 0)
		return hg_fail(error, -fd, "find the program's map", NULL);
	if (info.type != BPF_MAP_TYPE_PERCPU_ARRAY || info.value_size != sizeof(uint64_t)) {
		close(fd);
		return hg_fail(error, EINVAL, "read counters", "the map is no per-cpu array of 8-byte values");
	}
	slots = cpus < 0 ? NULL : calloc((size_t)cpus, sizeof(*slots));
	if (!slots)
		status = cpus < 0 ? cpus : -ENOMEM;
	for (uint32_t i = 0; status == 0 && i < info.max_entries && i < max; i++)
		status = sum(fd, i, slots, cpus, &values[i]);
	free(slots);
	close(fd);
	return status < 0 ? hg_fail(error, -status, "read counters", NULL) : (int32_t)info.max_entries;
}
