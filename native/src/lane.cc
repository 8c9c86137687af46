// Lane threads and completion. Plain N-API with statuses ignored where a promise is settled: in an environment that
// is being ended these calls fail, and there is nobody left to tell.
#include "lane.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include <new>
#include <system_error>
#include <utility>

std::shared_ptr<Hub> Hub::create(napi_env env) {
	auto hub = std::make_shared<Hub>();
	hub->env = env;
	napi_value name;
	if (napi_create_string_utf8(env, "springback.lane", NAPI_AUTO_LENGTH, &name) != napi_ok) return nullptr;
	if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, hub.get(), onWake,
			&hub->wake) != napi_ok) {
		return nullptr;
	}
	napi_unref_threadsafe_function(env, hub->wake);
	// Hooks run last in, first out: ours ends the threads before the function above is torn down. The hook's own
	// reference keeps the hub until then.
	auto* reference = new std::shared_ptr<Hub>(hub);
	napi_add_env_cleanup_hook(env, onCleanup, reference);
	return hub;
}

void Hub::finished(Job* job) {
	bool first;
	{
		std::lock_guard lock(mutex);
		first = done.empty();
		done.push_back(job);
	}
	// Whoever finds the list empty wakes JavaScript; later ones are settled in the same entry.
	if (first) napi_call_threadsafe_function(wake, nullptr, napi_tsfn_nonblocking);
}

void Hub::onWake(napi_env env, napi_value, void* context, void*) {
	if (env != nullptr) static_cast<Hub*>(context)->settleAll(env);
}

void Hub::settleAll(napi_env env) {
	std::vector<Job*> batch;
	{
		std::lock_guard lock(mutex);
		batch.swap(done);
	}
	for (Job* raw : batch) {
		const std::unique_ptr<Job> job(raw);
		napi_handle_scope scope;
		if (napi_open_handle_scope(env, &scope) != napi_ok) continue;
		job->settle(env);
		if (job->buffers != nullptr) napi_delete_reference(env, job->buffers);
		if (--outstanding == 0) napi_unref_threadsafe_function(env, wake);
		job->lane->settled(env);
		napi_close_handle_scope(env, scope);
	}
	for (const auto& gatherer : std::exchange(gatherers, {})) gatherer->deliver(env);
}

void Job::settle(napi_env env) {
	napi_value value = failure.failed() ? nullptr : result(env);
	if (value != nullptr) {
		napi_resolve_deferred(env, deferred, value);
		return;
	}
	bool thrown = false;
	if (!failure.failed()) {
		napi_is_exception_pending(env, &thrown);
		failure = Failure{ENOMEM, "result", {}};
	}
	if (!thrown || napi_get_and_clear_last_exception(env, &value) != napi_ok) value = systemError(env, failure);
	if (value != nullptr) napi_reject_deferred(env, deferred, value);
}

void Hub::onCleanup(void* data) {
	const std::unique_ptr<std::shared_ptr<Hub>> reference(static_cast<std::shared_ptr<Hub>*>(data));
	const std::shared_ptr<Hub> hub = *reference;
	// Jobs hold lanes and lanes leave the set when they die: keep them while we walk it.
	std::vector<std::shared_ptr<Lane>> alive;
	for (Lane* lane : hub->lanes) {
		if (auto kept = lane->weak_from_this().lock()) alive.push_back(std::move(kept));
	}
	for (const auto& lane : alive) lane->end(true);
	// Nobody will see these results; the environment frees the references.
	std::vector<Job*> rest;
	{
		std::lock_guard lock(hub->mutex);
		rest.swap(hub->done);
	}
	for (Job* job : rest) delete job;
}

Lane::Lane(std::shared_ptr<Hub> owner, std::string laneName, size_t count)
	: name(std::move(laneName)), threadCount(count), hub(std::move(owner)) {
	// Signals are for the main thread; a new thread inherits the mask.
	sigset_t all;
	sigset_t before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	try {
		threads.reserve(count);
		for (size_t i = 0; i < count; i++) {
			threads.emplace_back([this] { work(); });
			pthread_setname_np(threads.back().native_handle(), name.substr(0, 15).c_str());
		}
	} catch (...) {
		pthread_sigmask(SIG_SETMASK, &before, nullptr);
		end(true);
		throw;
	}
	pthread_sigmask(SIG_SETMASK, &before, nullptr);
	hub->lanes.insert(this);
}

Lane::~Lane() {
	hub->lanes.erase(this);
	end(true);
}

void Lane::work() {
	std::unique_lock lock(mutex);
	for (;;) {
		while (queue.empty() && !ending) {
			idle++;
			wake.wait(lock);
			idle--;
			calling = false;
		}
		if (queue.empty()) return;
		Job* job = queue.front();
		queue.pop_front();
		const bool more = !queue.empty() && wantsThread();
		record::hashOnThisThread(hashing.get());
		lock.unlock();
		if (more) wake.notify_one();
		try {
			job->failure = job->run();
		} catch (const std::bad_alloc&) {
			job->failure = Failure{ENOMEM, "malloc", {}};
		}
		hub->finished(job);
		lock.lock();
	}
}

void Lane::hashContent(std::unique_ptr<const record::Hashing> wanted) {
	std::lock_guard lock(mutex);
	// A thread may be using the one that is there.
	if (!hashing) hashing = std::move(wanted);
}

// Threads call each other while there is work, so that queuing many jobs costs JavaScript's thread one wake-up.
bool Lane::wantsThread() {
	if (idle == 0 || calling) return false;
	calling = true;
	return true;
}

void Lane::end(bool drop) {
	std::deque<Job*> dropped;
	{
		std::lock_guard lock(mutex);
		ending = true;
		if (drop) dropped.swap(queue);
	}
	wake.notify_all();
	for (std::thread& thread : threads) thread.join();
	threads.clear();
	for (Job* job : dropped) delete job;
}

napi_value Lane::submit(napi_env env, std::unique_ptr<Job> job, napi_value buffers) {
	napi_value promise;
	napi_deferred deferred;
	if (napi_create_promise(env, &deferred, &promise) != napi_ok) return nullptr;
	if (closed) {
		napi_value error = codedError(env, "ECLOSED", "ECLOSED: the lane '" + name + "' is closed");
		if (error != nullptr) napi_reject_deferred(env, deferred, error);
		return promise;
	}
	if (buffers != nullptr && napi_create_reference(env, buffers, 1, &job->buffers) != napi_ok) {
		napi_value error = codedError(env, "ENOMEM", "ENOMEM: cannot reference the buffers of a job");
		if (error != nullptr) napi_reject_deferred(env, deferred, error);
		return promise;
	}
	job->deferred = deferred;
	accept(env, *job);
	bool call;
	{
		std::lock_guard lock(mutex);
		queue.push_back(job.release());
		call = wantsThread();
	}
	if (call) wake.notify_one();
	return promise;
}

bool Lane::submit(napi_env env, std::vector<std::unique_ptr<Job>> jobs) {
	if (closed) return false;
	if (jobs.empty()) return true;
	for (const auto& job : jobs) accept(env, *job);
	bool call;
	{
		std::lock_guard lock(mutex);
		for (auto& job : jobs) queue.push_back(job.release());
		call = wantsThread();
	}
	if (call) wake.notify_one();
	return true;
}

void Lane::accept(napi_env env, Job& job) {
	job.lane = shared_from_this();
	unsettled++;
	if (hub->outstanding++ == 0) napi_ref_threadsafe_function(env, hub->wake);
}

void Lane::settled(napi_env env) {
	unsettled--;
	finishClosing(env);
}

void Lane::finishClosing(napi_env env) {
	if (!closed || unsettled > 0) return;
	// Every job has settled, so the threads have nothing to do but return: this does not block.
	end(false);
	napi_value undefined;
	napi_get_undefined(env, &undefined);
	for (napi_deferred deferred : std::exchange(closers, {})) napi_resolve_deferred(env, deferred, undefined);
}

napi_value Lane::close(napi_env env) {
	napi_value promise;
	napi_deferred deferred;
	if (napi_create_promise(env, &deferred, &promise) != napi_ok) return nullptr;
	closed = true;
	closers.push_back(deferred);
	finishClosing(env);
	return promise;
}
