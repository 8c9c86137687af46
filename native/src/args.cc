// Argument checks.
#include "args.h"

#include <climits>
#include <cmath>

#include "codec.h"

namespace args {

namespace {

template <class Kind>
[[noreturn]] void throwCoded(Napi::Env env, const char* code, const std::string& message) {
	Kind error = Kind::New(env, message);
	error.Set("code", Napi::String::New(env, code));
	throw error;
}

}  // namespace

void throwType(Napi::Env env, const std::string& message) {
	throwCoded<Napi::TypeError>(env, "ERR_INVALID_ARG_TYPE", message);
}

void throwRange(Napi::Env env, const std::string& message) {
	throwCoded<Napi::RangeError>(env, "ERR_OUT_OF_RANGE", message);
}

void throwSystem(Napi::Env env, const Failure& failure) { throw Napi::Error(env, systemError(env, failure)); }

void check(Napi::Env env, const Failure& failure) {
	if (failure.failed()) throwSystem(env, failure);
}

Bytes bytes(Napi::Value value, const char* name) {
	if (!value.IsTypedArray()) throwType(value.Env(), std::string(name) + " must be a Uint8Array");
	napi_typedarray_type type;
	size_t length = 0;
	void* data = nullptr;
	const napi_status status =
		napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr);
	if (status != napi_ok || (type != napi_uint8_array && type != napi_uint8_clamped_array)) {
		throwType(value.Env(), std::string(name) + " must be a Uint8Array");
	}
	// Library calls want a pointer even where there is nothing to read.
	static uint8_t none;
	if (data == nullptr || length == 0) return Bytes{&none, 0};
	return Bytes{static_cast<uint8_t*>(data), length};
}

Bytes identity(Napi::Value value, const char* name) {
	const Bytes view = bytes(value, name);
	if (view.size != 32) throwRange(value.Env(), std::string(name) + " must have 32 bytes");
	return view;
}

Bytes seal(Napi::Value value) {
	const Bytes view = bytes(value, "seal");
	if (view.size != seal::kSealSize) throwRange(value.Env(), "seal must have 64 bytes");
	return view;
}

record::Encoding encoding(Napi::Value codec, Napi::Value level, Napi::Value tagRoom) {
	record::Encoding result{};
	result.codec = static_cast<uint8_t>(integer(codec, "codec", codec::kLast));
	result.level = static_cast<int>(integerOr(level, "level", codec::kDefaultLevel, codec::kMaxLevel));
	if (result.level == 0) throwRange(codec.Env(), "level must be at least 1");
	result.tagRoom = !tagRoom.IsUndefined() && boolean(tagRoom, "tagRoom");
	return result;
}

std::vector<uint32_t> sealedLengths(Napi::Value value, size_t size) {
	if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
		throwType(value.Env(), "lengths must be a Uint32Array");
	}
	const auto list = value.As<Napi::Uint32Array>();
	// Copied: checked numbers must not change under a job.
	std::vector<uint32_t> lengths(list.Data(), list.Data() + list.ElementLength());
	uint64_t sum = 0;
	for (const uint32_t length : lengths) {
		if (length < record::roomFor(0)) throwRange(value.Env(), "a record has no room for its tag");
		if (length > record::roomFor(record::kMaxRawLength)) throwRange(value.Env(), "a record is too long");
		sum += length;
	}
	if (sum != size) throwRange(value.Env(), "lengths must add up to the bytes given");
	return lengths;
}

uint64_t integer(Napi::Value value, const char* name, uint64_t max) {
	if (!value.IsNumber()) throwType(value.Env(), std::string(name) + " must be a number");
	const double number = value.As<Napi::Number>().DoubleValue();
	if (!(number >= 0) || number > static_cast<double>(max) || std::floor(number) != number) {
		throwRange(value.Env(), std::string(name) + " must be an integer from 0 to " + std::to_string(max));
	}
	return static_cast<uint64_t>(number);
}

uint64_t integerOr(Napi::Value value, const char* name, uint64_t fallback, uint64_t max) {
	return value.IsUndefined() ? fallback : integer(value, name, max);
}

int descriptor(Napi::Value value) { return static_cast<int>(integer(value, "fd", INT_MAX)); }

std::string text(Napi::Value value, const char* name) {
	if (!value.IsString()) throwType(value.Env(), std::string(name) + " must be a string");
	return value.As<Napi::String>().Utf8Value();
}

std::string path(Napi::Value value, const char* name) {
	std::string result = text(value, name);
	if (result.empty() || result.find('\0') != std::string::npos) {
		throwType(value.Env(), std::string(name) + " must be a path: not empty, without NUL");
	}
	return result;
}

bool boolean(Napi::Value value, const char* name) {
	if (!value.IsBoolean()) throwType(value.Env(), std::string(name) + " must be a boolean");
	return value.As<Napi::Boolean>().Value();
}

Napi::Array array(Napi::Value value, const char* name) {
	if (!value.IsArray()) throwType(value.Env(), std::string(name) + " must be an array");
	const Napi::Array list = value.As<Napi::Array>();
	if (list.Length() > 1000000) throwRange(value.Env(), std::string(name) + " has too many elements");
	return list;
}

}  // namespace args
