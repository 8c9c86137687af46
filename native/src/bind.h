// The parts of the module that addon.cc puts together.
#pragma once

#include <napi.h>

/** Synchronous system calls: `sys`. */
Napi::Object bindSys(Napi::Env env);

/** `faults`; arms the process from SPRINGBACK_FAULTS the first time. */
Napi::Object bindFaults(Napi::Env env);

/** `createLane`. */
Napi::Function bindLanes(Napi::Env env);

/** Hashes, codecs and single records, synchronous. */
void bindPlain(Napi::Env env, Napi::Object exports);
