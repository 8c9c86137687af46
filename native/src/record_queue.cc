// The queue belongs to the JavaScript thread; only RecordJob::run is on a lane's.
#include "record_queue.h"

#include <string.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "args.h"
#include "jobs.h"

namespace record_queue {

namespace {

using Info = Napi::CallbackInfo;

/** A request in memory, as RECORD_REQUEST of index.ts lays it out: the processor's byte order. */
struct Request {
	double position;
	double targetOffset;
	uint32_t fd;
	uint32_t length;
	uint32_t rawLength;
	uint32_t ticket;
	uint8_t identity[hash::kIdentitySize];
	uint8_t seal[seal::kSealSize];
	uint8_t type;
	uint8_t sealed;
	uint8_t unused[6];
};
static_assert(sizeof(Request) == 136);

/** Longest stored record. */
constexpr uint64_t kMaxRecord = record::roomFor(record::kMaxRawLength);

/** What the queue's jobs report to. */
class Outlet : public Gatherer {
public:
	Outlet(Napi::TypedArray outcomes, Napi::Function done)
		: outcomes(Napi::Persistent(outcomes.As<Napi::Object>())), done(Napi::Persistent(done)) {}

	/** True when it is the first since the last delivery. */
	bool note(uint32_t ticket, bool good) {
		results.push_back(ticket << 1 | (good ? 1 : 0));
		return results.size() == 1;
	}

	void deliver(napi_env env) override {
		const std::vector<uint32_t> all = std::exchange(results, {});
		const Napi::HandleScope scope(env);
		for (size_t at = 0; at < all.size();) {
			void* data = nullptr;
			size_t room = 0;
			// Asked each time: the array's memory may have been taken away.
			if (napi_get_typedarray_info(env, outcomes.Value(), nullptr, &room, &data, nullptr, nullptr) != napi_ok) return;
			if (room == 0) return;
			const size_t count = std::min(room, all.size() - at);
			memcpy(data, &all[at], count * sizeof(uint32_t));
			at += count;
			napi_value number;
			napi_value global;
			if (napi_create_uint32(env, static_cast<uint32_t>(count), &number) != napi_ok) return;
			if (napi_get_global(env, &global) != napi_ok) return;
			// An exception stays pending and becomes an uncaught one: there is no caller to tell.
			if (napi_call_function(env, global, done.Value(), 1, &number, nullptr) != napi_ok) return;
		}
	}

private:
	Napi::ObjectReference outcomes;
	Napi::FunctionReference done;
	std::vector<uint32_t> results;
};

/** Keeps the targets of requests that were submitted together. */
struct Targets {
	explicit Targets(Napi::Array list) : list(Napi::Persistent(list.As<Napi::Object>())) {}
	Napi::ObjectReference list;
};

class RecordJob : public Job {
public:
	RecordJob(const RecordRead& read, uint32_t ticket, std::shared_ptr<Hub> hub, std::shared_ptr<Outlet> outlet,
		std::shared_ptr<Targets> targets)
		: read(read), ticket(ticket), hub(std::move(hub)), outlet(std::move(outlet)), targets(std::move(targets)) {}

	Failure run() override {
		read.perform();
		return Failure{};
	}

	napi_value result(napi_env) override { return nullptr; }

protected:
	void settle(napi_env) override {
		if (outlet->note(ticket, !failure.failed() && read.good())) hub->gathered(outlet);
	}

private:
	RecordRead read;
	const uint32_t ticket;
	const std::shared_ptr<Hub> hub;
	const std::shared_ptr<Outlet> outlet;
	const std::shared_ptr<Targets> targets;
};

uint64_t whole(Napi::Env env, double number, const char* name) {
	if (!(number >= 0 && number <= static_cast<double>(args::kMaxSafe))) {
		args::throwRange(env, std::string(name) + " must be an integer from 0 to 2^53 - 1");
	}
	return static_cast<uint64_t>(number);
}

RecordRead toRead(Napi::Env env, const Request& request, const args::Bytes& target) {
	RecordRead read;
	if (request.fd > INT32_MAX) args::throwRange(env, "fd is no descriptor");
	if (request.length > kMaxRecord) args::throwRange(env, "length is beyond that of any record");
	if (request.rawLength > record::kMaxRawLength) args::throwRange(env, "rawLength is beyond that of any record");
	read.fd = static_cast<int>(request.fd);
	read.position = whole(env, request.position, "position");
	read.length = request.length;
	read.rawLength = request.rawLength;
	read.type = request.type;
	memcpy(read.identity, request.identity, sizeof(read.identity));
	const uint64_t offset = whole(env, request.targetOffset, "targetOffset");
	if (offset > target.size || read.rawLength > target.size - offset) {
		args::throwRange(env, "targetOffset + rawLength is beyond the end of target");
	}
	read.target = target.data + offset;
	read.sealed = request.sealed != 0;
	if (read.sealed) memcpy(read.seal, request.seal, sizeof(read.seal));
	return read;
}

}  // namespace

Napi::Object create(Napi::Env env, std::shared_ptr<Lane> lane, Napi::Value outcomes, Napi::Value done) {
	if (!outcomes.IsTypedArray() || outcomes.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array ||
		outcomes.As<Napi::TypedArray>().ElementLength() == 0) {
		args::throwType(env, "outcomes must be a Uint32Array that is not empty");
	}
	if (!done.IsFunction()) args::throwType(env, "done must be a function");
	auto outlet = std::make_shared<Outlet>(outcomes.As<Napi::TypedArray>(), done.As<Napi::Function>());
	auto submit = [lane = std::move(lane), outlet = std::move(outlet)](const Info& info) -> Napi::Value {
		const Napi::Env env = info.Env();
		const Napi::Array given = args::array(info[1], "targets");
		const uint32_t count = given.Length();
		// Our own array: the caller's may change. Elements first, memory after: a getter could detach a buffer that was
		// looked at before.
		Napi::Array kept = Napi::Array::New(env, count);
		std::vector<Napi::Value> list;
		list.reserve(count);
		for (uint32_t i = 0; i < count; i++) {
			list.push_back(given.Get(i));
			kept.Set(i, list.back());
		}
		const args::Bytes requests = args::bytes(info[0], "requests");
		if (requests.size < count * sizeof(Request)) args::throwRange(env, "there are more targets than requests");
		const auto targets = std::make_shared<Targets>(kept);
		std::vector<std::unique_ptr<Job>> jobs;
		jobs.reserve(count);
		for (uint32_t i = 0; i < count; i++) {
			Request request;
			memcpy(&request, requests.data + i * sizeof(Request), sizeof(Request));
			if (request.ticket > INT32_MAX) args::throwRange(env, "ticket must be below 2^31");
			const RecordRead read = toRead(env, request, args::bytes(list[i], "each target"));
			jobs.push_back(std::make_unique<RecordJob>(read, request.ticket, lane->hub, outlet, targets));
		}
		return Napi::Boolean::New(env, lane->submit(env, std::move(jobs)));
	};
	Napi::Object queue = Napi::Object::New(env);
	queue.Set("submit", Napi::Function::New(env, submit, "submit"));
	return queue;
}

}  // namespace record_queue
