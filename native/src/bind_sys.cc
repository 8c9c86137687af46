// `sys` of index.ts: argument checks around sys.h.
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <vector>

#include "args.h"
#include "bind.h"
#include "sys.h"

// Named, so that these do not collide with the system calls of the same names.
namespace bound {
namespace {

using Info = Napi::CallbackInfo;
using Napi::Value;

constexpr uint64_t kModeBits = 07777;

Value open(const Info& info) {
	const std::string path = args::path(info[0], "path");
	const int flags = static_cast<int>(args::integer(info[1], "flags", INT_MAX));
	const mode_t mode = static_cast<mode_t>(args::integerOr(info[2], "mode", 0666, kModeBits));
	int fd;
	args::check(info.Env(), sys::open(path, flags, mode, fd));
	return Napi::Number::New(info.Env(), fd);
}

void close(const Info& info) { args::check(info.Env(), sys::close(args::descriptor(info[0]))); }

Value pread(const Info& info) {
	const int fd = args::descriptor(info[0]);
	const uint64_t position = args::integer(info[2], "position");
	const args::Bytes target = args::bytes(info[1], "target");
	size_t got;
	args::check(info.Env(), sys::pread(fd, target.data, target.size, position, got));
	return Napi::Number::New(info.Env(), static_cast<double>(got));
}

void pwrite(const Info& info) {
	const int fd = args::descriptor(info[0]);
	const uint64_t position = args::integer(info[2], "position");
	const args::Bytes data = args::bytes(info[1], "data");
	const iovec part{data.data, data.size};
	args::check(info.Env(), sys::pwrite(fd, &part, 1, position));
}

void pwritev(const Info& info) {
	const int fd = args::descriptor(info[0]);
	const Napi::Array list = args::array(info[1], "parts");
	const uint64_t position = args::integer(info[2], "position");
	// Elements first, memory after: a getter could detach a buffer that was looked at before.
	std::vector<Value> values;
	for (uint32_t i = 0; i < list.Length(); i++) values.push_back(list.Get(i));
	std::vector<iovec> parts;
	for (const Value& value : values) {
		const args::Bytes bytes = args::bytes(value, "each part");
		parts.push_back(iovec{bytes.data, bytes.size});
	}
	args::check(info.Env(), sys::pwrite(fd, parts.data(), parts.size(), position));
}

void fsync(const Info& info) { args::check(info.Env(), sys::fsync(args::descriptor(info[0]))); }

void fdatasync(const Info& info) { args::check(info.Env(), sys::fdatasync(args::descriptor(info[0]))); }

void fsyncDirectory(const Info& info) { args::check(info.Env(), sys::fsyncDirectory(args::path(info[0], "path"))); }

void ftruncate(const Info& info) {
	const int fd = args::descriptor(info[0]);
	args::check(info.Env(), sys::ftruncate(fd, args::integer(info[1], "length")));
}

void fallocate(const Info& info) {
	const int fd = args::descriptor(info[0]);
	const int mode = static_cast<int>(args::integer(info[1], "mode", INT_MAX));
	const uint64_t offset = args::integer(info[2], "offset");
	args::check(info.Env(), sys::fallocate(fd, mode, offset, args::integer(info[3], "length")));
}

template <bool replace>
void rename(const Info& info) {
	const std::string from = args::path(info[0], "from");
	args::check(info.Env(), sys::rename(from, args::path(info[1], "to"), replace));
}

void link(const Info& info) {
	const std::string from = args::path(info[0], "from");
	args::check(info.Env(), sys::link(from, args::path(info[1], "to")));
}

void unlink(const Info& info) { args::check(info.Env(), sys::unlink(args::path(info[0], "path"))); }

void mkdir(const Info& info) {
	const std::string path = args::path(info[0], "path");
	args::check(info.Env(), sys::mkdir(path, static_cast<mode_t>(args::integer(info[1], "mode", kModeBits))));
}

void rmdir(const Info& info) { args::check(info.Env(), sys::rmdir(args::path(info[0], "path"))); }

Value fstat(const Info& info) {
	const Napi::Env env = info.Env();
	struct stat found;
	args::check(env, sys::fstat(args::descriptor(info[0]), found));
	Napi::Object result = Napi::Object::New(env);
	result.Set("size", static_cast<double>(found.st_size));
	result.Set("allocated", static_cast<double>(found.st_blocks) * 512);
	result.Set("dev", static_cast<double>(found.st_dev));
	result.Set("ino", static_cast<double>(found.st_ino));
	result.Set("mode", static_cast<double>(found.st_mode));
	const int64_t ns = static_cast<int64_t>(found.st_mtim.tv_sec) * 1000000000 + found.st_mtim.tv_nsec;
	result.Set("mtimeNs", Napi::BigInt::New(env, ns));
	return result;
}

Value statfs(const Info& info) {
	const Napi::Env env = info.Env();
	struct statfs found;
	args::check(env, sys::statfs(args::path(info[0], "path"), found));
	const double unit = static_cast<double>(found.f_frsize != 0 ? found.f_frsize : found.f_bsize);
	Napi::Object result = Napi::Object::New(env);
	result.Set("total", static_cast<double>(found.f_blocks) * unit);
	result.Set("free", static_cast<double>(found.f_bfree) * unit);
	result.Set("available", static_cast<double>(found.f_bavail) * unit);
	result.Set("files", static_cast<double>(found.f_files));
	result.Set("filesFree", static_cast<double>(found.f_ffree));
	result.Set("type", static_cast<double>(static_cast<uint32_t>(found.f_type)));
	return result;
}

template <int whence>
Value seek(const Info& info) {
	const int fd = args::descriptor(info[0]);
	int64_t found;
	args::check(info.Env(), sys::seek(fd, args::integer(info[1], "offset"), whence, found));
	return Napi::Number::New(info.Env(), static_cast<double>(found));
}

bool setLock(const Info& info, short kind, Value offset, Value length) {
	bool granted;
	const int fd = args::descriptor(info[0]);
	const uint64_t from = args::integer(offset, "offset");
	args::check(info.Env(), sys::lock(fd, kind, from, args::integer(length, "length"), granted));
	return granted;
}

Value lock(const Info& info) {
	const std::string kind = args::text(info[1], "kind");
	if (kind != "shared" && kind != "exclusive") args::throwType(info.Env(), "kind must be shared or exclusive");
	const bool granted = setLock(info, kind == "shared" ? F_RDLCK : F_WRLCK, info[2], info[3]);
	return Napi::Boolean::New(info.Env(), granted);
}

void unlock(const Info& info) { setLock(info, F_UNLCK, info[1], info[2]); }

}  // namespace
}  // namespace bound

Napi::Object bindSys(Napi::Env env) {
	Napi::Object sys = Napi::Object::New(env);
	auto add = [&](const char* name, auto callback) { sys.Set(name, Napi::Function::New(env, callback, name)); };
	add("open", bound::open);
	add("close", bound::close);
	add("pread", bound::pread);
	add("pwrite", bound::pwrite);
	add("pwritev", bound::pwritev);
	add("fsync", bound::fsync);
	add("fdatasync", bound::fdatasync);
	add("fsyncDirectory", bound::fsyncDirectory);
	add("ftruncate", bound::ftruncate);
	add("fallocate", bound::fallocate);
	add("rename", bound::rename<true>);
	add("renameNoReplace", bound::rename<false>);
	add("link", bound::link);
	add("unlink", bound::unlink);
	add("mkdir", bound::mkdir);
	add("rmdir", bound::rmdir);
	add("fstat", bound::fstat);
	add("statfs", bound::statfs);
	add("seekData", bound::seek<SEEK_DATA>);
	add("seekHole", bound::seek<SEEK_HOLE>);
	add("lock", bound::lock);
	add("unlock", bound::unlock);
	return sys;
}
