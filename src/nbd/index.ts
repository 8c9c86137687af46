/** What the rooms above use of nbd/. */
export { connectNbd, NbdImage, type NbdOptions } from "./client/image.js";
export type { ExportContexts, NbdExport, NbdExports, StatusRun } from "./server/export.js";
export { type ListenTls, type NbdPeer, NbdServer, type NbdServerOptions } from "./server/server.js";
export { isNbdUri, NBD_PORT, type NbdAddress, parseNbdUri } from "./uri.js";
