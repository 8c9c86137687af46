// Rules, trace and the table of descriptor paths: one mutex, because it is taken only when armed or when a file
// is opened or closed.
#include "faults.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace faults {

std::atomic<bool> armedFlag{false};

namespace {

struct Lost {
	uint64_t count = 0;
	int error = 0;
};

struct State {
	std::mutex mutex;
	std::condition_variable changed;
	std::vector<Rule> rules;
	/** bumped when rules are replaced: ends the delays of the old ones */
	uint64_t generation = 0;
	bool tracing = false;
	std::vector<std::shared_ptr<Entry>> trace;
	std::unordered_map<int, std::string> paths;
	/** writes that are lost: how many of a file, and how many of them a descriptor has been told */
	std::unordered_map<std::string, Lost> lost;
	std::unordered_map<int, uint64_t> told;
};

// Never destroyed: lane threads may still run while exit() destroys statics.
State& state() {
	static State* const instance = new State();
	return *instance;
}

void rearm(State& s) { armedFlag.store(!s.rules.empty() || s.tracing, std::memory_order_relaxed); }

/** Operations that "*" stands for: those that move data or change names. The others must be named. */
bool everyday(const char* op) {
	constexpr const char* named[] = {"close", "fstat", "statfs", "seek", "lock"};
	for (const char* name : named) {
		if (strcmp(op, name) == 0) return false;
	}
	return true;
}

bool matches(const Rule& rule, const char* op, const std::string& path, const std::string& to) {
	if (rule.op == "*" ? !everyday(op) : rule.op != op) return false;
	if ((rule.keep || rule.late) && strcmp(op, "pwrite") != 0) return false;
	return rule.path.empty() || path.find(rule.path) != std::string::npos || to.find(rule.path) != std::string::npos;
}

}  // namespace

void setRules(std::vector<Rule> rules) {
	State& s = state();
	{
		std::lock_guard lock(s.mutex);
		s.rules = std::move(rules);
		if (s.rules.empty()) s.lost.clear();
		s.generation++;
		rearm(s);
	}
	s.changed.notify_all();
}

void startTrace() {
	State& s = state();
	std::lock_guard lock(s.mutex);
	s.trace.clear();
	s.tracing = true;
	rearm(s);
}

std::vector<std::shared_ptr<Entry>> stopTrace() {
	State& s = state();
	std::lock_guard lock(s.mutex);
	s.tracing = false;
	rearm(s);
	std::vector<std::shared_ptr<Entry>> done;
	for (auto& entry : s.trace) {
		if (!entry->running) done.push_back(std::move(entry));
	}
	s.trace.clear();
	return done;
}

bool tracing() {
	State& s = state();
	std::lock_guard lock(s.mutex);
	return s.tracing;
}

void killProcess() {
	raise(SIGKILL);
	for (;;) pause();
}

Verdict consult(const char* op, const std::string& path, const std::string& to) {
	State& s = state();
	std::unique_lock lock(s.mutex);
	for (Rule& rule : s.rules) {
		if (rule.count == 0 || !matches(rule, op, path, to)) continue;
		if (rule.skip > 0) {
			rule.skip--;
			continue;
		}
		if (rule.count > 0) rule.count--;
		const Rule acting = rule;
		if (acting.delayMs > 0) {
			const uint64_t generation = s.generation;
			s.changed.wait_for(lock, std::chrono::milliseconds(acting.delayMs),
				[&] { return s.generation != generation; });
		}
		if (acting.late) {
			Lost& lost = s.lost[path];
			lost.count++;
			lost.error = acting.error;
			return Verdict{};
		}
		lock.unlock();
		if (acting.keep) return Verdict{acting.kill ? 0 : acting.error, acting.keep};
		if (acting.kill) killProcess();
		return Verdict{acting.error, std::nullopt};
	}
	return Verdict{};
}

int lost(int fd, const std::string& path) {
	State& s = state();
	std::lock_guard lock(s.mutex);
	const auto found = s.lost.find(path);
	if (found == s.lost.end()) return 0;
	uint64_t& told = s.told[fd];
	if (told >= found->second.count) return 0;
	told = found->second.count;
	return found->second.error;
}

void record(Entry entry) {
	State& s = state();
	std::lock_guard lock(s.mutex);
	if (s.tracing) s.trace.push_back(std::make_shared<Entry>(std::move(entry)));
}

std::shared_ptr<Entry> begin(const char* op, const std::string& path) {
	State& s = state();
	auto entry = std::make_shared<Entry>();
	entry->op = op;
	entry->path = path;
	entry->running = true;
	std::lock_guard lock(s.mutex);
	if (s.tracing) s.trace.push_back(entry);
	return entry;
}

void succeed(const std::shared_ptr<Entry>& entry) {
	std::lock_guard lock(state().mutex);
	entry->running = false;
}

void opened(int fd, const std::string& path) {
	State& s = state();
	std::lock_guard lock(s.mutex);
	s.paths[fd] = path;
	const auto lost = s.lost.find(path);
	s.told[fd] = lost == s.lost.end() ? 0 : lost->second.count;
}

std::string closing(int fd) {
	State& s = state();
	std::lock_guard lock(s.mutex);
	s.told.erase(fd);
	const auto node = s.paths.extract(fd);
	return node ? node.mapped() : std::string();
}

std::string pathOf(int fd) {
	State& s = state();
	{
		std::lock_guard lock(s.mutex);
		const auto found = s.paths.find(fd);
		if (found != s.paths.end()) return found->second;
	}
	char target[4096];
	const std::string link = "/proc/self/fd/" + std::to_string(fd);
	const ssize_t length = readlink(link.c_str(), target, sizeof(target));
	return length > 0 ? std::string(target, static_cast<size_t>(length)) : std::string();
}

}  // namespace faults
