/* Loaded into the benchmark's own PostgreSQL server: each sync takes longer, as
 * on a disk that is farther away. ONCEGUARD_SYNC_DELAY_US is the time added. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

static void delay(void) {
	const char *text = getenv("ONCEGUARD_SYNC_DELAY_US");
	long us = text ? strtol(text, NULL, 10) : 0;
	struct timespec left = {us / 1000000, (us % 1000000) * 1000};
	int saved = errno;
	while (us > 0 && nanosleep(&left, &left) != 0 && errno == EINTR) {
	}
	errno = saved;
}

int fdatasync(int fd) {
	static int (*real)(int);
	if (!real)
		real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
	delay();
	return real(fd);
}

int fsync(int fd) {
	static int (*real)(int);
	if (!real)
		real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
	delay();
	return real(fd);
}
