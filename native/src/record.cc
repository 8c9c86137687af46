// Record framing, verification and decoding.
#include "record.h"

#include <string.h>

#include "codec.h"
#include "hash.h"

namespace record {

namespace {

constexpr uint8_t kMagic[4] = {'S', 'B', 'R', '1'};
constexpr size_t kTypeAt = 4;
constexpr size_t kCodecAt = 5;
constexpr size_t kFlagsAt = 6;
constexpr size_t kReservedAt = 7;
constexpr size_t kRawLengthAt = 8;
constexpr size_t kStoredLengthAt = 12;
constexpr size_t kChecksumAt = 16;
constexpr size_t kIdentityAt = 24;
constexpr uint8_t kEncrypted = 1;

template <class Word>
Word load(const uint8_t* from) {
	Word word = 0;
	for (size_t i = 0; i < sizeof(Word); i++) word |= static_cast<Word>(from[i]) << (8 * i);
	return word;
}

template <class Word>
void store(uint8_t* to, Word word) {
	for (size_t i = 0; i < sizeof(Word); i++) to[i] = static_cast<uint8_t>(word >> (8 * i));
}

/** All of the record but the checksum itself. */
uint64_t checksum(const uint8_t* bytes, size_t size) {
	return hash::xxh3(bytes, kChecksumAt, bytes + kIdentityAt, size - kIdentityAt);
}

}  // namespace

const char* statusName(Status status) {
	switch (status) {
		case Status::ok: return "ok";
		case Status::cutShort: return "short";
		case Status::magic: return "magic";
		case Status::type: return "type";
		case Status::length: return "length";
		case Status::checksum: return "checksum";
		case Status::identity: return "identity";
		case Status::decode: return "decode";
		case Status::encrypted: return "encrypted";
		case Status::plain: return "plain";
		case Status::tag: return "tag";
		case Status::content: return "content";
	}
	return "decode";
}

size_t encode(const uint8_t* data, size_t size, const uint8_t identity[32], uint8_t type, Encoding encoding,
	uint8_t* out) {
	size_t stored = 0;
	uint8_t codec = encoding.codec;
	if (codec == codec::kZstd && codec::looksRandom(data, size, out + kHeaderSize)) codec = codec::kRaw;
	if (codec != codec::kRaw && size > 1) {
		stored = codec::compress(codec, encoding.level, data, size, out + kHeaderSize, size - 1);
	}
	if (stored == 0) {
		codec = codec::kRaw;
		stored = size;
		if (size > 0) memcpy(out + kHeaderSize, data, size);
	}
	if (encoding.tagRoom) stored += seal::kTagSize;
	memcpy(out, kMagic, sizeof(kMagic));
	out[kTypeAt] = type;
	out[kCodecAt] = codec;
	out[kFlagsAt] = 0;
	out[kReservedAt] = 0;
	store<uint32_t>(out + kRawLengthAt, static_cast<uint32_t>(size));
	store<uint32_t>(out + kStoredLengthAt, static_cast<uint32_t>(stored));
	memcpy(out + kIdentityAt, identity, hash::kIdentitySize);
	if (!encoding.tagRoom) store<uint64_t>(out + kChecksumAt, checksum(out, kHeaderSize + stored));
	return kHeaderSize + stored;
}

namespace {

/** Nonce and associated data of the record at `position` (docs/format.md, 11). */
struct Binding {
	static constexpr size_t kIds = seal::kSealSize - seal::kKeySize;
	static constexpr size_t kFields = kChecksumAt - kTypeAt;
	uint8_t nonce[seal::kNonceSize] = {};
	uint8_t aad[kIds + kFields + hash::kIdentitySize];

	Binding(const uint8_t* bytes, const uint8_t* seal, uint64_t position) {
		store<uint64_t>(nonce, position);
		memcpy(aad, seal + seal::kKeySize, kIds);
		memcpy(aad + kIds, bytes + kTypeAt, kFields);
		memcpy(aad + kIds + kFields, bytes + kIdentityAt, hash::kIdentitySize);
	}
};

}  // namespace

void sealRecord(uint8_t* bytes, size_t size, const uint8_t seal[seal::kSealSize], uint64_t position) {
	bytes[kFlagsAt] |= kEncrypted;
	const Binding binding(bytes, seal, position);
	uint8_t* const tag = bytes + size - seal::kTagSize;
	seal::encrypt(seal, binding.nonce, binding.aad, sizeof(binding.aad), bytes + kHeaderSize,
		size - kHeaderSize - seal::kTagSize, tag);
	store<uint64_t>(bytes + kChecksumAt, checksum(bytes, size));
}

Status unseal(uint8_t* bytes, const Header& header, const uint8_t seal[seal::kSealSize], uint64_t position) {
	const Binding binding(bytes, seal, position);
	const bool good = seal::decrypt(seal, binding.nonce, binding.aad, sizeof(binding.aad), bytes + kHeaderSize,
		header.storedLength, bytes + kHeaderSize + header.storedLength);
	return good ? Status::ok : Status::tag;
}

Status verify(const uint8_t* bytes, size_t size, const uint8_t* identity, uint8_t type, bool sealed, Header& header) {
	if (size < kHeaderSize) return Status::cutShort;
	if (memcmp(bytes, kMagic, sizeof(kMagic)) != 0) return Status::magic;
	header.codec = bytes[kCodecAt];
	header.rawLength = load<uint32_t>(bytes + kRawLengthAt);
	header.storedLength = load<uint32_t>(bytes + kStoredLengthAt);
	if (header.storedLength != size - kHeaderSize) return Status::length;
	if (load<uint64_t>(bytes + kChecksumAt) != checksum(bytes, size)) return Status::checksum;
	if (bytes[kTypeAt] != type) return Status::type;
	if (identity != nullptr && memcmp(bytes + kIdentityAt, identity, hash::kIdentitySize) != 0) return Status::identity;
	if (header.rawLength > kMaxRawLength) return Status::length;
	const bool encrypted = (bytes[kFlagsAt] & kEncrypted) != 0;
	if (encrypted != sealed) return encrypted ? Status::encrypted : Status::plain;
	// Intact, but of a format that this version does not know.
	if ((bytes[kFlagsAt] & ~kEncrypted) != 0 || bytes[kReservedAt] != 0 || header.codec > codec::kLast) return Status::decode;
	if (encrypted) {
		if (header.storedLength < seal::kTagSize) return Status::length;
		header.storedLength -= seal::kTagSize;
	}
	if (header.codec == codec::kRaw && header.rawLength != header.storedLength) return Status::length;
	return Status::ok;
}

namespace {

thread_local const Hashing* hashing = nullptr;

bool namedBy(const uint8_t* identity, const uint8_t* content, size_t size) {
	uint8_t actual[hash::kIdentitySize];
	if (hashing->key.empty()) {
		hash::sha256(content, size, actual);
	} else {
		hash::hmacSha256(hashing->key.data(), hashing->key.size(), content, size, actual);
	}
	return memcmp(actual, identity, sizeof(actual)) == 0;
}

}  // namespace

Hashing::~Hashing() {
	if (!key.empty()) explicit_bzero(key.data(), key.size());
}

void hashOnThisThread(const Hashing* wanted) { hashing = wanted; }

Status decode(const uint8_t* bytes, const Header& header, uint8_t* target) {
	const uint8_t* payload = bytes + kHeaderSize;
	if (header.codec == codec::kRaw) {
		if (header.rawLength > 0) memcpy(target, payload, header.rawLength);
	} else {
		const int64_t written = codec::decompress(header.codec, payload, header.storedLength, target, header.rawLength);
		if (written != static_cast<int64_t>(header.rawLength)) return Status::decode;
	}
	// The bytes are in the processor's cache now.
	if (hashing != nullptr && !namedBy(bytes + kIdentityAt, target, header.rawLength)) return Status::content;
	return Status::ok;
}

}  // namespace record
