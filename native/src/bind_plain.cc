// The synchronous functions of index.ts: hashes, LZ4, one record at a time, owners of sockets.
#include <algorithm>
#include <climits>

#include "args.h"
#include "bind.h"
#include "codec.h"
#include "hash.h"
#include "record.h"
#include "socket_owner.h"

namespace {

using Info = Napi::CallbackInfo;
using Napi::Value;

Value sha256(const Info& info) {
	const args::Bytes data = args::bytes(info[0], "data");
	auto result = Napi::Buffer<uint8_t>::New(info.Env(), hash::kIdentitySize);
	hash::sha256(data.data, data.size, result.Data());
	return result;
}

Value hmacSha256(const Info& info) {
	const args::Bytes key = args::bytes(info[0], "key");
	const args::Bytes data = args::bytes(info[1], "data");
	auto result = Napi::Buffer<uint8_t>::New(info.Env(), hash::kIdentitySize);
	hash::hmacSha256(key.data, key.size, data.data, data.size, result.Data());
	return result;
}

Value xxh3(const Info& info) {
	const args::Bytes data = args::bytes(info[0], "data");
	uint64_t seed = 0;
	if (!info[1].IsUndefined()) {
		bool exact = false;
		if (!info[1].IsBigInt()) args::throwType(info.Env(), "seed must be a bigint");
		seed = info[1].As<Napi::BigInt>().Uint64Value(&exact);
		if (!exact) args::throwRange(info.Env(), "seed must fit 64 bits");
	}
	return Napi::BigInt::New(info.Env(), hash::xxh3(data.data, data.size, seed));
}

Value isZero(const Info& info) {
	const args::Bytes data = args::bytes(info[0], "data");
	return Napi::Boolean::New(info.Env(), hash::isZero(data.data, data.size));
}

Value lz4Compress(const Info& info) {
	const args::Bytes data = args::bytes(info[0], "data");
	const args::Bytes target = args::bytes(info[1], "target");
	if (data.size > codec::kMaxInput) args::throwRange(info.Env(), "data is too long for LZ4");
	const size_t written = codec::compress(codec::kLz4, 0, data.data, data.size, target.data, target.size);
	return Napi::Number::New(info.Env(), static_cast<double>(written));
}

Value lz4Decompress(const Info& info) {
	const args::Bytes data = args::bytes(info[0], "data");
	const args::Bytes target = args::bytes(info[1], "target");
	const int64_t written = codec::decompress(codec::kLz4, data.data, data.size, target.data, target.size);
	if (written < 0) {
		const char* const message = "EDECODE: malformed LZ4 block, or larger than its target";
		throw Napi::Error(info.Env(), codedError(info.Env(), "EDECODE", message));
	}
	return Napi::Number::New(info.Env(), static_cast<double>(written));
}

Value encodeRecord(const Info& info) {
	const args::Bytes data = args::bytes(info[0], "data");
	const args::Bytes identity = args::identity(info[1], "identity");
	const uint8_t type = static_cast<uint8_t>(args::integer(info[2], "type", UINT8_MAX));
	const record::Encoding encoding = args::encoding(info[3], info[4], info[5]);
	if (data.size > record::kMaxRawLength) args::throwRange(info.Env(), "a record holds at most 64 MiB");
	const auto space = std::make_unique_for_overwrite<uint8_t[]>(record::roomFor(data.size));
	const size_t length = record::encode(data.data, data.size, identity.data, type, encoding, space.get());
	return Napi::Buffer<uint8_t>::Copy(info.Env(), space.get(), length);
}

Value sealRecords(const Info& info) {
	const uint64_t position = args::integer(info[2], "position");
	const args::Bytes bytes = args::bytes(info[0], "bytes");
	const args::Bytes seal = args::seal(info[3]);
	uint64_t offset = 0;
	for (const uint32_t length : args::sealedLengths(info[1], bytes.size)) {
		record::sealRecord(bytes.data + offset, length, seal.data, position + offset);
		offset += length;
	}
	return info.Env().Undefined();
}

[[noreturn]] void throwRecord(Napi::Env env, record::Status status) {
	const std::string reason = record::statusName(status);
	Napi::Error error(env, codedError(env, "ERECORD", "ERECORD: the record cannot be used: " + reason));
	error.Set("reason", reason);
	throw error;
}

Value decodeRecord(const Info& info) {
	const Napi::Env env = info.Env();
	const bool sealed = !info[3].IsUndefined();
	const uint64_t position = args::integerOr(info[4], "position", 0);
	const args::Bytes bytes = args::bytes(info[0], "record");
	const args::Bytes seal = sealed ? args::seal(info[3]) : args::Bytes{nullptr, 0};
	const bool any = info[1].IsNull();
	const args::Bytes identity = any ? args::Bytes{nullptr, 0} : args::identity(info[1], "identity");
	const uint8_t type = static_cast<uint8_t>(args::integer(info[2], "type", UINT8_MAX));
	record::Header header;
	record::Status status = record::verify(bytes.data, bytes.size, identity.data, type, sealed, header);
	if (status != record::Status::ok) throwRecord(env, status);
	// A copy: what the caller gave stays as it is.
	std::vector<uint8_t> open;
	if (sealed) {
		open.assign(bytes.data, bytes.data + bytes.size);
		status = record::unseal(open.data(), header, seal.data, position);
		if (status != record::Status::ok) throwRecord(env, status);
	}
	auto result = Napi::Buffer<uint8_t>::New(env, header.rawLength);
	status = record::decode(sealed ? open.data() : bytes.data, header, result.Data());
	if (status != record::Status::ok) throwRecord(env, status);
	return result;
}

sockets::End end(const Info& info, size_t first) {
	const args::Bytes address = args::bytes(info[first], "address");
	if (address.size != 4 && address.size != 16) args::throwRange(info.Env(), "an address has 4 or 16 bytes");
	return {address.data, address.size, static_cast<uint16_t>(args::integer(info[first + 1], "port", UINT16_MAX))};
}

Value socketOwner(const Info& info) {
	const sockets::End local = end(info, 0);
	const sockets::End remote = end(info, 2);
	if (local.size != remote.size) args::throwRange(info.Env(), "both addresses must be of one family");
	bool found = false;
	uint32_t uid = 0;
	args::check(info.Env(), sockets::owner(local, remote, found, uid));
	return found ? Value(Napi::Number::New(info.Env(), uid)) : info.Env().Undefined();
}

}  // namespace

void bindPlain(Napi::Env env, Napi::Object exports) {
	auto add = [&](const char* name, auto callback) { exports.Set(name, Napi::Function::New(env, callback, name)); };
	add("sha256", sha256);
	add("hmacSha256", hmacSha256);
	add("xxh3", xxh3);
	add("isZero", isZero);
	add("lz4Compress", lz4Compress);
	add("lz4Decompress", lz4Decompress);
	add("encodeRecord", encodeRecord);
	add("socketOwner", socketOwner);
	add("sealRecords", sealRecords);
	add("decodeRecord", decodeRecord);
}
