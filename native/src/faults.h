// Fault injection and the trace of operations that change the disk. sys.cc is the only caller in the data path.
//
// Process wide: all lanes and worker threads share the rules. Unarmed, the cost is one relaxed load.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace faults {

struct Rule {
	std::string op;
	std::string path;
	uint64_t skip = 0;
	/** calls left to act on; -1: for ever */
	int64_t count = 1;
	int error = 0;
	std::optional<size_t> keep;
	uint64_t delayMs = 0;
	bool kill = false;
	/** `error` comes not from the write but from the next sync, once to each descriptor that is open by then */
	bool late = false;
};

/** What the caller must do instead of, or before, the real call. Delays have already been slept. */
struct Verdict {
	int error = 0;
	/** write only so many bytes, then fail with `error`, or kill when it is 0 */
	std::optional<size_t> keep;
};

struct Entry {
	std::string op;
	std::string path;
	std::string to;
	std::optional<uint64_t> position;
	std::optional<uint64_t> length;
	std::optional<std::vector<uint8_t>> data;
	std::optional<int> flags;
	/** still running; dropped from the trace when it fails */
	bool running = false;
};

extern std::atomic<bool> armedFlag;

inline bool armed() { return armedFlag.load(std::memory_order_relaxed); }

void setRules(std::vector<Rule> rules);

/** Ends the trace and returns what succeeded; `startTrace` forgets an earlier one. */
void startTrace();
std::vector<std::shared_ptr<Entry>> stopTrace();
bool tracing();

/** Finds the rule that acts on this call, sleeps its delay, kills the process if it says so. `to` may be empty. */
Verdict consult(const char* op, const std::string& path, const std::string& to);

/** What the kernel would tell a sync of this descriptor about earlier writes that were lost: an errno, or 0. */
int lost(int fd, const std::string& path);

[[noreturn]] void killProcess();

/** Appends a finished operation. */
void record(Entry entry);

/**
 * Syncs take their place in the trace when they begin, because they cover only what had returned by then, and
 * count only once they succeed.
 */
std::shared_ptr<Entry> begin(const char* op, const std::string& path);
void succeed(const std::shared_ptr<Entry>& entry);

/** Paths of descriptors opened here; others are looked up in /proc. */
void opened(int fd, const std::string& path);
/** Forgets the descriptor and returns its path; empty when it was not opened here. */
std::string closing(int fd);
std::string pathOf(int fd);

}  // namespace faults
