/** The serial console's log, which QEMU writes anew at each start. */
import { join } from "node:path";
import { endOfFile } from "../end-of-file.js";
import type { Vm } from "./vm.js";

export const consoleText = (vm: Vm): string => endOfFile(join(vm.places.folder, "console.log"));
