// `createLane` and the Lane object of index.ts: checks arguments, makes jobs, queues them.
#include <string.h>

#include <array>
#include <climits>
#include <memory>
#include <system_error>
#include <vector>

#include "args.h"
#include "bind.h"
#include "codec.h"
#include "jobs.h"
#include "lane.h"
#include "record_queue.h"

namespace {

using Info = Napi::CallbackInfo;


constexpr uint64_t kMaxThreads = 64;
/** Most zeros of one job: nobody should wait longer for its end. */
constexpr uint64_t kMaxZeros = uint64_t{64} << 20;
/** Most bytes of each file of readFiles. */
constexpr uint64_t kMaxFile = uint64_t{1} << 20;
constexpr uint64_t kModeBits = 07777;
/** Longest stored record that readRecords will try to read: a full header and incompressible data. */
constexpr uint64_t kMaxRecord = record::roomFor(record::kMaxRawLength);

enum Key { kFd, kPosition, kLength, kIdentity, kType, kRawLength, kTarget, kTargetOffset, kSeal, kKeys };
constexpr const char* kKeyNames[kKeys] = {
	"fd", "position", "length", "identity", "type", "rawLength", "target", "targetOffset", "seal"};

/** What the environment's lanes share. */
struct Shared {
	std::shared_ptr<Hub> hub;
	Napi::FunctionReference constructor;
	/** property names of RecordRead, made once: they cost more than the lookups */
	Napi::ObjectReference keys;
};

class LaneObject : public Napi::ObjectWrap<LaneObject> {
public:
	static Napi::Function define(Napi::Env env) {
		return DefineClass(env, "Lane",
			{
				InstanceAccessor<&LaneObject::name>("name"),
				InstanceAccessor<&LaneObject::threads>("threads"),
				InstanceAccessor<&LaneObject::pending>("pending"),
				InstanceMethod<&LaneObject::open>("open"),
				InstanceMethod<&LaneObject::pread>("pread"),
				InstanceMethod<&LaneObject::preadMany>("preadMany"),
				InstanceMethod<&LaneObject::write>("write"),
				InstanceMethod<&LaneObject::writeZeros>("writeZeros"),
				InstanceMethod<&LaneObject::fallocate>("fallocate"),
				InstanceMethod<&LaneObject::fdatasync>("fdatasync"),
				InstanceMethod<&LaneObject::fsync>("fsync"),
				InstanceMethod<&LaneObject::fsyncDirectory>("fsyncDirectory"),
				InstanceMethod<&LaneObject::renameNoReplace>("renameNoReplace"),
				InstanceMethod<&LaneObject::unlink>("unlink"),
				InstanceMethod<&LaneObject::mkdir>("mkdir"),
				InstanceMethod<&LaneObject::readRecords>("readRecords"),
				InstanceMethod<&LaneObject::recordQueue>("recordQueue"),
				InstanceMethod<&LaneObject::readFiles>("readFiles"),
				InstanceMethod<&LaneObject::hashContent>("hashContent"),
				InstanceMethod<&LaneObject::hashBlocks>("hashBlocks"),
				InstanceMethod<&LaneObject::encodeRecords>("encodeRecords"),
				InstanceMethod<&LaneObject::sealRecords>("sealRecords"),
				InstanceMethod<&LaneObject::close>("close"),
			});
	}

	explicit LaneObject(const Info& info) : ObjectWrap(info) {
		const Napi::Env env = info.Env();
		const std::string laneName = args::text(info[0], "name");
		const uint64_t count = args::integer(info[1], "threads", kMaxThreads);
		if (count == 0) args::throwRange(env, "threads must be at least 1");
		try {
			lane = std::make_shared<Lane>(env.GetInstanceData<Shared>()->hub, laneName, count);
		} catch (const std::system_error& error) {
			args::throwSystem(env, Failure{error.code().value(), "pthread_create", {}});
		}
	}

private:
	static Napi::Value count(const Info& info, size_t number) {
		return Napi::Number::New(info.Env(), static_cast<double>(number));
	}

	Napi::Value name(const Info& info) { return Napi::String::New(info.Env(), lane->name); }
	Napi::Value threads(const Info& info) { return count(info, lane->threadCount); }
	Napi::Value pending(const Info& info) { return count(info, lane->pending()); }

	Napi::Value submit(const Info& info, std::unique_ptr<Job> job, napi_value buffers = nullptr) {
		const napi_value promise = lane->submit(info.Env(), std::move(job), buffers);
		if (promise == nullptr) throw Napi::Error::New(info.Env());
		return Napi::Value(info.Env(), promise);
	}

	Napi::Value open(const Info& info) {
		const std::string path = args::path(info[0], "path");
		const int flags = static_cast<int>(args::integer(info[1], "flags", INT_MAX));
		const mode_t mode = static_cast<mode_t>(args::integerOr(info[2], "mode", 0666, kModeBits));
		return submit(info, std::make_unique<OpenJob>(path, flags, mode));
	}

	/**
	 * The memory of a list of buffers. `kept` is an array of our own: the caller's may change. Elements first, memory
	 * after: a getter could detach a buffer that was looked at before.
	 */
	static void buffers(Napi::Env env, const Napi::Array& list, const char* what, Napi::Array& kept,
		std::vector<iovec>& memory) {
		const uint32_t count = list.Length();
		kept = Napi::Array::New(env, count);
		std::vector<Napi::Value> values;
		values.reserve(count);
		for (uint32_t i = 0; i < count; i++) {
			values.push_back(list.Get(i));
			kept.Set(i, values.back());
		}
		memory.reserve(count);
		for (const Napi::Value& value : values) {
			const args::Bytes bytes = args::bytes(value, what);
			memory.push_back(iovec{bytes.data, bytes.size});
		}
	}

	Napi::Value preadMany(const Info& info) {
		const int fd = args::descriptor(info[0]);
		const Napi::Array targets = args::array(info[1], "targets");
		const Napi::Array places = args::array(info[2], "positions");
		if (targets.Length() != places.Length()) {
			args::throwRange(info.Env(), "targets and positions must be as many");
		}
		std::vector<uint64_t> positions;
		positions.reserve(places.Length());
		for (uint32_t i = 0; i < places.Length(); i++) {
			positions.push_back(args::integer(places.Get(i), "each position"));
		}
		Napi::Array kept;
		std::vector<iovec> memory;
		buffers(info.Env(), targets, "each target", kept, memory);
		if (memory.size() != positions.size()) args::throwRange(info.Env(), "targets and positions must be as many");
		return submit(info, std::make_unique<PreadManyJob>(fd, std::move(memory), std::move(positions)), kept);
	}

	Napi::Value pread(const Info& info) {
		const int fd = args::descriptor(info[0]);
		const uint64_t position = args::integer(info[2], "position");
		const args::Bytes target = args::bytes(info[1], "target");
		return submit(info, std::make_unique<PreadJob>(fd, target.data, target.size, position), info[1]);
	}

	Napi::Value write(const Info& info) {
		const int fd = args::descriptor(info[0]);
		Napi::Array kept;
		std::vector<iovec> parts;
		const uint64_t position = args::integer(info[2], "position");
		const bool sync = args::boolean(info[3], "sync");
		buffers(info.Env(), args::array(info[1], "parts"), "each part", kept, parts);
		return submit(info, std::make_unique<WriteJob>(fd, std::move(parts), position, sync), kept);
	}

	Napi::Value writeZeros(const Info& info) {
		const int fd = args::descriptor(info[0]);
		const uint64_t position = args::integer(info[1], "position");
		const uint64_t length = args::integer(info[2], "length", kMaxZeros);
		return submit(info, std::make_unique<WriteZerosJob>(fd, position, length));
	}

	Napi::Value fallocate(const Info& info) {
		const int fd = args::descriptor(info[0]);
		const int mode = static_cast<int>(args::integer(info[1], "mode", INT_MAX));
		const uint64_t offset = args::integer(info[2], "offset");
		const uint64_t length = args::integer(info[3], "length");
		return submit(info, std::make_unique<FallocateJob>(fd, mode, offset, length));
	}

	Napi::Value fdatasync(const Info& info) {
		return submit(info, std::make_unique<SyncJob>(args::descriptor(info[0]), true));
	}

	Napi::Value fsync(const Info& info) {
		return submit(info, std::make_unique<SyncJob>(args::descriptor(info[0]), false));
	}

	Napi::Value fsyncDirectory(const Info& info) {
		return submit(info, std::make_unique<SyncJob>(args::path(info[0], "path")));
	}

	Napi::Value renameNoReplace(const Info& info) {
		return submit(info, NameJob::renaming(args::path(info[0], "from"), args::path(info[1], "to")));
	}

	Napi::Value unlink(const Info& info) { return submit(info, NameJob::unlinking(args::path(info[0], "path"))); }

	Napi::Value mkdir(const Info& info) {
		const mode_t mode = static_cast<mode_t>(args::integer(info[1], "mode", kModeBits));
		return submit(info, NameJob::making(args::path(info[0], "path"), mode));
	}

	Napi::Value readRecords(const Info& info) {
		const Napi::Env env = info.Env();
		const Napi::Array list = args::array(info[0], "reads");
		const uint32_t count = list.Length();
		const Napi::Object names = env.GetInstanceData<Shared>()->keys.Value();
		std::array<Napi::Value, kKeys> keys;
		for (uint32_t k = 0; k < kKeys; k++) keys[k] = names.Get(k);
		std::vector<std::array<Napi::Value, kKeys>> fields(count);
		Napi::Array kept = Napi::Array::New(env, count);
		for (uint32_t i = 0; i < count; i++) {
			const Napi::Value item = list.Get(i);
			if (!item.IsObject()) args::throwType(env, "each read must be an object");
			const Napi::Object object = item.As<Napi::Object>();
			for (size_t k = 0; k < kKeys; k++) fields[i][k] = object.Get(keys[k]);
			kept.Set(i, fields[i][kTarget]);
		}
		// No JavaScript runs from here on, so the memory below stays where it is.
		std::vector<ReadRecordsJob::Read> reads(count);
		for (uint32_t i = 0; i < count; i++) toRead(env, fields[i], reads[i]);
		return submit(info, std::make_unique<ReadRecordsJob>(std::move(reads)), kept);
	}

	Napi::Value recordQueue(const Info& info) { return record_queue::create(info.Env(), lane, info[0], info[1]); }

	static void toRead(Napi::Env env, const std::array<Napi::Value, kKeys>& field, ReadRecordsJob::Read& read) {
		read.fd = args::descriptor(field[kFd]);
		read.position = args::integer(field[kPosition], "position");
		read.length = args::integer(field[kLength], "length", kMaxRecord);
		memcpy(read.identity, args::identity(field[kIdentity], "identity").data, sizeof(read.identity));
		read.type = static_cast<uint8_t>(args::integer(field[kType], "type", UINT8_MAX));
		read.rawLength = args::integer(field[kRawLength], "rawLength", record::kMaxRawLength);
		const uint64_t offset = args::integer(field[kTargetOffset], "targetOffset");
		const args::Bytes target = args::bytes(field[kTarget], "target");
		if (offset > target.size || read.rawLength > target.size - offset) {
			args::throwRange(env, "targetOffset + rawLength is beyond the end of target");
		}
		read.target = target.data + offset;
		read.sealed = !field[kSeal].IsUndefined();
		if (read.sealed) memcpy(read.seal, args::seal(field[kSeal]).data, sizeof(read.seal));
	}

	Napi::Value readFiles(const Info& info) {
		const Napi::Array list = args::array(info[0], "paths");
		const uint64_t limit = args::integer(info[1], "limit", kMaxFile);
		std::vector<std::string> paths;
		const uint32_t count = list.Length();
		paths.reserve(count);
		for (uint32_t i = 0; i < count; i++) paths.push_back(args::path(list.Get(i), "each path"));
		return submit(info, std::make_unique<ReadFilesJob>(std::move(paths), limit));
	}

	Napi::Value hashContent(const Info& info) {
		auto hashing = std::make_unique<record::Hashing>();
		if (!info[0].IsUndefined()) {
			const args::Bytes key = args::identity(info[0], "key");
			hashing->key.assign(key.data, key.data + key.size);
		}
		lane->hashContent(std::move(hashing));
		return info.Env().Undefined();
	}

	static size_t blockSizeOf(const Napi::Value& value) {
		const uint64_t size = args::integer(value, "blockSize", record::kMaxRawLength);
		if (size == 0) args::throwRange(value.Env(), "blockSize must be at least 1");
		return size;
	}

	Napi::Value hashBlocks(const Info& info) {
		const size_t blockSize = blockSizeOf(info[1]);
		const args::Bytes data = args::bytes(info[0], "data");
		std::vector<uint8_t> key;
		if (!info[2].IsUndefined()) {
			const args::Bytes given = args::identity(info[2], "key");
			key.assign(given.data, given.data + given.size);
		}
		return submit(info, std::make_unique<HashBlocksJob>(data.data, data.size, blockSize, std::move(key)), info[0]);
	}

	Napi::Value encodeRecords(const Info& info) {
		const Napi::Env env = info.Env();
		const size_t blockSize = blockSizeOf(info[1]);
		const uint8_t type = static_cast<uint8_t>(args::integer(info[4], "type", UINT8_MAX));
		const record::Encoding encoding = args::encoding(info[5], info[6], info[7]);
		if (!info[2].IsTypedArray() || info[2].As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
			args::throwType(env, "chosen must be a Uint32Array");
		}
		const auto list = info[2].As<Napi::Uint32Array>();
		Napi::Array kept = Napi::Array::New(env, 2);
		kept.Set(0u, info[0]);
		kept.Set(1u, info[3]);
		const args::Bytes data = args::bytes(info[0], "data");
		const args::Bytes identities = args::bytes(info[3], "identities");
		const size_t blocks = data.size / blockSize + (data.size % blockSize != 0 ? 1 : 0);
		if (identities.size / hash::kIdentitySize < blocks) {
			args::throwRange(env, "identities must have 32 bytes for each block of data");
		}
		// Copied: checked numbers must not change under the job.
		std::vector<uint32_t> chosen(list.Data(), list.Data() + list.ElementLength());
		for (const uint32_t block : chosen) {
			if (block >= blocks) args::throwRange(env, "chosen names a block beyond the end of data");
		}
		return submit(info, std::make_unique<EncodeRecordsJob>(data.data, data.size, blockSize, std::move(chosen),
			identities.data, type, encoding), kept);
	}

	Napi::Value sealRecords(const Info& info) {
		const uint64_t position = args::integer(info[2], "position");
		const args::Bytes bytes = args::bytes(info[0], "bytes");
		const args::Bytes seal = args::seal(info[3]);
		std::vector<uint32_t> lengths = args::sealedLengths(info[1], bytes.size);
		return submit(info, std::make_unique<SealRecordsJob>(bytes.data, std::move(lengths), position, seal.data), info[0]);
	}

	Napi::Value close(const Info& info) { return Napi::Value(info.Env(), lane->close(info.Env())); }

	std::shared_ptr<Lane> lane;
};

}  // namespace

Napi::Function bindLanes(Napi::Env env) {
	auto shared = std::make_unique<Shared>();
	shared->hub = Hub::create(env);
	if (!shared->hub) throw Napi::Error::New(env);
	shared->constructor = Napi::Persistent(LaneObject::define(env));
	Napi::Array keys = Napi::Array::New(env, kKeys);
	for (uint32_t k = 0; k < kKeys; k++) keys.Set(k, Napi::String::New(env, kKeyNames[k]));
	shared->keys = Napi::Persistent(keys.As<Napi::Object>());
	env.SetInstanceData(shared.release());
	return Napi::Function::New(env, [](const Info& info) -> Napi::Value {
		return info.Env().GetInstanceData<Shared>()->constructor.New({info[0], info[1]});
	}, "createLane");
}
