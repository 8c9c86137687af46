// SHA-256, HMAC, XXH3 and zero detection. Pure functions, callable from any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hash {

constexpr size_t kIdentitySize = 32;

/** FIPS 180-4. */
void sha256(const uint8_t* data, size_t size, uint8_t out[kIdentitySize]);

/** RFC 2104 over SHA-256. */
void hmacSha256(const uint8_t* key, size_t keySize, const uint8_t* data, size_t size, uint8_t out[kIdentitySize]);

uint64_t xxh3(const uint8_t* data, size_t size, uint64_t seed);

/** XXH3-64 of two pieces as if they were one. */
uint64_t xxh3(const uint8_t* first, size_t firstSize, const uint8_t* second, size_t secondSize);

/** True for no bytes at all, too. */
bool isZero(const uint8_t* data, size_t size);

}  // namespace hash
