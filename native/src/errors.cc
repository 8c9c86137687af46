// errno names and JavaScript errors. Plain N-API calls: this also runs while an environment is being ended,
// when the C++ wrapper would throw.
#include "errors.h"

#include <errno.h>
#include <string.h>

#include <cctype>

namespace {

struct Name {
	int number;
	const char* name;
};

#define NAMED(code) {code, #code}
constexpr Name names[] = {
	NAMED(EPERM),       NAMED(ENOENT),       NAMED(EINTR),       NAMED(EIO),        NAMED(ENXIO),
	NAMED(E2BIG),       NAMED(EBADF),        NAMED(EAGAIN),      NAMED(ENOMEM),     NAMED(EACCES),
	NAMED(EFAULT),      NAMED(EBUSY),        NAMED(EEXIST),      NAMED(EXDEV),      NAMED(ENODEV),
	NAMED(ENOTDIR),     NAMED(EISDIR),       NAMED(EINVAL),      NAMED(ENFILE),     NAMED(EMFILE),
	NAMED(ENOTTY),      NAMED(ETXTBSY),      NAMED(EFBIG),       NAMED(ENOSPC),     NAMED(ESPIPE),
	NAMED(EROFS),       NAMED(EMLINK),       NAMED(EPIPE),       NAMED(EDOM),       NAMED(ERANGE),
	NAMED(EDEADLK),     NAMED(ENAMETOOLONG), NAMED(ENOLCK),      NAMED(ENOSYS),     NAMED(ENOTEMPTY),
	NAMED(ELOOP),       NAMED(ENODATA),      NAMED(ETIME),       NAMED(ECOMM),      NAMED(EPROTO),
	NAMED(EBADMSG),     NAMED(EOVERFLOW),    NAMED(EUCLEAN),     NAMED(EREMOTEIO),  NAMED(EDQUOT),
	NAMED(ENOMEDIUM),   NAMED(EMEDIUMTYPE),  NAMED(ESTALE),      NAMED(EOPNOTSUPP), NAMED(ETIMEDOUT),
	NAMED(ECONNRESET),  NAMED(ECONNREFUSED), NAMED(ENOTCONN),    NAMED(EHOSTDOWN),  NAMED(EHOSTUNREACH),
	NAMED(ENETDOWN),    NAMED(ENETUNREACH),  NAMED(ECANCELED),   NAMED(EKEYEXPIRED), NAMED(EILSEQ),
};
#undef NAMED

void setText(napi_env env, napi_value object, const char* key, const std::string& text) {
	napi_value value;
	if (napi_create_string_utf8(env, text.data(), text.size(), &value) == napi_ok) {
		napi_set_named_property(env, object, key, value);
	}
}

}  // namespace

std::string errorName(int error) {
	for (const Name& entry : names) {
		if (entry.number == error) return entry.name;
	}
	std::string name = "E";
	name += std::to_string(error);
	return name;
}

int errorNumber(const std::string& name) {
	for (const Name& entry : names) {
		if (name == entry.name) return entry.number;
	}
	return 0;
}

napi_value codedError(napi_env env, const char* code, const std::string& message) {
	napi_value codeValue;
	napi_value messageValue;
	napi_value error;
	if (napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &codeValue) != napi_ok) return nullptr;
	if (napi_create_string_utf8(env, message.data(), message.size(), &messageValue) != napi_ok) return nullptr;
	if (napi_create_error(env, codeValue, messageValue, &error) != napi_ok) return nullptr;
	return error;
}

napi_value systemError(napi_env env, const Failure& failure) {
	const std::string code = errorName(failure.error);
	char space[128];
	std::string text = strerror_r(failure.error, space, sizeof(space));
	if (text.size() > 1 && std::islower(static_cast<unsigned char>(text[1]))) {
		text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
	}
	std::string message = code + ": " + text + ", " + failure.call;
	if (!failure.path.empty()) message += " '" + failure.path + "'";
	napi_value error = codedError(env, code.c_str(), message);
	if (error == nullptr) return nullptr;
	napi_value number;
	if (napi_create_int32(env, failure.error, &number) == napi_ok) {
		napi_set_named_property(env, error, "errno", number);
	}
	setText(env, error, "syscall", failure.call);
	if (!failure.path.empty()) setText(env, error, "path", failure.path);
	return error;
}
