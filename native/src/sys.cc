// System calls, each behind the fault layer (faults.h).
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "faults.h"

namespace sys {

namespace {

/** Repeats a call that a signal interrupted. */
template <class Call>
auto uninterrupted(Call call) {
	decltype(call()) result;
	do {
		result = call();
	} while (result == -1 && errno == EINTR);
	return result;
}

Failure failure(int error, const char* name, std::string path) { return Failure{error, name, std::move(path)}; }

/** Consults the rules, then runs `body` (0 or an errno), then `note`s the success in the trace. */
template <class Body, class Note>
int guarded(const char* op, const std::string& path, const std::string& to, Body body, Note note) {
	const faults::Verdict verdict = faults::consult(op, path, to);
	if (verdict.error != 0) return verdict.error;
	const int error = body();
	if (error == 0 && faults::tracing()) {
		faults::Entry entry;
		entry.op = op;
		entry.path = path;
		entry.to = to;
		note(entry);
		faults::record(std::move(entry));
	}
	return error;
}

/** An operation on names. */
template <class Call, class Note>
Failure onPath(const char* op, const char* name, const std::string& path, const std::string& to, Call call, Note note) {
	auto body = [&] { return uninterrupted(call) == -1 ? errno : 0; };
	const int error = faults::armed() ? guarded(op, path, to, body, note) : body();
	return error == 0 ? Failure{} : failure(error, name, path);
}

/** An operation on a descriptor that changes the file and is not a sync. */
template <class Call, class Note>
Failure onFile(const char* op, int fd, Call call, Note note) {
	auto body = [&] { return uninterrupted(call) == -1 ? errno : 0; };
	const int error = faults::armed() ? guarded(op, faults::pathOf(fd), {}, body, note) : body();
	return error == 0 ? Failure{} : failure(error, op, faults::pathOf(fd));
}

/** A question: rules apply, the trace does not. */
template <class Call>
Failure asking(const char* op, const char* name, const std::string& path, Call call) {
	if (faults::armed()) {
		const faults::Verdict verdict = faults::consult(op, path, {});
		if (verdict.error != 0) return failure(verdict.error, name, path);
	}
	if (uninterrupted(call) != -1) return Failure{};
	const int error = errno;
	return failure(error, name, path);
}

/** As `asking`; the path is looked up only when somebody will see it. */
template <class Call>
Failure askingFile(const char* op, const char* name, int fd, Call call) {
	if (faults::armed()) return asking(op, name, faults::pathOf(fd), call);
	if (uninterrupted(call) != -1) return Failure{};
	const int error = errno;
	return failure(error, name, faults::pathOf(fd));
}

template <class Body>
int synced(const char* op, const std::string& path, Body body) {
	const faults::Verdict verdict = faults::consult(op, path, {});
	if (verdict.error != 0) return verdict.error;
	const auto entry = faults::begin(op, path);
	const int error = body();
	if (error == 0) faults::succeed(entry);
	return error;
}

Failure syncFile(const char* op, int fd, int (*call)(int)) {
	auto body = [&] { return uninterrupted([&] { return call(fd); }) == -1 ? errno : 0; };
	auto told = [&](const std::string& path) {
		return synced(op, path, [&] {
			const int error = faults::lost(fd, path);
			return error != 0 ? error : body();
		});
	};
	const int error = faults::armed() ? told(faults::pathOf(fd)) : body();
	return error == 0 ? Failure{} : failure(error, op, faults::pathOf(fd));
}

/** Writes the first `limit` bytes of the parts; returns 0 or an errno, and how far it came. */
int writeParts(int fd, const iovec* parts, size_t count, uint64_t position, size_t limit, size_t& written) {
	constexpr size_t batchSize = 64;
	size_t part = 0;
	size_t offset = 0;
	written = 0;
	while (written < limit) {
		iovec batch[batchSize];
		size_t used = 0;
		size_t left = limit - written;
		for (size_t at = part; at < count && used < batchSize && left > 0; at++) {
			const size_t from = at == part ? offset : 0;
			const size_t size = std::min(parts[at].iov_len - from, left);
			if (size == 0) continue;
			batch[used++] = iovec{static_cast<uint8_t*>(parts[at].iov_base) + from, size};
			left -= size;
		}
		const off_t at = static_cast<off_t>(position + written);
		const ssize_t done = uninterrupted([&] { return ::pwritev(fd, batch, static_cast<int>(used), at); });
		if (done == -1) return errno;
		if (done == 0) return EIO;  // a file that takes nothing and gives no reason
		written += static_cast<size_t>(done);
		size_t advance = static_cast<size_t>(done);
		while (advance > 0) {
			const size_t step = std::min(advance, parts[part].iov_len - offset);
			advance -= step;
			offset += step;
			if (offset == parts[part].iov_len) {
				part++;
				offset = 0;
			}
		}
	}
	return 0;
}

void noteWrite(const std::string& path, const iovec* parts, uint64_t position, size_t written) {
	if (written == 0 || !faults::tracing()) return;
	faults::Entry entry;
	entry.op = "pwrite";
	entry.path = path;
	entry.position = position;
	entry.length = written;
	entry.data.emplace();
	entry.data->reserve(written);
	for (size_t left = written; left > 0; parts++) {
		const size_t size = std::min(left, parts->iov_len);
		const uint8_t* from = static_cast<const uint8_t*>(parts->iov_base);
		entry.data->insert(entry.data->end(), from, from + size);
		left -= size;
	}
	faults::record(std::move(entry));
}

int armedWrite(int fd, const iovec* parts, size_t count, uint64_t position, size_t total) {
	const std::string path = faults::pathOf(fd);
	const faults::Verdict verdict = faults::consult("pwrite", path, {});
	if (verdict.error != 0 && !verdict.keep) return verdict.error;
	size_t written = 0;
	const size_t limit = verdict.keep ? std::min(*verdict.keep, total) : total;
	const int error = writeParts(fd, parts, count, position, limit, written);
	noteWrite(path, parts, position, written);  // also what a failed write left behind
	if (error != 0 || !verdict.keep) return error;
	if (verdict.error == 0) faults::killProcess();
	return verdict.error;
}

void nothing(faults::Entry&) {}

}  // namespace

Failure open(const std::string& path, int flags, mode_t mode, int& fd) {
	auto body = [&] {
		fd = uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); });
		return fd == -1 ? errno : 0;
	};
	int error;
	if (!faults::armed()) {
		error = body();
	} else if ((flags & (O_CREAT | O_TRUNC)) != 0) {
		error = guarded("open", path, {}, body, [&](faults::Entry& entry) { entry.flags = flags; });
	} else {
		const faults::Verdict verdict = faults::consult("open", path, {});
		error = verdict.error != 0 ? verdict.error : body();
	}
	if (error != 0) return failure(error, "open", path);
	faults::opened(fd, path);
	return Failure{};
}

Failure close(int fd) {
	// Forgotten first: once closed, the number may belong to another thread's file.
	const std::string path = faults::closing(fd);
	const faults::Verdict verdict = faults::armed() ? faults::consult("close", path, {}) : faults::Verdict{};
	// Not repeated after EINTR, because Linux has closed it then; for the same reason an injected error still closes.
	if (::close(fd) == -1 && errno != EINTR) return failure(errno, "close", path);
	return verdict.error != 0 ? failure(verdict.error, "close", path) : Failure{};
}

Failure pread(int fd, uint8_t* data, size_t size, uint64_t position, size_t& got) {
	got = 0;
	if (faults::armed()) {
		const std::string path = faults::pathOf(fd);
		const faults::Verdict verdict = faults::consult("pread", path, {});
		if (verdict.error != 0) return failure(verdict.error, "pread", path);
	}
	while (got < size) {
		const off_t at = static_cast<off_t>(position + got);
		const ssize_t done = uninterrupted([&] { return ::pread(fd, data + got, size - got, at); });
		if (done == -1) {
			const int error = errno;
			return failure(error, "pread", faults::pathOf(fd));
		}
		if (done == 0) break;
		got += static_cast<size_t>(done);
	}
	return Failure{};
}

Failure pwrite(int fd, const iovec* parts, size_t count, uint64_t position) {
	size_t total = 0;
	for (size_t i = 0; i < count; i++) total += parts[i].iov_len;
	size_t written;
	const int error = faults::armed() ? armedWrite(fd, parts, count, position, total)
	                                  : writeParts(fd, parts, count, position, total, written);
	return error == 0 ? Failure{} : failure(error, "pwrite", faults::pathOf(fd));
}

Failure fsync(int fd) { return syncFile("fsync", fd, ::fsync); }

Failure fdatasync(int fd) { return syncFile("fdatasync", fd, ::fdatasync); }

Failure fsyncDirectory(const std::string& path) {
	auto body = [&]() -> int {
		const int fd = uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
		if (fd == -1) return errno;
		const int error = uninterrupted([&] { return ::fsync(fd); }) == -1 ? errno : 0;
		::close(fd);
		return error;
	};
	const int error = faults::armed() ? synced("fsyncDirectory", path, body) : body();
	return error == 0 ? Failure{} : failure(error, "fsyncDirectory", path);
}

Failure ftruncate(int fd, uint64_t length) {
	return onFile("ftruncate", fd, [&] { return ::ftruncate(fd, static_cast<off_t>(length)); },
		[&](faults::Entry& entry) { entry.length = length; });
}

Failure fallocate(int fd, int mode, uint64_t offset, uint64_t length) {
	return onFile("fallocate", fd,
		[&] { return ::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length)); },
		[&](faults::Entry& entry) {
			entry.position = offset;
			entry.length = length;
			entry.flags = mode;
		});
}

Failure rename(const std::string& from, const std::string& to, bool replace) {
	const unsigned flags = replace ? 0 : RENAME_NOREPLACE;
	return onPath("rename", "rename", from, to,
		[&] { return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags); }, nothing);
}

Failure link(const std::string& from, const std::string& to) {
	return onPath("link", "link", from, to, [&] { return ::link(from.c_str(), to.c_str()); }, nothing);
}

Failure unlink(const std::string& path) {
	return onPath("unlink", "unlink", path, {}, [&] { return ::unlink(path.c_str()); }, nothing);
}

Failure mkdir(const std::string& path, mode_t mode) {
	return onPath("mkdir", "mkdir", path, {}, [&] { return ::mkdir(path.c_str(), mode); }, nothing);
}

Failure rmdir(const std::string& path) {
	return onPath("rmdir", "rmdir", path, {}, [&] { return ::rmdir(path.c_str()); }, nothing);
}

Failure fstat(int fd, struct stat& result) {
	return askingFile("fstat", "fstat", fd, [&] { return ::fstat(fd, &result); });
}

Failure statfs(const std::string& path, struct statfs& result) {
	return asking("statfs", "statfs", path, [&] { return ::statfs(path.c_str(), &result); });
}

Failure seek(int fd, uint64_t offset, int whence, int64_t& found) {
	found = -1;
	auto call = [&] { return found = ::lseek(fd, static_cast<off_t>(offset), whence); };
	Failure result = askingFile("seek", "lseek", fd, call);
	return result.error == ENXIO ? Failure{} : result;
}

Failure lock(int fd, short kind, uint64_t offset, uint64_t length, bool& granted) {
	struct flock range {};
	range.l_type = kind;
	range.l_whence = SEEK_SET;
	range.l_start = static_cast<off_t>(offset);
	range.l_len = static_cast<off_t>(length);
	const Failure result = askingFile("lock", "fcntl", fd, [&] { return ::fcntl(fd, F_OFD_SETLK, &range); });
	granted = !result.failed();
	return result.error == EAGAIN || result.error == EACCES ? Failure{} : result;
}

}  // namespace sys
