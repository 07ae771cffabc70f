// SPDX-License-Identifier: MIT
/*
 * capture: writes the packets of single queues to standard output, as pcap.
 *
 *   capture SNAPLEN DEVICE CLASS [DEVICE CLASS]...
 *
 * CLASS is a 32-bit number in hex: major and minor of the class, which the datapath has put into skb->priority. A packet socket
 * (packet(7)) sees what leaves the qdisc of DEVICE, with the link-layer header of LINKTYPE_LINUX_SLL2, so that devices of any kind
 * stand in one file; its filter in eBPF takes the packets of the class and copies SNAPLEN bytes of each at most. The packets go on as
 * they would; what waits here for a slow reader is dropped by the kernel, and counted.
 *
 * Ends at SIGINT or SIGTERM, when nobody reads any more of either output (who has started it may be killed), or when a device goes down or away. Its last line on standard error:
 * `PACKETS DROPPED REASON`, the reason one of `stopped`, `unread` and `gone`; or with status 1 `unwritten PROBLEM`, where a disk is full: then PACKETS
 * are those that were whole there before. Status 1 without that: it could not begin; the last line says why.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST_QUEUES 64
#define MOST_SNAPLEN 262144
#define BUFFER (16 << 20)
#define TURN 256 /* packets of one queue before the others have their turn */
#define LINKTYPE_LINUX_SLL2 276
#define NANOSECONDS 0xa1b23c4d

/* pcap-savefile(5) */
struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy, snaplen, linktype;
};

struct packet_header {
	uint32_t seconds, nanoseconds, captured, length;
};

/* https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html: in network byte order */
struct sll2 {
	uint16_t protocol, reserved;
	uint32_t ifindex;
	uint16_t hatype;
	uint8_t pkttype, halen;
	uint8_t address[8];
};

struct vlan {
	uint16_t tci, protocol;
};

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

/* A filter that takes what leaves in that class; -1 and errno. */
static int load_filter(uint32_t class, uint32_t snaplen)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 0, .src_reg = 1, .off = offsetof(struct __sk_buff, priority) },
		{ .code = BPF_JMP32 | BPF_JNE | BPF_K, .dst_reg = 0, .off = 4, .imm = (int32_t)class },
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 0, .src_reg = 1, .off = offsetof(struct __sk_buff, pkt_type) },
		{ .code = BPF_JMP32 | BPF_JNE | BPF_K, .dst_reg = 0, .off = 2, .imm = PACKET_OUTGOING },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = (int32_t)snaplen },
		{ .code = BPF_JMP | BPF_EXIT },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	attr.insns = (uintptr_t)code;
	attr.insn_cnt = sizeof(code) / sizeof(*code);
	attr.license = (uintptr_t) "Dual MIT/GPL";
	strcpy(attr.prog_name, "hg_capture");
	return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

/* A socket that hears the queue; -1 and errno. It is bound last: before that it would hear everything. */
static int open_queue(const char *device, uint32_t class, uint32_t snaplen)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int filter, fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int buffer = BUFFER, on = 1;

	if (fd < 0)
		return -1;
	filter = load_filter(class, snaplen);
	address.sll_ifindex = (int)if_nametoindex(device);
	if (filter < 0 || !address.sll_ifindex || setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &filter, sizeof(filter)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) ||
	    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)))
		return -1;
	close(filter);
	return fd;
}

/* Takes one packet and writes it: 1, 0 where there is none, -1 and errno. */
static int take(int fd, unsigned char *data, uint32_t snaplen)
{
	struct sockaddr_ll from;
	struct iovec part = { data, snaplen };
	char control[CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	struct msghdr message = { &from, sizeof(from), &part, 1, control, sizeof(control), 0 };
	ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT);
	struct timespec time = { 0, 0 };
	struct packet_header packet;
	struct sll2 head = { 0 };
	struct vlan tag;
	uint32_t whole, tagged = 0;

	if (length < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	whole = (uint32_t)length;
	head.protocol = from.sll_protocol;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS)
			memcpy(&time, CMSG_DATA(c), sizeof(time));
		if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA) {
			struct tpacket_auxdata aux;

			memcpy(&aux, CMSG_DATA(c), sizeof(aux));
			whole = aux.tp_len;
			/* The kernel keeps the outermost tag beside the packet. */
			if (aux.tp_status & TP_STATUS_VLAN_VALID) {
				tagged = sizeof(tag);
				tag = (struct vlan){ htons(aux.tp_vlan_tci), from.sll_protocol };
				head.protocol = htons(aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q);
			}
		}
	}
	head.ifindex = htonl((uint32_t)from.sll_ifindex);
	head.hatype = htons(from.sll_hatype);
	head.pkttype = from.sll_pkttype;
	head.halen = from.sll_halen;
	memcpy(head.address, from.sll_addr, sizeof(head.address));
	packet = (struct packet_header){
		(uint32_t)time.tv_sec, (uint32_t)time.tv_nsec,
		(uint32_t)(sizeof(head) + tagged + (size_t)length), (uint32_t)(sizeof(head) + tagged + whole),
	};
	fwrite(&packet, sizeof(packet), 1, stdout);
	fwrite(&head, sizeof(head), 1, stdout);
	fwrite(&tag, tagged, 1, stdout);
	fwrite(data, (size_t)length, 1, stdout);
	return ferror(stdout) ? -1 : 1;
}

/* Waits for a packet, or to be stopped, also where that happens just before. */
static int wait_for_input(struct pollfd *fds, int count)
{
	sigset_t stopping, before;
	int status = 0;

	sigemptyset(&stopping);
	sigaddset(&stopping, SIGINT);
	sigaddset(&stopping, SIGTERM);
	sigprocmask(SIG_BLOCK, &stopping, &before);
	if (!stopped && ppoll(fds, (nfds_t)count, NULL, &before) < 0 && errno != EINTR)
		status = -1;
	sigprocmask(SIG_SETMASK, &before, NULL);
	return status;
}

int main(int argc, char **argv)
{
	static unsigned char data[MOST_SNAPLEN];
	static char room[1 << 18];
	/* The last ones are the outputs, of which an error says that their reader has gone: it may be a file that is written to. */
	struct pollfd fds[MOST_QUEUES + 2];
	struct sigaction action = { .sa_handler = stop };
	uint32_t snaplen = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
	int count = (argc - 2) / 2, problem = 0;
	struct file_header header = { NANOSECONDS, 2, 4, 0, 0, snaplen + sizeof(struct sll2) + sizeof(struct vlan), LINKTYPE_LINUX_SLL2 };
	unsigned long long packets = 0, dropped = 0, written = 0;
	const char *reason = NULL;

	if (argc < 4 || argc % 2 || count > MOST_QUEUES || snaplen < 1 || snaplen > MOST_SNAPLEN) {
		fprintf(stderr, "usage: capture SNAPLEN DEVICE CLASS [DEVICE CLASS]...\n");
		return 1;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < count; i++) {
		const char *device = argv[2 + 2 * i];

		fds[i] = (struct pollfd){ open_queue(device, (uint32_t)strtoul(argv[3 + 2 * i], NULL, 16), snaplen), POLLIN, 0 };
		if (fds[i].fd < 0)
			return fail(device);
	}
	fds[count] = (struct pollfd){ STDOUT_FILENO, 0, 0 };
	fds[count + 1] = (struct pollfd){ STDERR_FILENO, 0, 0 };
	setvbuf(stdout, room, _IOFBF, sizeof(room));
	fwrite(&header, sizeof(header), 1, stdout);
	/* Whoever reads on a terminal, or follows a file, wants each packet now: what is there is written before we wait. */
	while (!fflush(stdout) && !reason) {
		written = packets;
		if (wait_for_input(fds, count + 2))
			return fail("ppoll");
		if (stopped)
			reason = "stopped";
		else if (fds[count].revents || fds[count + 1].revents)
			reason = "unread";
		for (int i = 0; i < count; i++) {
			int taken = 0;

			for (int n = 0; n < TURN && !stopped && (taken = take(fds[i].fd, data, snaplen)) > 0; n++)
				packets++;
			if (taken < 0 && ferror(stdout))
				break;
			if (taken < 0 && (errno == ENETDOWN || errno == ENODEV))
				reason = "gone";
			else if (taken < 0)
				return fail(argv[2 + 2 * i]);
		}
		if (ferror(stdout))
			break;
	}
	/* Stopped while nobody read: what was half written is cut short. */
	if (ferror(stdout) && errno != EPIPE && !stopped)
		problem = errno;
	for (int i = 0; i < count; i++) {
		struct tpacket_stats stats;
		socklen_t size = sizeof(stats);

		if (!getsockopt(fds[i].fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size))
			dropped += stats.tp_drops;
	}
	if (problem) {
		fprintf(stderr, "%llu %llu unwritten %s\n", written, dropped, strerror(problem));
		return 1;
	}
	fprintf(stderr, "%llu %llu %s\n", packets, dropped, reason ? reason : stopped ? "stopped" : "unread");
	return 0;
}
