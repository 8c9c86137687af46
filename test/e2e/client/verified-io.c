/*
 * Verified random I/O on one file, in the manner of fsx: every byte that is read is compared with a model in memory.
 * Static, so that it runs in the tiny guest, which has no C library.
 *
 *   verified-io run FILE SIZE SECONDS SEED   works until SECONDS have passed, then reads everything back
 *   verified-io check FILE MINIMUM           verifies the records that `run` kept beside FILE, after a crash
 *
 * `run` writes, reads, truncates, punches holes, syncs, and throws the page cache away, so that what it compares
 * comes from the server. After every sync it appends a record to FILE.log with O_DSYNC and then prints "synced FILE N": a
 * record that was printed must survive everything, and `check` finds how many did.
 *
 * One line at the end; exit status 1 and the reason when a call failed or a byte differed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RECORD = 512, LONGEST = 96 * 1024 };

static uint64_t state;
static char *model, *buffer;
static long size, limit;
static int fd;
static const char *path;

/* xorshift64*: the same choices for the same seed. */
static uint64_t random64(void) {
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 2685821657736338717ULL;
}

static long below(long n) { return n <= 0 ? 0 : (long)(random64() % (uint64_t)n); }

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void fail(const char *format, ...) {
	va_list args;
	va_start(args, format);
	printf("failed %s: ", path);
	vprintf(format, args);
	printf("\n");
	va_end(args);
	exit(1);
}

static void must(int ok, const char *what, long at, long length) {
	if (!ok) fail("%s at %ld length %ld: %s", what, at, length, strerror(errno));
}

static void read_back(long at, long length) {
	long done = 0;
	while (done < length) {
		long got = pread(fd, buffer + done, length - done, at + done);
		must(got >= 0, "read", at + done, length - done);
		if (got == 0) fail("end of file at %ld, the file has %ld bytes", at + done, size);
		done += got;
	}
	if (memcmp(buffer, model + at, length) == 0) return;
	for (long i = 0; i < length; i++)
		if (buffer[i] != model[at + i])
			fail("byte %ld is %02x, written was %02x", at + i, buffer[i] & 255, model[at + i] & 255);
}

static void everything(void) {
	must(lseek(fd, 0, SEEK_END) == size, "size differs from what was set", lseek(fd, 0, SEEK_END), size);
	for (long at = 0; at < size; at += LONGEST) read_back(at, size - at < LONGEST ? size - at : LONGEST);
}

static void fill(char *into, long length) {
	uint64_t word = random64();
	for (long i = 0; i < length; i++) {
		if (i % 64 == 0) word = random64();
		into[i] = (char)(word >> (8 * (i % 8)));
	}
}

static void one_write(void) {
	long at = below(limit), length = 1 + below(below(2) ? LONGEST : 5000);
	if (at + length > limit) length = limit - at;
	if (at > size) memset(model + size, 0, at - size);
	fill(model + at, length);
	for (long done = 0; done < length;) {
		long put = pwrite(fd, model + at + done, length - done, at + done);
		must(put > 0, "write", at + done, length - done);
		done += put;
	}
	if (at + length > size) size = at + length;
}

static void one_truncate(void) {
	long to = below(limit + 1);
	if (to > size) memset(model + size, 0, to - size);
	must(ftruncate(fd, to) == 0, "truncate", to, 0);
	size = to;
}

static void one_hole(void) {
	long at = below(size), length = 1 + below(LONGEST);
	if (at + length > size) length = size - at;
	if (length <= 0) return;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length) != 0) {
		/* NFSv3 has none. */
		must(errno == EOPNOTSUPP, "punch hole", at, length);
		return;
	}
	memset(model + at, 0, length);
}

/* Record n of the log: its number, then bytes that follow from it. */
static void record(long n, char *into) {
	uint64_t saved = state;
	state = (uint64_t)n * 0x9E3779B97F4A7C15ULL + 1;
	fill(into, RECORD);
	memcpy(into, &n, sizeof n);
	state = saved;
}

static int run(long seconds, uint64_t seed) {
	char name[4096], line[RECORD];
	snprintf(name, sizeof name, "%s.log", path);
	state = seed * 2 + 1;
	model = calloc(1, limit);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	must(fd >= 0 && model, "open", 0, 0);
	int log = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_DSYNC, 0644);
	must(log >= 0, "open the log", 0, 0);
	long operations = 0, synced = 0;
	double begin = now(), slowest = 0, slowest_at = 0;
	while (now() - begin < seconds * 1e3) {
		double before = now();
		long choice = below(100);
		operations++;
		if (choice < 45) one_write();
		else if (choice < 75) {
			long at = below(size), length = 1 + below(LONGEST);
			read_back(at, at + length > size ? size - at : length);
		} else if (choice < 80) one_truncate();
		else if (choice < 84) one_hole();
		else if (choice < 98) {
			must(fdatasync(fd) == 0, "sync", 0, 0);
			record(synced, line);
			must(pwrite(log, line, RECORD, synced * RECORD) == RECORD, "write to the log", synced * RECORD, RECORD);
			printf("synced %s %ld\n", path, synced++);
			fflush(stdout);
		} else {
			must(fsync(fd) == 0, "sync", 0, 0);
			posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
			everything();
		}
		double took = now() - before;
		if (took > slowest) slowest = took, slowest_at = before - begin;
	}
	must(fsync(fd) == 0, "sync", 0, 0);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	everything();
	printf("verified %s operations %ld syncs %ld longest %.0f ms at %.0f s\n", path, operations, synced, slowest,
	       slowest_at / 1e3);
	return 0;
}

static int check(long minimum) {
	char name[4096], line[RECORD], want[RECORD];
	snprintf(name, sizeof name, "%s.log", path);
	int log = open(name, O_RDONLY);
	must(log >= 0, "open the log", 0, 0);
	long records = 0;
	for (; pread(log, line, RECORD, records * RECORD) == RECORD; records++) {
		record(records, want);
		if (memcmp(line, want, RECORD) != 0) break;
	}
	if (records < minimum) fail("%ld records, %ld were synced before the crash", records, minimum);
	printf("checked %s records %ld\n", path, records);
	return 0;
}

int main(int argc, char **argv) {
	path = argc > 2 ? argv[2] : "";
	buffer = malloc(LONGEST);
	if (argc == 6 && strcmp(argv[1], "run") == 0) {
		limit = atol(argv[3]);
		return run(atol(argv[4]), strtoull(argv[5], 0, 10));
	}
	if (argc == 4 && strcmp(argv[1], "check") == 0) return check(atol(argv[3]));
	fprintf(stderr, "usage: verified-io run FILE SIZE SECONDS SEED | check FILE MINIMUM\n");
	return 2;
}
