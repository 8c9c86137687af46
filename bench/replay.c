/*
 * Replays a recorded sequence of reads, one at a time, and reports the latency of each.
 *
 *   replay TRACE TARGET
 *
 * TRACE   text, one read per line: OFFSET LENGTH (bytes)
 * TARGET  a local file, or nfs://HOST/PATH?nfsport=N&mountport=N (libnfs' URL, NFSv3)
 *
 * Prints one line per read: its latency in nanoseconds; then a checksum of all that was read, so that replays on
 * different servers can be compared. A read beyond the end or a short one is a failure: exit 1.
 * Large reads over NFS are split by libnfs at the server's largest read and count as one.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/time.h> /* libnfs.h needs struct timeval */
#include <nfsc/libnfs.h>

static struct nfs_context *nfs;
static struct nfsfh *remote;
static int local = -1;

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "replay: %s: %s\n", what, why);
	exit(1);
}

static void open_target(const char *target)
{
	if (strncmp(target, "nfs://", 6) != 0) {
		local = open(target, O_RDONLY | O_CLOEXEC);
		if (local < 0)
			fail(target, strerror(errno));
		return;
	}
	nfs = nfs_init_context();
	if (!nfs)
		fail(target, "out of memory");
	struct nfs_url *url = nfs_parse_url_full(nfs, target);
	if (!url || nfs_mount(nfs, url->server, url->path) != 0)
		fail(target, nfs_get_error(nfs));
	if (nfs_open(nfs, url->file, O_RDONLY, &remote) != 0)
		fail(target, nfs_get_error(nfs));
	nfs_destroy_url(url);
}

static int64_t read_target(uint64_t offset, uint64_t length, char *buffer)
{
	if (nfs)
		return nfs_pread(nfs, remote, offset, length, buffer);
	uint64_t done = 0;
	while (done < length) {
		ssize_t got = pread(local, buffer + done, length - done, (off_t)(offset + done));
		if (got <= 0)
			break;
		done += (uint64_t)got;
	}
	return (int64_t)done;
}

/* FNV-1a over words: fast, and enough to tell right bytes from wrong ones. Not timed. */
static uint64_t add_checksum(uint64_t sum, const char *data, uint64_t length)
{
	uint64_t word;
	for (uint64_t i = 0; i + sizeof word <= length; i += sizeof word) {
		memcpy(&word, data + i, sizeof word);
		sum = (sum ^ word) * 1099511628211u;
	}
	return sum;
}

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fputs("usage: replay TRACE TARGET\n", stderr);
		return 2;
	}
	FILE *trace = fopen(argv[1], "r");
	if (!trace)
		fail(argv[1], strerror(errno));
	open_target(argv[2]);
	char *buffer = NULL;
	uint64_t room = 0, offset, length, sum = 14695981039346656037u;
	while (fscanf(trace, "%" SCNu64 " %" SCNu64, &offset, &length) == 2) {
		if (length > room) {
			room = length;
			buffer = realloc(buffer, room);
			if (!buffer)
				fail("buffer", "out of memory");
			memset(buffer, 0, room);
		}
		uint64_t start = now();
		int64_t got = read_target(offset, length, buffer);
		uint64_t end = now();
		if (got != (int64_t)length)
			fail(argv[2], nfs && got < 0 ? nfs_get_error(nfs) : "short read");
		sum = add_checksum(sum, buffer, length);
		printf("%" PRIu64 "\n", end - start);
	}
	printf("checksum %016" PRIx64 "\n", sum);
	if (nfs) {
		nfs_close(nfs, remote);
		nfs_destroy_context(nfs);
	}
	return 0;
}
