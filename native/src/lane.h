// Lanes: native threads with one FIFO queue each, and the hub that brings finished jobs back to JavaScript.
//
// Threads: everything here belongs to the JavaScript thread of its environment, except Job::run (a lane thread)
// and Hub::finished. Jobs are made and deleted on the JavaScript thread only, so the last reference to a lane is
// dropped there, too.
#pragma once

#include <node_api.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "errors.h"
#include "record.h"

class Lane;

/** One piece of work. Owns what it needs; `buffers` keeps JavaScript's memory alive until it settles. */
class Job {
public:
	virtual ~Job() = default;
	Job() = default;
	Job(const Job&) = delete;
	Job& operator=(const Job&) = delete;

	/** On a lane thread. */
	virtual Failure run() = 0;
	/** On the JavaScript thread, after success. Null when no value could be made. */
	virtual napi_value result(napi_env env) = 0;

protected:
	/** On the JavaScript thread: tells whoever waits. */
	virtual void settle(napi_env env);
	Failure failure;

private:
	friend class Lane;
	friend class Hub;
	std::shared_ptr<Lane> lane;
	napi_deferred deferred = nullptr;
	napi_ref buffers = nullptr;
};

/** Has gathered results of jobs without promises; told of all that settle in one entry into JavaScript at once. */
class Gatherer {
public:
	virtual ~Gatherer() = default;
	virtual void deliver(napi_env env) = 0;
};

/** One per environment: batches completions, so that one entry into JavaScript settles all that have finished. */
class Hub : public std::enable_shared_from_this<Hub> {
public:
	static std::shared_ptr<Hub> create(napi_env env);

	/** From any thread. */
	void finished(Job* job);
	/** From Job::settle: `deliver` is called once all that has finished by now is settled. */
	void gathered(std::shared_ptr<Gatherer> gatherer) { gatherers.push_back(std::move(gatherer)); }

private:
	friend class Lane;
	static void onWake(napi_env env, napi_value callback, void* context, void* data);
	static void onCleanup(void* hub);
	void settleAll(napi_env env);

	napi_threadsafe_function wake = nullptr;
	std::mutex mutex;
	std::vector<Job*> done;
	/** jobs not settled yet; while there are any, the event loop stays alive */
	size_t outstanding = 0;
	std::vector<std::shared_ptr<Gatherer>> gatherers;
	std::unordered_set<Lane*> lanes;
	napi_env env = nullptr;
};

class Lane : public std::enable_shared_from_this<Lane> {
public:
	/** Throws std::system_error when the threads cannot be made. */
	Lane(std::shared_ptr<Hub> hub, std::string name, size_t threads);
	~Lane();

	/** Queues the job and returns its promise; `buffers` (may be null) is referenced until then. */
	napi_value submit(napi_env env, std::unique_ptr<Job> job, napi_value buffers);

	/** Queues jobs that settle without promises, waking one thread; false when the lane is closed. */
	bool submit(napi_env env, std::vector<std::unique_ptr<Job>> jobs);

	/** Jobs that are queued from now on compare what they decode with its identity. At most once in a lane's life. */
	void hashContent(std::unique_ptr<const record::Hashing> hashing);

	/** A promise that resolves when every job has settled and the threads have ended. */
	napi_value close(napi_env env);

	const std::string name;
	const size_t threadCount;
	size_t pending() const { return unsettled; }
	const std::shared_ptr<Hub> hub;

private:
	friend class Hub;
	void work();
	/** Ends the threads: after the queue is empty, or (`drop`) after the jobs that run now. */
	void end(bool drop);
	void settled(napi_env env);
	/** Resolves close() once nothing is unsettled. */
	void finishClosing(napi_env env);
	/** With the mutex held: whether the caller must notify `wake` once it has unlocked. */
	bool wantsThread();

	void accept(napi_env env, Job& job);
	size_t unsettled = 0;
	bool closed = false;
	std::vector<napi_deferred> closers;

	std::mutex mutex;
	std::condition_variable wake;
	std::deque<Job*> queue;
	std::unique_ptr<const record::Hashing> hashing;
	size_t idle = 0;
	/** a thread has been called and has not looked at the queue yet; it will call the next one */
	bool calling = false;
	bool ending = false;
	std::vector<std::thread> threads;
};
