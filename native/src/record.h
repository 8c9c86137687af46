// The stored record: 56-byte header and payload (README.md here has the layout, docs/format.md is normative).
#pragma once

#include <cstddef>
#include <cstdint>

#include <vector>

#include "seal.h"

namespace record {

constexpr size_t kHeaderSize = 56;
/** Largest plain length; bounds what a forged header can make us allocate. */
constexpr size_t kMaxRawLength = size_t{64} << 20;

enum class Status { ok, cutShort, magic, type, length, checksum, identity, decode, encrypted, plain, tag, content };

/** As in RecordStatus of index.ts. */
const char* statusName(Status status);

struct Header {
	uint8_t codec;
	uint32_t rawLength;
	/** payload without the tag */
	uint32_t storedLength;
};

/** How data becomes payload. */
struct Encoding {
	uint8_t codec;
	/** zstd's */
	int level;
	/** leaves room for the tag: the record is only whole once `sealRecord` has been at it */
	bool tagRoom;
};

/** Most bytes that a record of `size` plain bytes can have. */
constexpr size_t roomFor(size_t size) { return kHeaderSize + size + seal::kTagSize; }

/**
 * Frames `data` into `out`, which must have room for roomFor(size) bytes; returns the record's length.
 * Stored raw when the codec does not shrink it.
 */
size_t encode(const uint8_t* data, size_t size, const uint8_t identity[32], uint8_t type, Encoding encoding,
	uint8_t* out);

/** Encrypts a record that was encoded with room for the tag; `position` is its place in the file. Once only. */
void sealRecord(uint8_t* bytes, size_t size, const uint8_t seal[seal::kSealSize], uint64_t position);

/** Decrypts the payload of a verified record in place; "tag" when it is not authentic. */
Status unseal(uint8_t* bytes, const Header& header, const uint8_t seal[seal::kSealSize], uint64_t position);

/**
 * Everything but decoding: that `bytes` is exactly one undamaged record of this type and identity (null: any).
 * Damage is told before meaning: "type" and "identity" are reported only of records whose checksum holds.
 * `sealed`: it must be encrypted; a plain record is then refused, and an encrypted one otherwise.
 */
Status verify(const uint8_t* bytes, size_t size, const uint8_t* identity, uint8_t type, bool sealed, Header& header);

/** What plain content is compared with its identity by: SHA-256, or HMAC-SHA-256 with a key. */
struct Hashing {
	std::vector<uint8_t> key;
	~Hashing();
};

/** From now on `decode` on this thread compares content with the identity in the record; null: not. Must outlive that. */
void hashOnThisThread(const Hashing* hashing);

/**
 * Decodes a verified record into exactly header.rawLength bytes at `target`. After "decode" they are undefined; "content": they
 * are not what the identity names, which is only told where `hashOnThisThread` asked for it.
 */
Status decode(const uint8_t* bytes, const Header& header, uint8_t* target);

}  // namespace record
