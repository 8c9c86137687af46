/*
 * nbdload: reads from an NBD server, as nfsload does them over NFS: exactly DEPTH requests in flight on one
 * connection, one JSON line at the end.
 *
 *   cc -O2 -o build/nbdload bench/nbdload.c -lnbd
 *   build/nbdload --uri nbd+unix:///?socket=/tmp/socket --size 4096 --depth 32 --count 4096
 *
 * --size     bytes per request; offsets are aligned to it
 * --pattern  random or seq
 * --span     only this many bytes from the start
 * --count    requests, or
 * --seconds  for how long
 * --seed     of the random pattern, the same as nfsload's
 */
#include <getopt.h>
#include <inttypes.h>
#include <libnbd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST (16u << 20) /* requests of a run that ends by time */

struct slot {
	uint64_t started; /* ns; 0: nothing in flight */
	char *buffer;
};

static struct nbd_handle *nbd;
static uint32_t size = 4096;
static unsigned depth = 32;
static int sequential;
static uint64_t deadline; /* ns; 0: none */
static uint64_t limit = 4096, seed = 88172645463325252ULL, issued, completed, blocks;
static uint64_t *latencies;

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "nbdload: %s: %s\n", what, nbd_get_error() ? nbd_get_error() : "failed");
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

static int on_answer(void *private, int *error)
{
	struct slot *slot = private;
	if (*error) {
		fprintf(stderr, "nbdload: request: %s\n", strerror(*error));
		exit(1);
	}
	latencies[completed++] = now_ns() - slot->started;
	slot->started = 0;
	return 1; /* retires the command; libnbd forbids to issue the next one from here */
}

static void issue(struct slot *slot)
{
	slot->started = now_ns();
	issued++;
	nbd_completion_callback callback = { .callback = on_answer, .user_data = slot };
	uint64_t block = (sequential ? issued - 1 : random_number()) % blocks;
	if (nbd_aio_pread(nbd, slot->buffer, size, block * size, callback, 0) < 0)
		die("request");
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static double microseconds(double quantile)
{
	return (double)latencies[(size_t)(quantile * (double)(completed - 1))] / 1000.0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "uri", 1, 0, 'u' },	{ "size", 1, 0, 's' }, { "depth", 1, 0, 'd' },
		{ "count", 1, 0, 'c' }, { "seed", 1, 0, 'r' }, { "seconds", 1, 0, 't' },
		{ "pattern", 1, 0, 'p' }, { "span", 1, 0, 'n' }, { 0, 0, 0, 0 },
	};
	const char *uri = NULL;
	uint64_t span = UINT64_MAX;
	double seconds = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'u': uri = optarg; break;
		case 's': size = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'd': depth = (unsigned)atoi(optarg); break;
		case 'c': limit = strtoull(optarg, NULL, 0); break;
		case 'r': seed = strtoull(optarg, NULL, 0) | 1; break;
		case 't': seconds = atof(optarg); limit = MOST; break;
		case 'p': sequential = strcmp(optarg, "seq") == 0; break;
		case 'n': span = strtoull(optarg, NULL, 0); break;
		default: return 2;
		}
	}
	if (!uri || size == 0 || depth == 0 || limit < depth) {
		fputs("nbdload: --uri is required; --count is at least --depth\n", stderr);
		return 2;
	}
	nbd = nbd_create();
	if (!nbd || nbd_connect_uri(nbd, uri) < 0)
		die("connect");
	uint64_t whole = (uint64_t)nbd_get_size(nbd);
	blocks = (span < whole ? span : whole) / size;
	latencies = calloc(limit, sizeof *latencies);
	struct slot *slots = calloc(depth, sizeof *slots);
	uint64_t begun = now_ns();
	if (seconds > 0)
		deadline = begun + (uint64_t)(seconds * 1e9);
	for (unsigned i = 0; i < depth; i++) {
		slots[i].buffer = malloc(size);
		issue(&slots[i]);
	}
	while (completed < issued || issued < limit) {
		if (deadline && now_ns() > deadline)
			limit = issued;
		if (completed == limit)
			break;
		if (nbd_poll(nbd, -1) < 0)
			die("poll");
		for (unsigned i = 0; i < depth && issued < limit; i++)
			if (!slots[i].started)
				issue(&slots[i]);
	}
	double took = (double)(now_ns() - begun) / 1e9;
	qsort(latencies, completed, sizeof *latencies, by_value);
	printf("{\"ops\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"seconds\":%.3f,\"opsPerSec\":%.0f,\"p50us\":%.1f,"
	       "\"p99us\":%.1f,\"maxus\":%.1f}\n",
	       completed, completed * size, took, (double)completed / took, microseconds(0.5), microseconds(0.99),
	       microseconds(1));
	nbd_close(nbd);
	return 0;
}
