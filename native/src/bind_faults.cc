// `faults` of index.ts: rules in, trace out.
#include <stdlib.h>

#include <atomic>
#include <utility>
#include <vector>

#include "args.h"
#include "bind.h"
#include "faults.h"

namespace {

faults::Rule toRule(Napi::Value value) {
	const Napi::Env env = value.Env();
	if (!value.IsObject()) args::throwType(env, "a fault rule must be an object");
	const Napi::Object object = value.As<Napi::Object>();
	auto get = [&](const char* key) { return object.Get(key); };
	faults::Rule rule;
	rule.op = args::text(get("op"), "op");
	if (!get("path").IsUndefined()) rule.path = args::text(get("path"), "path");
	rule.skip = args::integerOr(get("skip"), "skip", 0);
	const Napi::Value count = get("count");
	const bool forEver = count.IsNumber() && count.As<Napi::Number>().DoubleValue() == -1;
	rule.count = forEver ? -1 : static_cast<int64_t>(args::integerOr(count, "count", 1));
	if (!get("error").IsUndefined()) {
		const std::string name = args::text(get("error"), "error");
		rule.error = errorNumber(name);
		if (rule.error == 0) args::throwRange(env, "unknown error name: " + name);
	}
	if (!get("short").IsUndefined()) rule.keep = static_cast<size_t>(args::integer(get("short"), "short"));
	rule.delayMs = args::integerOr(get("delayMs"), "delayMs", 0, uint64_t{1} << 31);
	if (!get("kill").IsUndefined()) rule.kill = args::boolean(get("kill"), "kill");
	if (!get("late").IsUndefined()) rule.late = args::boolean(get("late"), "late");
	if (rule.late && rule.error == 0) args::throwType(env, "a late fault needs an error");
	if (rule.error == 0 && !rule.keep && rule.delayMs == 0 && !rule.kill) {
		args::throwType(env, "a fault rule needs error, short, delayMs or kill");
	}
	return rule;
}

void setFrom(Napi::Value value) {
	const Napi::Array list = args::array(value, "rules");
	std::vector<faults::Rule> rules;
	for (uint32_t i = 0; i < list.Length(); i++) rules.push_back(toRule(list.Get(i)));
	faults::setRules(std::move(rules));
}

Napi::Object toObject(Napi::Env env, const faults::Entry& entry) {
	Napi::Object object = Napi::Object::New(env);
	object.Set("op", entry.op);
	object.Set("path", entry.path);
	if (!entry.to.empty()) object.Set("to", entry.to);
	if (entry.position) object.Set("position", static_cast<double>(*entry.position));
	if (entry.length) object.Set("length", static_cast<double>(*entry.length));
	if (entry.data) object.Set("data", Napi::Buffer<uint8_t>::Copy(env, entry.data->data(), entry.data->size()));
	if (entry.flags) object.Set("flags", *entry.flags);
	return object;
}

Napi::Value stopTrace(const Napi::CallbackInfo& info) {
	const auto entries = faults::stopTrace();
	Napi::Array list = Napi::Array::New(info.Env(), entries.size());
	for (size_t i = 0; i < entries.size(); i++) {
		const Napi::HandleScope scope(info.Env());
		list.Set(static_cast<uint32_t>(i), toObject(info.Env(), *entries[i]));
	}
	return list;
}

void mark(const Napi::CallbackInfo& info) {
	faults::Entry entry;
	entry.op = "mark";
	entry.path = args::text(info[0], "label");
	faults::record(std::move(entry));
}

void armFromEnvironment(Napi::Env env) {
	// Once: a worker thread that loads the addon later must not arm the process again.
	static std::atomic<bool> done{false};
	const char* text = getenv("SPRINGBACK_FAULTS");
	if (done.exchange(true) || text == nullptr || *text == '\0') return;
	const Napi::Object json = env.Global().Get("JSON").As<Napi::Object>();
	try {
		setFrom(json.Get("parse").As<Napi::Function>().Call(json, {Napi::String::New(env, text)}));
	} catch (const Napi::Error& error) {
		throw Napi::Error::New(env, "SPRINGBACK_FAULTS is not a JSON array of fault rules: " + error.Message());
	}
}

}  // namespace

Napi::Object bindFaults(Napi::Env env) {
	Napi::Object object = Napi::Object::New(env);
	auto add = [&](const char* name, auto callback) { object.Set(name, Napi::Function::New(env, callback, name)); };
	add("set", [](const Napi::CallbackInfo& info) { setFrom(info[0]); });
	add("clear", [](const Napi::CallbackInfo&) { faults::setRules({}); });
	add("startTrace", [](const Napi::CallbackInfo&) { faults::startTrace(); });
	add("stopTrace", stopTrace);
	add("mark", mark);
	armFromEnvironment(env);
	return object;
}
