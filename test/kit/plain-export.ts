/** A process of its own: one file over NBD by our server, without replication. Arguments: FILE SOCKET. Until killed. */
import { FileDevice } from "../../gateway/disk/file-device.ts";
import { NbdServer } from "../../gateway/nbd/server.ts";
import { QuietLog } from "./quiet-log.ts";

const [file = "", socket = ""] = process.argv.slice(2);
const server = new NbdServer({ log: new QuietLog() });
server.addExport("plain", await FileDevice.open(file, { sectorBytes: 512 }));
await server.listenUnix(socket);
