/** Entry of a worker thread that decodes and hashes windows of an image, so that the loop that serves everybody doesn't. */
import { parentPort } from "node:worker_threads";
import { hashWindow } from "#core/sync/hash-window.ts";
import type { PoolAnswer, PoolTask } from "../../gateway/worker-pool.ts";
import type { WindowAnswer, WindowTask } from "./window-threads.ts";

const port = parentPort;
if (port === null) throw new TypeError("the window worker runs as a worker thread only");

port.on("message", ({ id, task }: PoolTask<WindowTask>) => {
  const { window, stored } = task;
  const answer: WindowAnswer = { window, stored, ...outcome(task) };
  port.postMessage({ id, answer } satisfies PoolAnswer<WindowAnswer>, [window, stored]);
});

function outcome({ window, length, stored, frames }: WindowTask): Pick<WindowAnswer, "hashes" | "failure"> {
  try {
    const apart = frames.map(({ info, runs, start, end }) => {
      return { info, runs, stored: new Uint8Array(stored, start, end - start) };
    });
    return { hashes: hashWindow(new Uint8Array(window, 0, length), apart) };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { failure: { name: error.name, message: error.message } };
  }
}
