/** The VMs of the verify flow: what each is, and its configuration as libvirt would have given it to the backup. */

export interface DemoVm {
	name: string;
	/** raw disk */
	image: string;
	memoryMiB: number;
	mac: string;
}

/** Of the VMs whose image is given. */
export function demoVms(web: string, appliance: string, database: string | undefined): DemoVm[] {
	const mac = (n: number) => `52:54:00:5c:a1:0${n}`;
	return [
		{ name: "web", image: web, memoryMiB: 384, mac: mac(1) },
		{ name: "appliance", image: appliance, memoryMiB: 128, mac: mac(2) },
		...(database === undefined ? [] : [{ name: "database", image: database, memoryMiB: 512, mac: mac(3) }]),
	];
}

/** A card in the network "lan", as in production; the lab has a network of its own by that name. */
export function domainXml({ name, image, memoryMiB, mac }: DemoVm): string {
	return `<domain type="kvm">
  <name>${name}</name>
  <memory unit="MiB">${memoryMiB}</memory>
  <vcpu>1</vcpu>
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <features><acpi/></features>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw"/><source file="${image}"/><target dev="vda" bus="virtio"/>
    </disk>
    <interface type="network">
      <mac address="${mac}"/><source network="lan"/><model type="virtio"/>
    </interface>
    <channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
    <video><model type="vga"/></video>
  </devices>
</domain>
`;
}
