// What lanes can do. Each job checks nothing: bind_lane.cc has validated every offset against its buffer.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "hash.h"
#include "lane.h"
#include "record.h"

class OpenJob : public Job {
public:
	OpenJob(std::string path, int flags, mode_t mode) : path(std::move(path)), flags(flags), mode(mode) {}
	/** Closes what nobody has been told of. */
	~OpenJob() override;
	Failure run() override;
	napi_value result(napi_env env) override;

private:
	const std::string path;
	const int flags;
	const mode_t mode;
	int fd = -1;
};

class PreadJob : public Job {
public:
	PreadJob(int fd, uint8_t* data, size_t size, uint64_t position)
		: fd(fd), data(data), size(size), position(position) {}
	Failure run() override;
	napi_value result(napi_env env) override;

private:
	const int fd;
	uint8_t* const data;
	const size_t size;
	const uint64_t position;
	size_t got = 0;
};

/** Reads into several places, one after the other; stops at the first that the file is too short for. */
class PreadManyJob : public Job {
public:
	PreadManyJob(int fd, std::vector<iovec> targets, std::vector<uint64_t> positions)
		: fd(fd), targets(std::move(targets)), positions(std::move(positions)) {}
	Failure run() override;
	napi_value result(napi_env env) override;

private:
	const int fd;
	const std::vector<iovec> targets;
	const std::vector<uint64_t> positions;
	/** targets that are filled */
	size_t filled = 0;
};

class WriteJob : public Job {
public:
	WriteJob(int fd, std::vector<iovec> parts, uint64_t position, bool sync)
		: fd(fd), parts(std::move(parts)), position(position), sync(sync) {}
	Failure run() override;
	napi_value result(napi_env env) override;

private:
	const int fd;
	const std::vector<iovec> parts;
	const uint64_t position;
	const bool sync;
};

class SyncJob : public Job {
public:
	SyncJob(int fd, bool dataOnly) : fd(fd), dataOnly(dataOnly) {}
	explicit SyncJob(std::string directory) : directory(std::move(directory)) {}
	Failure run() override;
	napi_value result(napi_env env) override;

private:
	const int fd = -1;
	const bool dataOnly = false;
	const std::string directory;
};

/** Renames without replacing, unlinks, or makes a directory. */
class NameJob : public Job {
public:
	static std::unique_ptr<NameJob> renaming(std::string from, std::string to) {
		return std::unique_ptr<NameJob>(new NameJob(Call::rename, std::move(from), std::move(to), 0));
	}
	static std::unique_ptr<NameJob> unlinking(std::string path) {
		return std::unique_ptr<NameJob>(new NameJob(Call::unlink, std::move(path), {}, 0));
	}
	static std::unique_ptr<NameJob> making(std::string path, mode_t mode) {
		return std::unique_ptr<NameJob>(new NameJob(Call::mkdir, std::move(path), {}, mode));
	}
	Failure run() override;
	napi_value result(napi_env env) override;

private:
	enum class Call { rename, unlink, mkdir };
	NameJob(Call call, std::string path, std::string to, mode_t mode)
		: call(call), path(std::move(path)), to(std::move(to)), mode(mode) {}
	const Call call;
	const std::string path;
	const std::string to;
	const mode_t mode;
};

class FallocateJob : public Job {
public:
	FallocateJob(int fd, int mode, uint64_t offset, uint64_t length)
		: fd(fd), mode(mode), offset(offset), length(length) {}
	Failure run() override;
	napi_value result(napi_env env) override;

private:
	const int fd;
	const int mode;
	const uint64_t offset;
	const uint64_t length;
};

class WriteZerosJob : public Job {
public:
	WriteZerosJob(int fd, uint64_t position, uint64_t length) : fd(fd), position(position), length(length) {}
	Failure run() override;
	napi_value result(napi_env env) override;

private:
	const int fd;
	const uint64_t position;
	const uint64_t length;
};

/** One record to read, verify and decode, and how that went. */
struct RecordRead {
	int fd;
	uint64_t position;
	uint64_t length;
	uint8_t identity[hash::kIdentitySize];
	uint8_t type;
	uint64_t rawLength;
	uint8_t* target;
	/** encrypted: with this */
	bool sealed = false;
	uint8_t seal[seal::kSealSize];
	record::Status status = record::Status::cutShort;
	/** errno of the read; the status does not count then */
	int error = 0;

	/** On a lane thread: reads this one alone. */
	void perform();
	/** `got` bytes of the record have been read to `bytes`, which are decrypted in place. */
	void check(uint8_t* bytes, uint64_t got);
	bool good() const { return error == 0 && status == record::Status::ok; }
};

class ReadRecordsJob : public Job {
public:
	using Read = RecordRead;

	explicit ReadRecordsJob(std::vector<Read> reads) : reads(std::move(reads)) {}
	Failure run() override;
	napi_value result(napi_env env) override;

private:
	void readRun(size_t first, size_t end, uint64_t length, uint8_t* space);
	std::vector<Read> reads;
};

/** Small files, each opened, read from its start and closed. */
class ReadFilesJob : public Job {
public:
	/** Of each file at most `limit` bytes. */
	ReadFilesJob(std::vector<std::string> paths, size_t limit) : paths(std::move(paths)), limit(limit) {}
	Failure run() override;
	napi_value result(napi_env env) override;

private:
	int32_t readOne(const std::string& path, uint8_t* space);
	const std::vector<std::string> paths;
	const size_t limit;
	/** what was read, back to back */
	std::vector<uint8_t> bytes;
	/** bytes read of each file, or its negative errno */
	std::vector<int32_t> lengths;
};

class HashBlocksJob : public Job {
public:
	/** `key` empty: SHA-256; else HMAC-SHA-256 under it. */
	HashBlocksJob(const uint8_t* data, size_t size, size_t blockSize, std::vector<uint8_t> key)
		: data(data), size(size), blockSize(blockSize), key(std::move(key)) {}
	Failure run() override;
	napi_value result(napi_env env) override;

private:
	const uint8_t* const data;
	const size_t size;
	const size_t blockSize;
	const std::vector<uint8_t> key;
	std::vector<uint8_t> identities;
	std::vector<uint8_t> zero;
};

class EncodeRecordsJob : public Job {
public:
	EncodeRecordsJob(const uint8_t* data, size_t size, size_t blockSize, std::vector<uint32_t> chosen,
		const uint8_t* identities, uint8_t type, record::Encoding encoding)
		: data(data), size(size), blockSize(blockSize), chosen(std::move(chosen)), identities(identities), type(type),
		  encoding(encoding) {}
	~EncodeRecordsJob() override;
	Failure run() override;
	napi_value result(napi_env env) override;

private:
	const uint8_t* const data;
	const size_t size;
	const size_t blockSize;
	const std::vector<uint32_t> chosen;
	const uint8_t* const identities;
	const uint8_t type;
	const record::Encoding encoding;
	/** malloc'ed; JavaScript takes it over */
	uint8_t* bytes = nullptr;
	size_t bytesSize = 0;
	std::vector<uint32_t> lengths;
};

/** Encrypts records that lie back to back, in place. */
class SealRecordsJob : public Job {
public:
	SealRecordsJob(uint8_t* data, std::vector<uint32_t> lengths, uint64_t position, const uint8_t* seal);
	Failure run() override;
	napi_value result(napi_env env) override;

private:
	uint8_t* const data;
	const std::vector<uint32_t> lengths;
	const uint64_t position;
	uint8_t seal[seal::kSealSize];
};
