// What a failed operation looks like, from errno to a JavaScript Error.
#pragma once

#include <node_api.h>

#include <string>

struct Failure {
	int error = 0;
	/** Static string: name of the system call. */
	const char* call = "";
	std::string path;

	bool failed() const { return error != 0; }
};

/** "ENOSPC" of an errno; "E<number>" when it has no known name. */
std::string errorName(int error);

/** errno of a name; 0 when unknown. */
int errorNumber(const std::string& name);

/** A JavaScript Error with `code`, `errno`, `syscall` and, when known, `path`. Null when no value can be made. */
napi_value systemError(napi_env env, const Failure& failure);

/** A JavaScript Error with only a `code`. */
napi_value codedError(napi_env env, const char* code, const std::string& message);
