/*
 * Sends one NFSv3 COMMIT for a whole file and prints how long the answer took, in seconds. A client's `fsync` after
 * UNSTABLE writes is just this.
 *
 *   commit nfs://HOST/PATH?nfsport=N&mountport=N
 */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <sys/time.h> /* libnfs.h needs struct timeval */
#include <nfsc/libnfs.h>

static int fail(struct nfs_context *nfs, const char *target)
{
	fprintf(stderr, "commit: %s: %s\n", target, nfs ? nfs_get_error(nfs) : "out of memory");
	return 1;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: commit NFS-URL\n", stderr);
		return 2;
	}
	struct nfs_context *nfs = nfs_init_context();
	struct nfs_url *url = nfs ? nfs_parse_url_full(nfs, argv[1]) : NULL;
	struct nfsfh *file;
	if (!url || nfs_mount(nfs, url->server, url->path) != 0 || nfs_open(nfs, url->file, O_RDWR, &file) != 0)
		return fail(nfs, argv[1]);
	struct timespec start, end;
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (nfs_fsync(nfs, file) != 0)
		return fail(nfs, argv[1]);
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%.6f\n", (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
	nfs_close(nfs, file);
	nfs_destroy_url(url);
	nfs_destroy_context(nfs);
	return 0;
}
