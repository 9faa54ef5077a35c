/** Entry of the worker thread that compresses, encodes and uploads one session's batches, away from the loop that serves guests. */
import { parentPort, workerData } from "node:worker_threads";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import type { FarshoreError } from "#core/errors.ts";
import { SiteClient } from "../control/site-client.ts";
import { batchesInFlightMax } from "../limits.ts";
import { ShipEngine } from "./engine.ts";
import type { FromShipWorker, ShipWorkerData, ToShipWorker } from "./messages.ts";

const port = parentPort;
if (port === null) throw new TypeError("the ship worker runs as a worker thread only");
const { site, place }: ShipWorkerData = workerData;
const client = new SiteClient(site, batchesInFlightMax);

function tell(message: FromShipWorker, transfer: ArrayBuffer[] = []): void {
  port?.postMessage(message, transfer);
}
const plain = (error: FarshoreError) => ({ name: error.name, message: error.message, details: error.details });

const engine = new ShipEngine({
  place,
  upload: async (batch, object, ageMs, signal, timeoutMs) => {
    await client.putBatch({ ...place, batch }, object, ageMs, signal, timeoutMs);
  },
  events: {
    encoded: (batch, storedBytes, buffers, hash) =>
      tell({ kind: "encoded", batch, storedBytes, buffers, hash }, [buffers.payload, buffers.columns]),
    acknowledged: (batch) => tell({ kind: "acknowledged", batch }),
    stopped: (error) => tell({ kind: "stopped", error: plain(error) }),
    troubled: (error) => tell({ kind: "troubled", error: plain(error) }),
  },
  clock: new SystemClock(),
  random: new SystemRandom(),
});

port.on("message", (message: ToShipWorker) => {
  switch (message.kind) {
    case "segment":
      engine.push(message.segment);
      return;
    case "rate":
      engine.setRate(message.bytesPerSecond);
      return;
    case "stop":
      engine.stop();
      void client.close().then(() => port.close());
      return;
  }
});
