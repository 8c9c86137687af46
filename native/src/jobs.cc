// The jobs of lanes: run() on a lane thread, result() on the JavaScript thread.
#include "jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <new>

#include "sys.h"

namespace {

/** Adjacent records are read together up to so many bytes. */
constexpr uint64_t kMaxRun = uint64_t{4} << 20;

napi_value undefined(napi_env env) {
	napi_value value;
	return napi_get_undefined(env, &value) == napi_ok ? value : nullptr;
}

template <class Item>
napi_value typedArray(napi_env env, napi_typedarray_type type, const std::vector<Item>& items) {
	const size_t size = items.size() * sizeof(Item);
	void* space;
	napi_value buffer;
	napi_value array;
	if (napi_create_arraybuffer(env, size, &space, &buffer) != napi_ok) return nullptr;
	if (size > 0) memcpy(space, items.data(), size);
	return napi_create_typedarray(env, type, items.size(), buffer, 0, &array) == napi_ok ? array : nullptr;
}

napi_value pair(napi_env env, const char* firstName, napi_value first, const char* secondName, napi_value second) {
	napi_value object;
	if (first == nullptr || second == nullptr || napi_create_object(env, &object) != napi_ok) return nullptr;
	if (napi_set_named_property(env, object, firstName, first) != napi_ok) return nullptr;
	if (napi_set_named_property(env, object, secondName, second) != napi_ok) return nullptr;
	return object;
}

/** Where records are read to before they are decoded; kept per thread, because fresh pages cost faults. */
class Scratch {
public:
	uint8_t* atLeast(size_t size) {
		if (size > capacity) {
			space.reset();
			capacity = 0;
			space = std::make_unique_for_overwrite<uint8_t[]>(size);
			capacity = size;
		}
		return space.get();
	}
	/** Frees what an unusually large record left behind. */
	void trim() {
		if (capacity <= kMaxRun) return;
		space.reset();
		capacity = 0;
	}

private:
	std::unique_ptr<uint8_t[]> space;
	size_t capacity = 0;
};

thread_local Scratch scratch;

/** Never written to. Aligned as O_DIRECT demands; takes no room in the addon's file. */
alignas(4096) uint8_t zeros[256 * 1024];

}  // namespace

OpenJob::~OpenJob() {
	if (fd >= 0) sys::close(fd);
}

Failure OpenJob::run() { return sys::open(path, flags, mode, fd); }

napi_value OpenJob::result(napi_env env) {
	napi_value value;
	if (napi_create_int32(env, fd, &value) != napi_ok) return nullptr;
	fd = -1;
	return value;
}

Failure PreadJob::run() { return sys::pread(fd, data, size, position, got); }

napi_value PreadJob::result(napi_env env) {
	napi_value value;
	return napi_create_double(env, static_cast<double>(got), &value) == napi_ok ? value : nullptr;
}

Failure PreadManyJob::run() {
	for (; filled < targets.size(); filled++) {
		const iovec& target = targets[filled];
		size_t got;
		const Failure failure =
			sys::pread(fd, static_cast<uint8_t*>(target.iov_base), target.iov_len, positions[filled], got);
		if (failure.failed()) return failure;
		if (got < target.iov_len) break;
	}
	return Failure{};
}

napi_value PreadManyJob::result(napi_env env) {
	napi_value value;
	return napi_create_double(env, static_cast<double>(filled), &value) == napi_ok ? value : nullptr;
}

Failure WriteJob::run() {
	Failure failure = sys::pwrite(fd, parts.data(), parts.size(), position);
	if (!failure.failed() && sync) failure = sys::fdatasync(fd);
	return failure;
}

napi_value WriteJob::result(napi_env env) { return undefined(env); }

Failure SyncJob::run() {
	if (fd < 0) return sys::fsyncDirectory(directory);
	return dataOnly ? sys::fdatasync(fd) : sys::fsync(fd);
}

napi_value SyncJob::result(napi_env env) { return undefined(env); }

Failure NameJob::run() {
	switch (call) {
	case Call::rename:
		return sys::rename(path, to, false);
	case Call::unlink:
		return sys::unlink(path);
	case Call::mkdir:
		return sys::mkdir(path, mode);
	}
	return Failure{};
}

napi_value NameJob::result(napi_env env) { return undefined(env); }

Failure FallocateJob::run() { return sys::fallocate(fd, mode, offset, length); }

napi_value FallocateJob::result(napi_env env) { return undefined(env); }

Failure WriteZerosJob::run() {
	std::vector<iovec> parts;
	for (uint64_t left = length; left > 0; left -= parts.back().iov_len) {
		parts.push_back(iovec{zeros, std::min<uint64_t>(left, sizeof(zeros))});
	}
	return sys::pwrite(fd, parts.data(), parts.size(), position);
}

napi_value WriteZerosJob::result(napi_env env) { return undefined(env); }

Failure ReadRecordsJob::run() {
	for (size_t first = 0; first < reads.size();) {
		uint64_t length = reads[first].length;
		size_t end = first + 1;
		while (end < reads.size() && reads[end].fd == reads[first].fd &&
			reads[end].position == reads[first].position + length && length + reads[end].length <= kMaxRun) {
			length += reads[end++].length;
		}
		readRun(first, end, length, scratch.atLeast(length));
		first = end;
	}
	scratch.trim();
	return Failure{};
}

void ReadRecordsJob::readRun(size_t first, size_t end, uint64_t length, uint8_t* space) {
	size_t got;
	const Failure failure = sys::pread(reads[first].fd, space, length, reads[first].position, got);
	if (failure.failed() && end - first > 1) {
		// One bad sector must not take its neighbours with it.
		for (size_t i = first; i < end; i++) readRun(i, i + 1, reads[i].length, space);
		return;
	}
	uint64_t offset = 0;
	for (size_t i = first; i < end; i++) {
		if (failure.failed()) {
			reads[i].error = failure.error;
		} else {
			reads[i].check(space + offset, got > offset ? got - offset : 0);
		}
		offset += reads[i].length;
	}
}

void RecordRead::perform() {
	uint8_t* const space = scratch.atLeast(length);
	size_t got;
	const Failure failure = sys::pread(fd, space, length, position, got);
	if (failure.failed()) {
		error = failure.error;
	} else {
		check(space, got);
	}
	scratch.trim();
}

void RecordRead::check(uint8_t* bytes, uint64_t got) {
	if (got < length) {
		status = record::Status::cutShort;
		return;
	}
	if (length < record::kHeaderSize) {
		status = record::Status::length;
		return;
	}
	record::Header header;
	status = record::verify(bytes, length, identity, type, sealed, header);
	if (status == record::Status::ok && header.rawLength != rawLength) status = record::Status::length;
	if (status == record::Status::ok && sealed) status = record::unseal(bytes, header, seal, position);
	if (status == record::Status::ok) status = record::decode(bytes, header, target);
}

napi_value ReadRecordsJob::result(napi_env env) {
	napi_value array;
	napi_value ok;
	if (napi_create_array_with_length(env, reads.size(), &array) != napi_ok) return nullptr;
	if (napi_create_string_utf8(env, "ok", 2, &ok) != napi_ok) return nullptr;
	for (size_t i = 0; i < reads.size(); i++) {
		napi_value status = ok;
		if (reads[i].error != 0 || reads[i].status != record::Status::ok) {
			const std::string name =
				reads[i].error != 0 ? errorName(reads[i].error) : record::statusName(reads[i].status);
			if (napi_create_string_utf8(env, name.data(), name.size(), &status) != napi_ok) return nullptr;
		}
		if (napi_set_element(env, array, static_cast<uint32_t>(i), status) != napi_ok) return nullptr;
	}
	return array;
}

Failure ReadFilesJob::run() {
	uint8_t* const space = scratch.atLeast(limit);
	lengths.reserve(paths.size());
	for (const std::string& path : paths) {
		const int32_t length = readOne(path, space);
		lengths.push_back(length);
		if (length > 0) bytes.insert(bytes.end(), space, space + length);
	}
	scratch.trim();
	return Failure{};
}

int32_t ReadFilesJob::readOne(const std::string& path, uint8_t* space) {
	int fd;
	if (const Failure failure = sys::open(path, O_RDONLY, 0, fd); failure.failed()) return -failure.error;
	size_t got;
	const Failure failure = sys::pread(fd, space, limit, 0, got);
	sys::close(fd);
	return failure.failed() ? -failure.error : static_cast<int32_t>(got);
}

napi_value ReadFilesJob::result(napi_env env) {
	napi_value buffer;
	napi_value errors;
	if (napi_create_buffer_copy(env, bytes.size(), bytes.data(), nullptr, &buffer) != napi_ok) return nullptr;
	if (napi_create_array_with_length(env, paths.size(), &errors) != napi_ok) return nullptr;
	for (size_t i = 0; i < paths.size(); i++) {
		if (lengths[i] >= 0) continue;
		const std::string name = errorName(-lengths[i]);
		napi_value code;
		if (napi_create_string_utf8(env, name.data(), name.size(), &code) != napi_ok) return nullptr;
		if (napi_set_element(env, errors, static_cast<uint32_t>(i), code) != napi_ok) return nullptr;
		lengths[i] = 0;
	}
	napi_value object = pair(env, "bytes", buffer, "lengths", typedArray(env, napi_int32_array, lengths));
	if (object == nullptr || napi_set_named_property(env, object, "errors", errors) != napi_ok) return nullptr;
	return object;
}

Failure HashBlocksJob::run() {
	const size_t blocks = size / blockSize + (size % blockSize != 0 ? 1 : 0);
	identities.resize(blocks * hash::kIdentitySize);
	zero.resize(blocks);
	for (size_t i = 0; i < blocks; i++) {
		const uint8_t* block = data + i * blockSize;
		const size_t length = std::min(blockSize, size - i * blockSize);
		if (hash::isZero(block, length)) {
			zero[i] = 1;
		} else if (key.empty()) {
			hash::sha256(block, length, &identities[i * hash::kIdentitySize]);
		} else {
			hash::hmacSha256(key.data(), key.size(), block, length, &identities[i * hash::kIdentitySize]);
		}
	}
	return Failure{};
}

napi_value HashBlocksJob::result(napi_env env) {
	napi_value buffer;
	if (napi_create_buffer_copy(env, identities.size(), identities.data(), nullptr, &buffer) != napi_ok) return nullptr;
	return pair(env, "identities", buffer, "zero", typedArray(env, napi_uint8_array, zero));
}

EncodeRecordsJob::~EncodeRecordsJob() { free(bytes); }

Failure EncodeRecordsJob::run() {
	auto lengthOf = [&](uint32_t block) { return std::min(blockSize, size - block * blockSize); };
	size_t room = 0;
	for (const uint32_t block : chosen) room += record::roomFor(lengthOf(block));
	if (room == 0) return Failure{};
	bytes = static_cast<uint8_t*>(malloc(room));
	if (bytes == nullptr) throw std::bad_alloc();
	lengths.reserve(chosen.size());
	for (const uint32_t block : chosen) {
		const size_t length = record::encode(data + block * blockSize, lengthOf(block),
			identities + block * hash::kIdentitySize, type, encoding, bytes + bytesSize);
		lengths.push_back(static_cast<uint32_t>(length));
		bytesSize += length;
	}
	if (void* fitted = realloc(bytes, bytesSize)) bytes = static_cast<uint8_t*>(fitted);
	return Failure{};
}

napi_value EncodeRecordsJob::result(napi_env env) {
	napi_value buffer;
	if (bytesSize == 0) {
		if (napi_create_buffer_copy(env, 0, nullptr, nullptr, &buffer) != napi_ok) return nullptr;
	} else {
		auto release = [](napi_env, void* space, void*) { free(space); };
		if (napi_create_external_buffer(env, bytesSize, bytes, release, nullptr, &buffer) != napi_ok) return nullptr;
		bytes = nullptr;
	}
	return pair(env, "bytes", buffer, "lengths", typedArray(env, napi_uint32_array, lengths));
}

SealRecordsJob::SealRecordsJob(uint8_t* data, std::vector<uint32_t> lengths, uint64_t position, const uint8_t* key)
	: data(data), lengths(std::move(lengths)), position(position) {
	memcpy(seal, key, sizeof(seal));
}

Failure SealRecordsJob::run() {
	uint64_t offset = 0;
	for (const uint32_t length : lengths) {
		record::sealRecord(data + offset, length, seal, position + offset);
		offset += length;
	}
	return Failure{};
}

napi_value SealRecordsJob::result(napi_env env) { return undefined(env); }
