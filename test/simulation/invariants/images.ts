import type { Id } from "#core/ids.ts";
import type { Position } from "#core/journal/position.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import type { JournalSource } from "#core/recovery/journal-source.ts";
import { View } from "#core/recovery/view.ts";
import type { Machine } from "../machine.ts";
import { type Instant, judge } from "../oracle/judge.ts";
import type { Protection } from "../protection.ts";
import { Violation } from "../violation.ts";
import { diskNumber } from "../volumes.ts";

/** A checkpoint as the oracle needs it, with the volumes of its session. */
export interface SeenCheckpoint {
  readonly id: string;
  readonly time: number;
  readonly position: Position;
  readonly term: number;
}

/** An image to look at, and how it is read. */
export interface Look {
  readonly protection: Protection;
  readonly vpgId: Id;
  readonly source: JournalSource;
  /** As the session's claim has them. */
  readonly volumes: readonly { readonly volume: number; readonly sizeBytes: number }[];
  readonly by: string;
}

/** Invariant 1: the checkpoint's images against what the guests of its term's machine know. */
export async function checkImages(look: Look, { id, time, position, term }: SeenCheckpoint): Promise<void> {
  const { protection, vpgId, by } = look;
  const what = `checkpoint ${id} of ${protection.name}`;
  const machine = protection.machineOf(vpgId, term);
  if (machine === undefined) throw new Violation("one writer", `${what} is of term ${term}, which nobody captured in`);
  const instant = machine.clock.instantOf(time);
  if (instant === undefined) throw new Violation("exact", `${what} has a time that no clock of its source showed`);
  const images = await imagesAt(look, position).catch((error: unknown) => {
    const why = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    throw new Violation("durable before listed", `${what} is unreadable ${by}: ${why}`);
  });
  const wrong = judge(machine.log, images, instant);
  if (wrong.length === 0) return;
  const some = wrong.slice(0, 4).join("; ");
  throw new Violation("exact", `${what}, read ${by}: ${some} (${wrong.length} sectors)`);
}

/** Invariant 6: what a move recovers has every write that was acknowledged before the VMs that it moves were stopped. */
export async function checkMoved(look: Look, from: Machine, position: Position, instant: Instant): Promise<void> {
  const wrong = judge(from.log, await imagesAt(look, position), instant);
  if (wrong.length === 0) return;
  const some = wrong.slice(0, 4).join("; ");
  throw new Violation("move loses nothing", `${look.protection.name}: ${some} (${wrong.length} sectors)`);
}

async function imagesAt(
  { protection, vpgId, source, volumes }: Look,
  upTo: Position,
): Promise<ReadonlyMap<number, Uint8Array>> {
  const reader = new JournalReader(source);
  const images = new Map<number, Uint8Array>();
  for (const { volume, sizeBytes } of volumes) {
    const image = Buffer.alloc(sizeBytes);
    await new View({ reader, volume, sizeBytes, upTo }).read(0, image);
    images.set(diskNumber(protection.nameOf(vpgId, volume)), image);
  }
  return images;
}
