/** Entry of a thread that decodes frames and writes them into a file that the main thread opened. */
import { writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { decodedFrameRoom, decodeFrame } from "#core/journal/frame.ts";
import type { FrameToWrite, FromWriteWorker, ToWriteWorker } from "./frame-writer.ts";
import { zeroRuns } from "./zero-runs.ts";

const port = parentPort;
if (port === null) throw new TypeError("the write worker runs as a worker thread only");
const { fd }: { readonly fd: number } = workerData;
/** Written before the next frame is decoded. */
const decoded = Buffer.allocUnsafeSlow(decodedFrameRoom);

port.on("message", (message: ToWriteWorker) => {
  port.postMessage(written(message));
});

function written(frames: ToWriteWorker): FromWriteWorker {
  try {
    const dataBytes = frames.reduce((sum, frame) => sum + writeFrame(frame), 0);
    return { kind: "written", frames: frames.length, dataBytes };
  } catch (error) {
    if (!(error instanceof Error)) return { kind: "failed", name: "Error", message: String(error) };
    return { kind: "failed", name: error.name, message: error.message };
  }
}

/** Returns the bytes written. */
function writeFrame({ info, stored, runs }: FrameToWrite): number {
  const raw = decodeFrame({ frames: [info] }, 0, stored, "stored", decoded);
  let dataBytes = 0;
  for (let at = 0; at < runs.length; at += 3) {
    const [offset = 0, length = 0, frameOffset = 0] = runs.subarray(at, at + 3);
    dataBytes += writeData(raw.subarray(frameOffset, frameOffset + length), offset);
  }
  return dataBytes;
}

/** Zeros are left as holes. */
function writeData(bytes: Uint8Array, offset: number): number {
  let data = 0;
  for (const run of zeroRuns(bytes)) {
    if (run.zero) continue;
    for (let done = run.start; done < run.end; ) done += writeSync(fd, bytes, done, run.end - done, offset + done);
    data += run.end - run.start;
  }
  return data;
}
