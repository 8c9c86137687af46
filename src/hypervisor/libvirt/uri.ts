/** URIs of libvirt hosts (https://libvirt.org/uri.html); those of QEMU only. */
import { HypervisorError } from "../errors.js";

export interface HostUri {
	/** for virsh */
	text: string;
	/** libvirtd runs on this machine, so its files are ours to see */
	local: boolean;
	/** a daemon of one user */
	session: boolean;
}

const URI = /^qemu(?:\+(unix|ssh|libssh2?|tls|tcp))?:\/\/([^/?#\s]*)\/(system|session)(\?[^#\s]*)?$/;

/** Throws INVALID. */
export const hostUri = (uri: string): HostUri => {
	const match = URI.exec(uri);
	if (match === null)
		throw new HypervisorError(
			"INVALID",
			`${uri}: a host of type libvirt is qemu:///system, qemu+unix:///system?socket=FILE or qemu+ssh://USER@HOST/system`,
		);
	const [, transport, authority, daemon, query = ""] = match;
	// ssh would ask a terminal that nobody looks at.
	const quiet = transport === "ssh" && !/[?&]no_tty=/.test(query);
	return {
		text: quiet ? `${uri}${query === "" ? "?" : "&"}no_tty=1` : uri,
		local: authority === "" && (transport === undefined || transport === "unix"),
		session: daemon === "session",
	};
};
