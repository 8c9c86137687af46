/** The user as whom libvirt runs QEMU: who has to be able to open the disks. */
import { all, attribute, content, first, parseXml } from "../../vm/index.js";
import type { Host } from "./domain.js";

/** uid; null where it is whoever asks (a session's libvirt), or where libvirt does not tell */
export const diskUser = async ({ virsh, uri }: Host): Promise<number | null> => {
	if (uri.session) return null;
	const host = first(parseXml(await virsh.bytes(["capabilities"]), "capabilities", "capabilities"), "host");
	const dac = all(host, "secmodel").find((model) => content(first(model, "model")) === "dac");
	const label = all(dac, "baselabel").find((one) => attribute(one, "type") === "qemu") ?? first(dac, "baselabel");
	const uid = /^\+?(\d+):/.exec(content(label) ?? "")?.[1];
	return uid === undefined ? null : Number(uid);
};
