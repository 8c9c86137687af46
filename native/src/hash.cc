// Hashes. SHA-256 calls OpenSSL's compression loop (SHA-NI where the processor has it), which node exports, through
// the plain SHA256_* functions: unlike EVP they allocate nothing and use no library state, so a lane thread that is
// still hashing while exit() tears OpenSSL down is harmless.
#define OPENSSL_SUPPRESS_DEPRECATED
#define XXH_INLINE_ALL
#include "hash.h"

#include <openssl/sha.h>
#include <string.h>
#include <xxhash.h>

namespace hash {

void sha256(const uint8_t* data, size_t size, uint8_t out[kIdentitySize]) {
	SHA256_CTX context;
	SHA256_Init(&context);
	SHA256_Update(&context, data, size);
	SHA256_Final(out, &context);
}

void hmacSha256(const uint8_t* key, size_t keySize, const uint8_t* data, size_t size, uint8_t out[kIdentitySize]) {
	uint8_t block[SHA256_CBLOCK] = {};
	if (keySize > sizeof(block)) {
		sha256(key, keySize, block);
	} else if (keySize > 0) {
		memcpy(block, key, keySize);
	}
	uint8_t inner[SHA256_CBLOCK];
	uint8_t outer[SHA256_CBLOCK];
	for (size_t i = 0; i < sizeof(block); i++) {
		inner[i] = block[i] ^ 0x36;
		outer[i] = block[i] ^ 0x5c;
	}
	SHA256_CTX context;
	SHA256_Init(&context);
	SHA256_Update(&context, inner, sizeof(inner));
	SHA256_Update(&context, data, size);
	SHA256_Final(out, &context);
	SHA256_Init(&context);
	SHA256_Update(&context, outer, sizeof(outer));
	SHA256_Update(&context, out, kIdentitySize);
	SHA256_Final(out, &context);
	explicit_bzero(block, sizeof(block));
	explicit_bzero(inner, sizeof(inner));
	explicit_bzero(outer, sizeof(outer));
	explicit_bzero(&context, sizeof(context));
}

uint64_t xxh3(const uint8_t* data, size_t size, uint64_t seed) { return XXH3_64bits_withSeed(data, size, seed); }

uint64_t xxh3(const uint8_t* first, size_t firstSize, const uint8_t* second, size_t secondSize) {
	XXH3_state_t state;
	XXH3_INITSTATE(&state);
	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, first, firstSize);
	XXH3_64bits_update(&state, second, secondSize);
	return XXH3_64bits_digest(&state);
}

bool isZero(const uint8_t* data, size_t size) {
	// Chunks without a branch inside vectorise; most data leaves at the first one.
	constexpr size_t chunk = 256;
	for (; size >= chunk; data += chunk, size -= chunk) {
		uint64_t words[chunk / 8];
		memcpy(words, data, chunk);
		uint64_t any = 0;
		for (const uint64_t word : words) any |= word;
		if (any != 0) return false;
	}
	uint8_t any = 0;
	for (size_t i = 0; i < size; i++) any |= data[i];
	return any == 0;
}

}  // namespace hash
