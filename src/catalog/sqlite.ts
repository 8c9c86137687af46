/** The one place that names the SQLite package. Its interface is that of Node's own `node:sqlite` (docs/dependencies.md). */
import { DatabaseSync } from "@photostructure/sqlite";

export type Database = InstanceType<typeof DatabaseSync>;

export const openFile = (path: string): Database => new DatabaseSync(path);
