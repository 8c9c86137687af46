// AES-256-GCM by OpenSSL, which node exports: AES-NI and carry-less multiplication where the processor has them.
#include "seal.h"

#include <openssl/evp.h>

#include <memory>
#include <new>

namespace seal {

namespace {

struct FreeContext {
	void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

// One per thread and direction, its cipher fetched once: fetching takes a lock of the whole library.
EVP_CIPHER_CTX* contextFor(bool encrypting) {
	thread_local Context contexts[2];
	Context& context = contexts[encrypting ? 1 : 0];
	if (!context) {
		Context made(EVP_CIPHER_CTX_new());
		if (!made || EVP_CipherInit_ex(made.get(), EVP_aes_256_gcm(), nullptr, nullptr, nullptr, encrypting) != 1) {
			throw std::bad_alloc();
		}
		context = std::move(made);
	}
	return context.get();
}

// A record is at most 64 MiB, so its size fits an int.
bool begin(EVP_CIPHER_CTX* context, bool encrypting, const uint8_t* key, const uint8_t* nonce, const uint8_t* aad,
	size_t aadSize, uint8_t* data, size_t size) {
	int written = 0;
	return EVP_CipherInit_ex(context, nullptr, nullptr, key, nonce, encrypting) == 1 &&
		EVP_CipherUpdate(context, nullptr, &written, aad, static_cast<int>(aadSize)) == 1 &&
		(size == 0 || EVP_CipherUpdate(context, data, &written, data, static_cast<int>(size)) == 1);
}

}  // namespace

void encrypt(const uint8_t* key, const uint8_t nonce[kNonceSize], const uint8_t* aad, size_t aadSize, uint8_t* data,
	size_t size, uint8_t tag[kTagSize]) {
	EVP_CIPHER_CTX* const context = contextFor(true);
	int written = 0;
	const bool done = begin(context, true, key, nonce, aad, aadSize, data, size) &&
		EVP_CipherFinal_ex(context, tag, &written) == 1 &&
		EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagSize, tag) == 1;
	if (!done) throw std::bad_alloc();
}

bool decrypt(const uint8_t* key, const uint8_t nonce[kNonceSize], const uint8_t* aad, size_t aadSize, uint8_t* data,
	size_t size, const uint8_t tag[kTagSize]) {
	EVP_CIPHER_CTX* const context = contextFor(false);
	uint8_t rest[kTagSize];
	int written = 0;
	return begin(context, false, key, nonce, aad, aadSize, data, size) &&
		EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagSize, const_cast<uint8_t*>(tag)) == 1 &&
		EVP_CipherFinal_ex(context, rest, &written) == 1;
}

}  // namespace seal
