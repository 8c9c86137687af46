// Checked reading of JavaScript arguments: misuse throws a TypeError or RangeError, never reaches memory.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "errors.h"
#include "record.h"

namespace args {

/** View of a Uint8Array; valid while no JavaScript runs and, referenced, until it is detached. */
struct Bytes {
	uint8_t* data;
	size_t size;
};

/** Largest integer that a JavaScript number holds exactly. */
constexpr uint64_t kMaxSafe = (uint64_t{1} << 53) - 1;

[[noreturn]] void throwType(Napi::Env env, const std::string& message);
[[noreturn]] void throwRange(Napi::Env env, const std::string& message);
[[noreturn]] void throwSystem(Napi::Env env, const Failure& failure);
/** Throws when the operation failed. */
void check(Napi::Env env, const Failure& failure);

Bytes bytes(Napi::Value value, const char* name);
/** Exactly 32 bytes. */
Bytes identity(Napi::Value value, const char* name);
/** Exactly 64 bytes: key, repository, file (seal.h). */
Bytes seal(Napi::Value value);
/** codec, level, room for a tag: three arguments that go together; level and room may be left out. */
record::Encoding encoding(Napi::Value codec, Napi::Value level, Napi::Value tagRoom);
/** Lengths of sealed records that lie back to back in `size` bytes, checked. */
std::vector<uint32_t> sealedLengths(Napi::Value value, size_t size);
uint64_t integer(Napi::Value value, const char* name, uint64_t max = kMaxSafe);
/** Absent (undefined) gives `fallback`. */
uint64_t integerOr(Napi::Value value, const char* name, uint64_t fallback, uint64_t max = kMaxSafe);
int descriptor(Napi::Value value);
std::string text(Napi::Value value, const char* name);
/** Text without NUL, not empty. */
std::string path(Napi::Value value, const char* name);
bool boolean(Napi::Value value, const char* name);
/** At most a million elements. */
Napi::Array array(Napi::Value value, const char* name);

}  // namespace args
