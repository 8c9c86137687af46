// The system-call boundary: every system call that the addon makes for its callers is in sys.cc, and passes the
// fault layer there. Callable from any thread. Calls interrupted by a signal are repeated, short transfers continued.
#pragma once

#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "errors.h"

namespace sys {

Failure open(const std::string& path, int flags, mode_t mode, int& fd);
Failure close(int fd);

/** `got` is less than `size` only at the end of the file. */
Failure pread(int fd, uint8_t* data, size_t size, uint64_t position, size_t& got);

/** Writes all parts, back to back. After a failure part of them may be on disk. */
Failure pwrite(int fd, const iovec* parts, size_t count, uint64_t position);

Failure fsync(int fd);
Failure fdatasync(int fd);
Failure fsyncDirectory(const std::string& path);
Failure ftruncate(int fd, uint64_t length);
Failure fallocate(int fd, int mode, uint64_t offset, uint64_t length);
Failure rename(const std::string& from, const std::string& to, bool replace);
Failure link(const std::string& from, const std::string& to);
Failure unlink(const std::string& path);
Failure mkdir(const std::string& path, mode_t mode);
Failure rmdir(const std::string& path);
Failure fstat(int fd, struct stat& result);
Failure statfs(const std::string& path, struct statfs& result);

/** `whence` is SEEK_DATA or SEEK_HOLE; `found` is -1 where there is none. */
Failure seek(int fd, uint64_t offset, int whence, int64_t& found);

/** `kind` is F_RDLCK, F_WRLCK or F_UNLCK; `granted` is false when another open file has the lock. */
Failure lock(int fd, short kind, uint64_t offset, uint64_t length, bool& granted);

}  // namespace sys
