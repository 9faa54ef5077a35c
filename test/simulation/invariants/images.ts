import type { Position } from "#core/journal/position.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import type { JournalSource } from "#core/recovery/journal-source.ts";
import { View } from "#core/recovery/view.ts";
import { type Instant, judge } from "../oracle/judge.ts";
import type { Protection } from "../protection.ts";
import { Violation } from "../violation.ts";
import { simVolumes } from "../volumes.ts";

/** A checkpoint as the oracle needs it. */
export interface SeenCheckpoint {
  readonly id: string;
  readonly time: number;
  readonly position: Position;
}

/** Invariant 1: the checkpoint's images as `source` shows them, against what the guests know. `by` says how it was read. */
export async function checkImages(
  protection: Protection,
  source: JournalSource,
  { id, time, position }: SeenCheckpoint,
  by: string,
): Promise<void> {
  const instant = protection.source.clock.instantOf(time);
  if (instant === undefined)
    throw new Violation("exact", `checkpoint ${id} has a time that no clock of its source showed`);
  const images = await imagesAt(source, position).catch((error: unknown) => {
    const why = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    throw new Violation("durable before listed", `checkpoint ${id} of ${protection.name} is unreadable ${by}: ${why}`);
  });
  const wrong = judge(protection.log, images, instant);
  if (wrong.length === 0) return;
  const some = wrong.slice(0, 4).join("; ");
  throw new Violation("exact", `checkpoint ${id} of ${protection.name}, read ${by}: ${some} (${wrong.length} sectors)`);
}

/** Invariant 6: what a move recovers has every write that was acknowledged before the source's VMs were stopped at `earliest`. */
export async function checkMoved(
  { log, name }: Protection,
  source: JournalSource,
  position: Position,
  instant: Instant,
): Promise<void> {
  const wrong = judge(log, await imagesAt(source, position), instant);
  if (wrong.length === 0) return;
  throw new Violation("move loses nothing", `${name}: ${wrong.slice(0, 4).join("; ")} (${wrong.length} sectors)`);
}

async function imagesAt(source: JournalSource, upTo: Position): Promise<ReadonlyMap<number, Uint8Array>> {
  const reader = new JournalReader(source);
  const images = new Map<number, Uint8Array>();
  for (const [index, { sizeBytes }] of simVolumes.entries()) {
    const image = Buffer.alloc(sizeBytes);
    await new View({ reader, volume: index + 1, sizeBytes, upTo }).read(0, image);
    images.set(index + 1, image);
  }
  return images;
}
