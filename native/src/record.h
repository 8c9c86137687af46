// The stored record: 56-byte header and payload (README.md here has the layout, docs/format.md is normative).
#pragma once

#include <cstddef>
#include <cstdint>

namespace record {

constexpr size_t kHeaderSize = 56;
/** Largest plain length; bounds what a forged header can make us allocate. */
constexpr size_t kMaxRawLength = size_t{64} << 20;

enum class Status { ok, cutShort, magic, type, length, checksum, identity, decode, encrypted };

/** As in RecordStatus of index.ts. */
const char* statusName(Status status);

struct Header {
	uint8_t codec;
	uint32_t rawLength;
	uint32_t storedLength;
};

/**
 * Frames `data` into `out`, which must have room for kHeaderSize + size bytes; returns the record's length.
 * Stored raw when the codec does not shrink it.
 */
size_t encode(const uint8_t* data, size_t size, const uint8_t identity[32], uint8_t type, uint8_t codec, uint8_t* out);

/**
 * Everything but decoding: that `bytes` is exactly one undamaged record of this type and identity (null: any).
 * Damage is told before meaning: "type" and "identity" are reported only of records whose checksum holds.
 */
Status verify(const uint8_t* bytes, size_t size, const uint8_t* identity, uint8_t type, Header& header);

/** Decodes a verified record into exactly header.rawLength bytes at `target`. After "decode" they are undefined. */
Status decode(const uint8_t* bytes, const Header& header, uint8_t* target);

}  // namespace record
