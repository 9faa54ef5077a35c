/** A process of its own: HTTP that reads every body to its end, throws it away and answers with a batch's reply. Argument: a file for the port. */
import { renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";

const [file = ""] = process.argv.slice(2);
const server = createServer((incoming, reply) => {
  incoming.resume();
  incoming.once("end", () => {
    reply.setHeader("content-type", "application/json");
    reply.end(JSON.stringify({ batch: 0, sha256: "", duplicate: false }));
  });
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  writeFileSync(`${file}.new`, String(address.port));
  renameSync(`${file}.new`, file);
});
