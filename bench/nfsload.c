/*
 * nfsload: an independent NFSv3 load generator on libnfs's raw RPC calls. It keeps exactly DEPTH requests in
 * flight on one connection and prints one JSON line. It shares no code with the server.
 *
 *   cc -O2 -o build/nfsload bench/nfsload.c -lnfs
 *   build/nfsload --host 127.0.0.1 --export /springback/one --nfsport 2049 --mountport 20048 \
 *       --file disk-flat.vmdk --op read --size 4096 --depth 32 --pattern random --seconds 3
 *
 * --op       read | write | getattr | churn (every slot makes a file beside FILE and removes it, in turn)
 * --size     bytes per request, up to what FSINFO allows
 * --pattern  random | seq (both aligned to --size)
 * --seconds N, or --count N requests
 * --stable   unstable | data | file (writes)
 * --span     bytes of the file to touch; default: its size
 * --seed     of the random pattern
 */
#include <errno.h>
#include <getopt.h>
#include <sys/time.h> /* libnfs.h needs struct timeval */

#include <inttypes.h>
#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum op { READ, WRITE, GETATTR, CHURN };

struct slot {
	uint64_t started; /* ns */
	/* of churn: the file it makes and removes, and whether that is there */
	char name[32];
	int made;
};

static struct rpc_context *rpc;
static struct nfs_fh3 handle, folder;
static char handle_bytes[64], folder_bytes[64];
static uint64_t file_size;

static enum op op = READ;
static uint32_t size = 4096;
static unsigned depth = 32;
static int sequential;
static enum stable_how stable = FILE_SYNC;
static double seconds = 3;
static uint64_t limit;
static uint64_t seed = 88172645463325252ULL;
static char *payload;

static uint64_t begun, deadline, issued, completed, moved, next_offset, span;
static unsigned in_flight;
static int stopping;
static uint64_t *latencies;
static size_t latency_room;

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "nfsload: %s: %s\n", what, why);
	exit(1);
}

/* xorshift64 */
static uint64_t random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void turn(void)
{
	struct pollfd p = { .fd = rpc_get_fd(rpc), .events = (short)rpc_which_events(rpc) };
	if (poll(&p, 1, 10000) < 0 && errno != EINTR)
		die("poll", strerror(errno));
	if (p.revents == 0)
		die("server", "no answer within 10 s");
	if (rpc_service(rpc, p.revents) < 0)
		die("connection", rpc_get_error(rpc));
}

/* --- one call at a time, for setting up --- */

static int done;

static void on_connected(struct rpc_context *r, int status, void *data, void *private)
{
	(void)data;
	(void)private;
	if (status != RPC_STATUS_SUCCESS)
		die("connect", rpc_get_error(r));
	done = 1;
}

static void connect_to(const char *host, int port, int program, int version)
{
	rpc = rpc_init_context();
	done = 0;
	if (rpc_connect_port_async(rpc, host, port, program, version, on_connected, NULL) != 0)
		die("connect", rpc_get_error(rpc));
	while (!done)
		turn();
}

static void on_mounted(struct rpc_context *r, int status, void *data, void *private)
{
	mountres3 *result = data;
	(void)r;
	(void)private;
	if (status != RPC_STATUS_SUCCESS || result->fhs_status != MNT3_OK)
		die("mount", "refused");
	handle.data.data_len = result->mountres3_u.mountinfo.fhandle.fhandle3_len;
	memcpy(handle_bytes, result->mountres3_u.mountinfo.fhandle.fhandle3_val, handle.data.data_len);
	handle.data.data_val = handle_bytes;
	done = 1;
}

static void on_found(struct rpc_context *r, int status, void *data, void *private)
{
	LOOKUP3res *result = data;
	(void)r;
	(void)private;
	if (status != RPC_STATUS_SUCCESS || result->status != NFS3_OK)
		die("lookup", "no such file");
	handle.data.data_len = result->LOOKUP3res_u.resok.object.data.data_len;
	memcpy(handle_bytes, result->LOOKUP3res_u.resok.object.data.data_val, handle.data.data_len);
	if (result->LOOKUP3res_u.resok.obj_attributes.attributes_follow)
		file_size = result->LOOKUP3res_u.resok.obj_attributes.post_op_attr_u.attributes.size;
	done = 1;
}

static void look_up(char *path)
{
	for (char *part = strtok(path, "/"); part; part = strtok(NULL, "/")) {
		memcpy(folder_bytes, handle_bytes, sizeof folder_bytes);
		folder.data.data_len = handle.data.data_len;
		folder.data.data_val = folder_bytes;
		LOOKUP3args args = { .what = { .dir = handle, .name = part } };
		done = 0;
		if (rpc_nfs3_lookup_async(rpc, on_found, &args, NULL) != 0)
			die("lookup", rpc_get_error(rpc));
		while (!done)
			turn();
	}
}

/* --- the load --- */

static void issue(struct slot *slot);

static void on_answer(struct rpc_context *r, int status, void *data, void *private)
{
	struct slot *slot = private;
	uint64_t now = now_ns();
	(void)r;
	if (status != RPC_STATUS_SUCCESS)
		die("request", status == RPC_STATUS_ERROR ? (char *)data : "cancelled or timed out");
	/* every result begins with its nfsstat3 */
	if (*(nfsstat3 *)data != NFS3_OK)
		die("request", nfsstat3_to_str(*(nfsstat3 *)data));
	if (op == READ)
		moved += ((READ3res *)data)->READ3res_u.resok.count;
	else if (op == WRITE)
		moved += ((WRITE3res *)data)->WRITE3res_u.resok.count;
	if (completed == latency_room) {
		latency_room = latency_room ? latency_room * 2 : 1 << 20;
		latencies = realloc(latencies, latency_room * sizeof *latencies);
		if (!latencies)
			die("memory", "exhausted");
	}
	latencies[completed++] = now - slot->started;
	in_flight--;
	if (limit ? issued >= limit : now >= deadline)
		stopping = 1;
	if (!stopping)
		issue(slot);
}

static void issue(struct slot *slot)
{
	uint64_t blocks = span / size ? span / size : 1;
	uint64_t offset = (sequential ? next_offset++ % blocks : random_number() % blocks) * size;
	int failed;

	slot->started = now_ns();
	issued++;
	in_flight++;
	if (op == READ) {
		READ3args args = { .file = handle, .offset = offset, .count = size };
		failed = rpc_nfs3_read_async(rpc, on_answer, &args, slot);
	} else if (op == WRITE) {
		WRITE3args args = { .file = handle, .offset = offset, .count = size, .stable = stable };
		args.data.data_len = size;
		args.data.data_val = payload;
		failed = rpc_nfs3_write_async(rpc, on_answer, &args, slot);
	} else if (op == CHURN && slot->made) {
		REMOVE3args args = { .object = { .dir = folder, .name = slot->name } };
		slot->made = 0;
		failed = rpc_nfs3_remove_async(rpc, on_answer, &args, slot);
	} else if (op == CHURN) {
		CREATE3args args = { .where = { .dir = folder, .name = slot->name }, .how = { .mode = UNCHECKED } };
		slot->made = 1;
		failed = rpc_nfs3_create_async(rpc, on_answer, &args, slot);
	} else {
		GETATTR3args args = { .object = handle };
		failed = rpc_nfs3_getattr_async(rpc, on_answer, &args, slot);
	}
	if (failed)
		die("request", rpc_get_error(rpc));
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static double microseconds(double quantile)
{
	size_t at = (size_t)(quantile * (double)(completed - 1));
	return (double)latencies[at] / 1000.0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "host", 1, 0, 'h' },	  { "export", 1, 0, 'e' },  { "nfsport", 1, 0, 'n' }, { "mountport", 1, 0, 'm' },
		{ "file", 1, 0, 'f' },	  { "op", 1, 0, 'o' },	    { "size", 1, 0, 's' },    { "depth", 1, 0, 'd' },
		{ "pattern", 1, 0, 'p' }, { "seconds", 1, 0, 't' }, { "count", 1, 0, 'c' },   { "stable", 1, 0, 'w' },
		{ "span", 1, 0, 'b' },	  { "seed", 1, 0, 'r' },    { 0, 0, 0, 0 },
	};
	const char *host = "127.0.0.1", *export = "/springback";
	char *file = NULL;
	int nfs_port = 2049, mount_port = 20048, c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'h': host = optarg; break;
		case 'e': export = optarg; break;
		case 'n': nfs_port = atoi(optarg); break;
		case 'm': mount_port = atoi(optarg); break;
		case 'f': file = optarg; break;
		case 'o':
			if (!strcmp(optarg, "read")) op = READ;
			else if (!strcmp(optarg, "write")) op = WRITE;
			else if (!strcmp(optarg, "getattr")) op = GETATTR;
			else if (!strcmp(optarg, "churn")) op = CHURN;
			else die("--op", "read, write, getattr or churn");
			break;
		case 's': size = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'd': depth = (unsigned)atoi(optarg); break;
		case 'p': sequential = !strcmp(optarg, "seq"); break;
		case 't': seconds = atof(optarg); break;
		case 'c': limit = strtoull(optarg, NULL, 0); break;
		case 'w':
			stable = !strcmp(optarg, "unstable") ? UNSTABLE : !strcmp(optarg, "data") ? DATA_SYNC : FILE_SYNC;
			break;
		case 'b': span = strtoull(optarg, NULL, 0); break;
		case 'r': seed = strtoull(optarg, NULL, 0) | 1; break;
		default: return 2;
		}
	}
	if (!file || size == 0 || depth == 0)
		die("usage", "--file is required; --size and --depth are at least 1");

	connect_to(host, mount_port, MOUNT_PROGRAM, MOUNT_V3);
	done = 0;
	if (rpc_mount3_mnt_async(rpc, on_mounted, (char *)export, NULL) != 0)
		die("mount", rpc_get_error(rpc));
	while (!done)
		turn();
	rpc_destroy_context(rpc);

	connect_to(host, nfs_port, NFS_PROGRAM, NFS_V3);
	look_up(strdup(file));
	if (!span)
		span = file_size;
	payload = malloc(size);
	for (uint32_t i = 0; i < size; i++)
		payload[i] = (char)random_number();

	struct slot *slots = calloc(depth, sizeof *slots);
	for (unsigned i = 0; i < depth; i++)
		snprintf(slots[i].name, sizeof slots[i].name, "churn-%d-%u", (int)getpid(), i);
	begun = now_ns();
	deadline = begun + (uint64_t)(seconds * 1e9);
	for (unsigned i = 0; i < depth && (!limit || issued < limit); i++)
		issue(&slots[i]);
	while (in_flight > 0)
		turn();
	double took = (double)(now_ns() - begun) / 1e9;

	qsort(latencies, completed, sizeof *latencies, by_value);
	printf("{\"ops\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"seconds\":%.3f,\"opsPerSec\":%.0f,\"p50us\":%.1f,"
	       "\"p99us\":%.1f,\"maxus\":%.1f}\n",
	       completed, moved, took, (double)completed / took, microseconds(0.5), microseconds(0.99), microseconds(1));
	return 0;
}
