import t from "tap";
import { urlHost } from "../../src/mountd/url-host.js";

t.test("the address that clients are told", async (t) => {
	const entry = (address: string, family: "IPv4" | "IPv6", internal: boolean) =>
		({ address, family, internal }) as unknown as NonNullable<
			ReturnType<typeof import("node:os").networkInterfaces>["lo"]
		>[0];
	const none = { lo: [entry("127.0.0.1", "IPv4", true)] };
	const some = { ...none, eth0: [entry("fd00::2", "IPv6", false), entry("192.0.2.7", "IPv4", false)] };
	t.equal(urlHost("192.0.2.9", some), "192.0.2.9");
	t.equal(urlHost("::1", some), "[::1]", "IPv6 in brackets");
	t.equal(urlHost("0.0.0.0", some), "192.0.2.7", "a wildcard is no address to mount from");
	t.equal(urlHost("::", { eth0: [entry("fd00::2", "IPv6", false)] }), "[fd00::2]");
	t.equal(urlHost("0.0.0.0", none), "127.0.0.1");
});
