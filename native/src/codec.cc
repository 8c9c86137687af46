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

constexpr int kZstdLevel = 3;

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

size_t compress(uint8_t codec, const uint8_t* data, size_t size, uint8_t* out, size_t capacity) {
	if (codec == kZstd) {
		const size_t written =
			ZSTD_compressCCtx(threadContext(ZSTD_createCCtx), out, capacity, data, size, kZstdLevel);
		return ZSTD_isError(written) ? 0 : written;
	}
	if (size > kMaxInput) return 0;
	const int room = static_cast<int>(std::min<size_t>(capacity, INT_MAX));
	return static_cast<size_t>(LZ4_compress_default(reinterpret_cast<const char*>(data), reinterpret_cast<char*>(out),
		static_cast<int>(size), room));
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
