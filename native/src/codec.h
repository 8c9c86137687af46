// Compression: LZ4 block format and zstd frames. Pure functions, callable from any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace codec {

enum Codec : uint8_t { kRaw = 0, kLz4 = 1, kZstd = 2 };
constexpr uint8_t kLast = kZstd;

/** Largest input that LZ4's interface takes. */
extern const size_t kMaxInput;

/** zstd: what is used when nothing else is said, and the highest that needs no huge windows. */
constexpr int kDefaultLevel = 3;
constexpr int kMaxLevel = 19;

/** Bytes written to `out`, 0 when `capacity` is too small. Not for kRaw. `level` is zstd's alone. */
size_t compress(uint8_t codec, int level, const uint8_t* data, size_t size, uint8_t* out, size_t capacity);

/**
 * Cheap: true when no codec would shrink the data much, because its bytes are spread evenly and LZ4 finds no
 * repetitions. `out` is scratch of `size` bytes. LZ4 needs no probe: it skips through such data by itself.
 */
bool looksRandom(const uint8_t* data, size_t size, uint8_t* out);

/** Bytes written to `out`, -1 when the input is malformed or needs more than `capacity`. Never writes beyond it. */
int64_t decompress(uint8_t codec, const uint8_t* data, size_t size, uint8_t* out, size_t capacity);

}  // namespace codec
