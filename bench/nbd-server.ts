/** A process of its own: one file over NBD by our server, without replication. Arguments: FILE SOCKET. Until killed. */
import { createLog } from "#adapters/embedded/log.ts";
import { FileDevice } from "../gateway/disk/file-device.ts";
import { NbdServer } from "../gateway/nbd/server.ts";

const [file = "", socket = ""] = process.argv.slice(2);
const server = new NbdServer({ log: createLog({ level: "warn" }) });
server.addExport("disk", FileDevice.open(file));
await server.listenUnix(socket);
