// Reads of single records without a promise each: many are queued by one call, and one call back tells of all that
// have finished.
#pragma once

#include <napi.h>

#include <memory>

#include "lane.h"

namespace record_queue {

/** RecordQueue of index.ts, on this lane: `outcomes` is told of in `done`. Checks its arguments. */
Napi::Object create(Napi::Env env, std::shared_ptr<Lane> lane, Napi::Value outcomes, Napi::Value done);

}  // namespace record_queue
