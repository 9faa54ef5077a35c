import type { Clock, Random } from "#core/ports.ts";
import type { SiteClient } from "../../gateway/control/site-client.ts";
import { ShipEngine } from "../../gateway/ship/engine.ts";
import type { SessionPlace } from "../../gateway/ship/press.ts";
import type { ShipperEvents } from "../../gateway/ship/shipper.ts";
import type { SegmentShipper } from "../../gateway/source/source-host.ts";
import type { SealedSegment } from "../../gateway/tap/segment.ts";

/** The ship worker's engine without its thread: what passes between the two takes a turn of the event loop each way. */
export class SimShipper implements SegmentShipper {
  readonly #engine: ShipEngine;
  #stopped = false;

  constructor(
    client: Pick<SiteClient, "putBatch">,
    place: SessionPlace,
    events: ShipperEvents,
    machine: { readonly clock: Clock; readonly random: Random },
  ) {
    const told =
      <Args extends readonly unknown[]>(tell: (...args: Args) => void) =>
      (...args: Args): void =>
        void setImmediate(() => {
          if (!this.#stopped) tell(...args);
        });
    this.#engine = new ShipEngine({
      place,
      upload: async (batch, object, ageMs, signal, timeoutMs) => {
        await client.putBatch({ ...place, batch }, object, ageMs, signal, timeoutMs);
      },
      events: {
        encoded: told((batch, storedBytes, buffers, hash) => events.encoded(batch, storedBytes, buffers, hash)),
        acknowledged: told((batch) => events.acknowledged(batch)),
        stopped: told((error) => events.stopped(error)),
        troubled: told((error) => events.troubled(error)),
      },
      ...machine,
    });
  }

  push(segment: SealedSegment): void {
    setImmediate(() => {
      if (!this.#stopped) this.#engine.push(segment);
    });
  }

  setRate(bytesPerSecond: number | undefined): void {
    this.#engine.setRate(bytesPerSecond);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#engine.stop();
  }
}
