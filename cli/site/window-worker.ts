/** Entry of a worker thread that decodes and hashes windows of an image, so that the loop that serves everybody doesn't. */
import { parentPort } from "node:worker_threads";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { hashWindow } from "#core/sync/hash-window.ts";
import { hashWindowChunks } from "#core/sync/limits.ts";
import type { PoolAnswer, PoolTask } from "../../gateway/worker-pool.ts";
import type { WindowAnswer, WindowTask } from "./window-threads.ts";

const port = parentPort;
if (port === null) throw new TypeError("the window worker runs as a worker thread only");

/** Windows come one after the other. */
const room = Buffer.allocUnsafeSlow(hashWindowChunks * chunkBytes);

port.on("message", ({ id, task }: PoolTask<WindowTask>) => {
  port.postMessage({ id, answer: answered(task) } satisfies PoolAnswer<WindowAnswer>);
});

function answered({ length, bytes, frames, pieces }: WindowTask): WindowAnswer {
  try {
    const read = {
      length,
      frames: frames.map(({ info, runs, start, end }) => ({
        ...{ info, runs },
        stored: new Uint8Array(bytes, start, end - start),
      })),
      pieces: Array.from({ length: pieces.length / 3 }, (_, piece) => {
        const [at = 0, size = 0, start = 0] = pieces.subarray(3 * piece, 3 * piece + 3);
        return { at, bytes: new Uint8Array(bytes, start, size) };
      }),
    };
    return { kind: "hashed", hashes: hashWindow(read, room) };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { kind: "failed", name: error.name, message: error.message };
  }
}
