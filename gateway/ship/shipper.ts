import { Worker } from "node:worker_threads";
import { errorFromWire, type FarshoreError } from "#core/errors.ts";
import type { SiteAddress } from "../control/site-client.ts";
import type { SealedSegment } from "../tap/segment.ts";
import type { SegmentSink } from "../tap/session-types.ts";
import { workerUrl } from "../worker-url.ts";
import type { ShipEvents } from "./engine.ts";
import type { FromShipWorker, ShipWorkerData, ToShipWorker } from "./messages.ts";
import type { SessionPlace } from "./press.ts";

export interface ShipperEvents extends ShipEvents {
  /** The worker thread died: what it held is lost, and only a new session with a sync makes the journal whole. */
  crashed(error: Error): void;
}

/** The main thread's end of a session's ship worker. */
export class Shipper implements SegmentSink {
  readonly #worker: Worker;
  readonly #events: ShipperEvents;
  readonly #exited: Promise<void>;
  #stopping = false;

  constructor(site: SiteAddress, place: SessionPlace, events: ShipperEvents) {
    this.#events = events;
    const data: ShipWorkerData = { site, place };
    this.#worker = new Worker(workerUrl("ship/ship-worker"), { workerData: data, name: "ship" });
    this.#worker.on("message", (message: FromShipWorker) => this.#heard(message));
    this.#worker.on("messageerror", (error) => events.crashed(error));
    this.#worker.on("error", (error) => events.crashed(error instanceof Error ? error : new Error(String(error))));
    this.#exited = new Promise((resolve) => {
      this.#worker.on("exit", (status) => {
        if (!this.#stopping && status !== 0) events.crashed(new Error(`the ship worker ended with status ${status}`));
        resolve();
      });
    });
  }

  push(segment: SealedSegment): void {
    if (this.#stopping) return;
    const message: ToShipWorker = { kind: "segment", segment };
    this.#worker.postMessage(message, [segment.buffers.payload, segment.buffers.columns]);
  }

  /** No faster than this from now on; undefined for no limit. */
  setRate(bytesPerSecond: number | undefined): void {
    if (this.#stopping) return;
    const message: ToShipWorker = { kind: "rate", bytesPerSecond };
    this.#worker.postMessage(message);
  }

  /** Ends the worker; nothing is told any more, and what isn't acknowledged is given up. */
  async stop(): Promise<void> {
    if (!this.#stopping) {
      this.#stopping = true;
      const message: ToShipWorker = { kind: "stop" };
      this.#worker.postMessage(message);
    }
    await this.#exited;
  }

  #heard(message: FromShipWorker): void {
    if (this.#stopping) return;
    switch (message.kind) {
      case "encoded":
        this.#events.encoded(message.batch, message.storedBytes, message.buffers, message.hash);
        return;
      case "acknowledged":
        this.#events.acknowledged(message.batch);
        return;
      case "stopped":
        this.#events.stopped(named(message.error));
        return;
      case "troubled":
        this.#events.troubled(named(message.error));
        return;
    }
  }
}

function named(error: Extract<FromShipWorker, { readonly kind: "stopped" }>["error"]): FarshoreError {
  return errorFromWire(error.name, error.message, error.details);
}
