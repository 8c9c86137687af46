// Compression by the system's liblz4 and libzstd.
#include "codec.h"

#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <climits>
#include <memory>
#include <new>

namespace codec {

const size_t kMaxInput = LZ4_MAX_INPUT_SIZE;

namespace {

/** Bytes that the probe looks at, taken from all over the data. */
constexpr size_t kSample = 4096;

struct FreeContext {
	void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
	void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

// One per thread: making one costs more than compressing a block with it.
template <class Context>
Context* threadContext(Context* (*create)()) {
	thread_local std::unique_ptr<Context, FreeContext> context(create());
	if (!context) context.reset(create());
	if (!context) throw std::bad_alloc();
	return context.get();
}

}  // namespace

size_t compress(uint8_t codec, int level, const uint8_t* data, size_t size, uint8_t* out, size_t capacity) {
	if (codec == kZstd) {
		const size_t written =
			ZSTD_compressCCtx(threadContext(ZSTD_createCCtx), out, capacity, data, size, level);
		return ZSTD_isError(written) ? 0 : written;
	}
	if (size > kMaxInput) return 0;
	const int room = static_cast<int>(std::min<size_t>(capacity, INT_MAX));
	return static_cast<size_t>(LZ4_compress_default(reinterpret_cast<const char*>(data), reinterpret_cast<char*>(out),
		static_cast<int>(size), room));
}

bool looksRandom(const uint8_t* data, size_t size, uint8_t* out) {
	if (size < kSample) return false;
	uint32_t counts[256] = {};
	const size_t stride = size / kSample;
	for (size_t i = 0; i < kSample; i++) counts[data[i * stride]]++;
	uint64_t squares = 0;
	for (const uint64_t count : counts) squares += count * count;
	// Even bytes give kSample + kSample^2 / 256; an eighth more is far beyond chance and worth an entropy coder.
	constexpr uint64_t even = kSample + kSample * kSample / 256;
	if (squares > even + even / 8) return false;
	return compress(kLz4, 0, data, size, out, size - size / 64) == 0;
}

int64_t decompress(uint8_t codec, const uint8_t* data, size_t size, uint8_t* out, size_t capacity) {
	if (codec == kZstd) {
		const size_t written = ZSTD_decompressDCtx(threadContext(ZSTD_createDCtx), out, capacity, data, size);
		return ZSTD_isError(written) ? -1 : static_cast<int64_t>(written);
	}
	if (size > INT_MAX) return -1;
	const int room = static_cast<int>(std::min<size_t>(capacity, INT_MAX));
	const int written = LZ4_decompress_safe(reinterpret_cast<const char*>(data), reinterpret_cast<char*>(out),
		static_cast<int>(size), room);
	return written < 0 ? -1 : written;
}

}  // namespace codec
