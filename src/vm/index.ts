/** What the rooms above use of vm/. */
export { assignDisks, type StoredDisk } from "./assign.js";
export { type DomainDisk, parseDomain, parseDomainXml } from "./domain-xml.js";
export {
	type DomainNeeds,
	devicesBeyondModel,
	domainNeeds,
	type FittedDomain,
	fitDomain,
	type HostGives,
} from "./domain-xml-fit.js";
export { scsiModel } from "./domain-xml-new.js";
export { consoleOf, type DomainChanges, domainFor, domainWithDisk, renamedDomain } from "./domain-xml-write.js";
export { type FirmwareGuess, guessConfig, guessFirmware } from "./firmware.js";
export {
	type Bus,
	type Controller,
	DEFAULT_CPUS,
	DEFAULT_MEMORY_MIB,
	type Firmware,
	type Nic,
	type VmConfig,
	type VmDisk,
	vmConfigFrom,
} from "./model.js";
export { RUN_ELEMENT, RUN_URI, releasedElement, SESSION_URI } from "./own-metadata.js";
export { type BootFacts, bootFacts, type DiskReader, readBootFacts } from "./partition-table.js";
export { ConfigError } from "./text.js";
export {
	type DescriptorOptions,
	flatSize,
	MAX_DESCRIPTOR_BYTES,
	parseDescriptor,
	SECTOR,
	type VmdkDescriptor,
	type VmdkExtent,
	writeDescriptor,
} from "./vmdk-descriptor.js";
export { parseVmx } from "./vmx-read.js";
export { type PublishedDisk, type PublishedVmx, publishedVmx } from "./vmx-write.js";
export { all, attribute, content, type Element, escapeXml, first, integer, parseXml } from "./xml.js";
