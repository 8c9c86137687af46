// AES-256-GCM over record payloads (docs/format.md, 11). Callable from any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seal {

constexpr size_t kTagSize = 16;
constexpr size_t kKeySize = 32;
constexpr size_t kNonceSize = 12;

/** What encrypts the records of one file: key (32), repository id (16), id of the pack or point (16). */
constexpr size_t kSealSize = 64;

/** Encrypts in place; `tag` receives 16 bytes. Throws std::bad_alloc when OpenSSL cannot. */
void encrypt(const uint8_t* key, const uint8_t nonce[kNonceSize], const uint8_t* aad, size_t aadSize, uint8_t* data,
	size_t size, uint8_t tag[kTagSize]);

/** Decrypts in place; false when the tag does not fit, `data` is then undefined. */
bool decrypt(const uint8_t* key, const uint8_t nonce[kNonceSize], const uint8_t* aad, size_t aadSize, uint8_t* data,
	size_t size, const uint8_t tag[kTagSize]);

}  // namespace seal
