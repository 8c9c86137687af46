/*
 * Runs in a guest: 4 KiB writes at random places of a disk, each on the disk before the next, one every PERIOD
 * microseconds. After each window of SECONDS prints "@ COUNT MEDIAN P99 MAX", microseconds.
 *
 *   guest-writes DEVICE BYTES SECONDS PERIOD
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SIZE 4096
#define MOST 1000000

static uint32_t taken[MOST];

static uint64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int ascending(const void *a, const void *b) {
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv) {
	if (argc != 5) return 2;
	uint64_t places = strtoull(argv[2], NULL, 10) / SIZE, seconds = strtoull(argv[3], NULL, 10);
	uint64_t period = strtoull(argv[4], NULL, 10), state = 88172645463325252ULL;
	int fd = open(argv[1], O_WRONLY | O_DIRECT | O_DSYNC);
	void *block;
	if (fd < 0 || places == 0 || posix_memalign(&block, SIZE, SIZE)) {
		perror(argv[1]);
		return 1;
	}
	for (;;) {
		uint64_t count = 0, began = now(), end = began + seconds * 1000000;
		while (now() < end && count < MOST) {
			/* xorshift64 */
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			memset(block, (int)state, SIZE);
			uint64_t start = now();
			if (pwrite(fd, block, SIZE, (off_t)(state % places * SIZE)) != SIZE) {
				perror("write");
				return 1;
			}
			uint64_t done = now();
			taken[count++] = (uint32_t)(done - start);
			if (done < start + period) usleep((useconds_t)(start + period - done));
		}
		qsort(taken, count, sizeof *taken, ascending);
		printf("@ %llu %u %u %u\n", (unsigned long long)count, taken[count / 2], taken[count * 99 / 100], taken[count - 1]);
		fflush(stdout);
	}
}
