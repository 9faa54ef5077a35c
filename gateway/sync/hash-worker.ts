/** Entry of a worker thread that hashes what a sync has read, so that the loop that serves guests doesn't. */
import { parentPort } from "node:worker_threads";
import { hashChunk } from "#core/sync/hash-chunk.ts";
import type { PoolAnswer, PoolTask } from "../worker-pool.ts";
import type { HashAnswer, HashTask } from "./hash-pool.ts";

const port = parentPort;
if (port === null) throw new TypeError("the hash worker runs as a worker thread only");

port.on("message", ({ id, task: { buffer, length } }: PoolTask<HashTask>) => {
  const answer: HashAnswer = { buffer, ...hashChunk(new Uint8Array(buffer, 0, length)) };
  port.postMessage({ id, answer } satisfies PoolAnswer<HashAnswer>, [buffer]);
});
