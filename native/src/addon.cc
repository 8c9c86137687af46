// Puts the module together; the contract is ../index.ts.
#include <napi.h>

#include "bind.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
	exports.Set("sys", bindSys(env));
	exports.Set("faults", bindFaults(env));
	exports.Set("createLane", bindLanes(env));
	bindPlain(env, exports);
	return exports;
}

}  // namespace

NODE_API_MODULE(springback, init)
