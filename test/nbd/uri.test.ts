import t from "tap";
import { isNbdUri, parseNbdUri } from "../../src/nbd/index.js";

t.test("URIs", async (t) => {
	t.match(parseNbdUri("nbd://host"), { host: "host", port: 10809, exportName: "" });
	t.match(parseNbdUri("nbd://host:1234/a/b%20c"), { host: "host", port: 1234, exportName: "a/b c" });
	t.match(parseNbdUri("nbd://[::1]:99/x"), { host: "::1", port: 99, exportName: "x" });
	t.match(parseNbdUri("nbd+unix:///disk?socket=/run/x%20y"), { socket: "/run/x y", exportName: "disk" });
	t.match(parseNbdUri("nbd+unix:///?socket=/s"), { socket: "/s", exportName: "" });
});

t.test("what is refused, and the message names it", async (t) => {
	for (const [uri, why] of [
		["nbds://host/x", "TLS"],
		["nbd:///x", "no host"],
		["nbd+unix:///x", "no socket"],
		["nbd+unix:///x?socket=", "no socket"],
		["nbd+unix://host/x?socket=/s", "host has no meaning"],
		["nbd://u:p@host/x", "user, password"],
		["nbd://host/%ff", "percent"],
		["nbd://host/%00", "invalid export name"],
		["nbd://host/x?tls=1", 'unknown parameter "tls"'],
		["nbd+vsock:///x", "unknown kind"],
		[`nbd+unix:///x?socket=/${"a".repeat(120)}`, "longer than 107"],
		["http://host/", "unknown kind"],
		["nonsense", "not a URI"],
	] as const)
		t.throws(
			() => parseNbdUri(uri),
			{ message: new RegExp(`^${uri.replace(/[.*+?()[\]\\]/g, "\\$&")}: .*${why}`) },
			uri,
		);
});

t.test("isNbdUri", async (t) => {
	for (const yes of ["nbd://h/x", "nbd+unix:///x", "nbds://h", "NBD://h"]) t.ok(isNbdUri(yes), yes);
	for (const no of ["/nbd", "nbd", "file.raw", "nbdx://h"]) t.notOk(isNbdUri(no), no);
});
