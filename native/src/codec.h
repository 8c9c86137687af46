// Compression: LZ4 block format and zstd frames. Pure functions, callable from any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace codec {

enum Codec : uint8_t { kRaw = 0, kLz4 = 1, kZstd = 2 };
constexpr uint8_t kLast = kZstd;

/** Largest input that LZ4's interface takes. */
extern const size_t kMaxInput;

/** Bytes written to `out`, 0 when `capacity` is too small. Not for kRaw. */
size_t compress(uint8_t codec, const uint8_t* data, size_t size, uint8_t* out, size_t capacity);

/** Bytes written to `out`, -1 when the input is malformed or needs more than `capacity`. Never writes beyond it. */
int64_t decompress(uint8_t codec, const uint8_t* data, size_t size, uint8_t* out, size_t capacity);

}  // namespace codec
