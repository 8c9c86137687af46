/** How everything is called that is made for a lab: by its id alone, so that it is found again without any note. */
import { join } from "node:path";

export const ID = /^[0-9a-f]{8}$/;

/** Where ip-netns(8) keeps namespaces that have a name. */
const NAMESPACES = "/run/netns";
/** Of this machine, gone after a reboot like everything that it stands for. */
const RUN = "/run";

export const names = (id: string) => ({
	namespace: `sb-lab-${id}`,
	namespacePath: join(NAMESPACES, `sb-lab-${id}`),
	/** ours of the pair of network devices to the lab, at most 15 bytes */
	link: `sblab-${id}`,
	/** the other one, inside */
	innerLink: "tester",
	/** bridge inside, of network number n */
	bridge: (n: number) => `br${n}`,
	/** for libvirt: a bridge of the host, and its way to the lab's */
	hostBridge: (n: number) => `sbb${n}-${id}`,
	hostPort: (n: number) => `sbp${n}-${id}`,
	innerPort: (n: number) => `up${n}`,
	/** nftables table of the host, for libvirt */
	hostTable: `sb-lab-${id}`,
	/** holds the lock of the process whose lab it is, and names for DNS */
	run: join(RUN, `sb-lab-${id}`),
	lock: join(RUN, `sb-lab-${id}`, "lock"),
	hosts: join(RUN, `sb-lab-${id}`, "hosts"),
});

export type Names = ReturnType<typeof names>;

/** The id in the name of a namespace, a folder, a table or a network device of a lab. */
export const idIn = (name: string): string | undefined =>
	/^(?:sb-lab-|sblab-|sbb\d+-|sbp\d+-)([0-9a-f]{8})$/.exec(name)?.[1];

export const SCANNED = { namespaces: NAMESPACES, run: RUN };
