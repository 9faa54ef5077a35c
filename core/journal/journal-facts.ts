import type { MarkerFact, SyncFact } from "#core/protection/checkpoint.ts";
import type { BatchEvent, FinalEvent, ResizeEvent } from "./batch.ts";

export type InSession<E> = E & { readonly session: number };

/** What the events of a journal come to, each kind in order of position when batches are added in that order. */
export class JournalFacts {
  /** Markers and barriers. */
  readonly markers: MarkerFact[] = [];
  readonly syncFacts: SyncFact[] = [];
  readonly resizes: InSession<ResizeEvent>[] = [];
  readonly finals: InSession<FinalEvent>[] = [];

  add(session: number, events: readonly BatchEvent[]): void {
    for (const event of events) this.#addEvent(session, event);
  }

  #addEvent(session: number, event: BatchEvent): void {
    const { sequence } = event;
    switch (event.kind) {
      case "marker":
        this.markers.push({ session, sequence, time: event.time, tag: event.tag });
        break;
      case "barrier":
        this.markers.push({ session, sequence, time: event.time, tag: event.tag, vector: event.vector });
        break;
      case "hold":
        break;
      case "sync-begin":
      case "sync-end":
        this.syncFacts.push({ session, sequence, kind: event.kind, volume: event.volume });
        break;
      case "close":
        this.syncFacts.push({ session, sequence, kind: "close", volume: null });
        break;
      case "resize":
        this.resizes.push({ ...event, session });
        break;
      case "final":
        this.finals.push({ ...event, session });
        this.syncFacts.push({ session, sequence, kind: "close", volume: null });
        break;
    }
  }
}
