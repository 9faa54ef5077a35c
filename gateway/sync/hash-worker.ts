/** Entry of a worker thread that hashes what a sync has read, so that the loop that serves guests doesn't. */
import { parentPort } from "node:worker_threads";
import { sha256 } from "#core/journal/hash.ts";
import { blockHashesOf } from "#core/sync/pieces.ts";
import type { HashAnswer, HashTask } from "./hash-pool.ts";

const port = parentPort;
if (port === null) throw new TypeError("the hash worker runs as a worker thread only");

port.on("message", ({ id, buffer, length, grain }: HashTask) => {
  const bytes = new Uint8Array(buffer, 0, length);
  const hashes = Uint8Array.from(grain === "chunk" ? sha256(bytes) : blockHashesOf(bytes));
  const answer: HashAnswer = { id, buffer, hashes };
  port.postMessage(answer, [buffer]);
});
