import { InvalidInput } from "#core/errors.ts";
import { safeIntegerMax, u32Max } from "./limits.ts";

/** A place in a VPG's whole life: session ordinals grow across terms and are never reused. Compared session first. */
export interface Position {
  /** Session ordinal, 1 to 2^32-1. */
  readonly session: number;
  /** Sequence number in the session, 1 to 2^53-1; 0 stands before its first record. */
  readonly sequence: number;
}

/** Negative, zero or positive, as `Array.sort` wants it. */
export function comparePositions(left: Position, right: Position): number {
  return left.session - right.session || left.sequence - right.sequence;
}

/** The text of a position, and so of a checkpoint's id: `12-34567`. */
export function formatPosition(position: Position): string {
  return `${position.session}-${position.sequence}`;
}

/** Reads `formatPosition`'s text. Throws `InvalidInput` for anything else, padding included. */
export function parsePosition(text: string): Position {
  const match = /^([1-9]\d{0,9})-([1-9]\d{0,15})$/.exec(text);
  const session = Number(match?.[1]);
  const sequence = Number(match?.[2]);
  if (match === null || session > u32Max || sequence > safeIntegerMax) {
    throw new InvalidInput(`not a checkpoint id: "${text.slice(0, 64)}"; expected SESSION-SEQUENCE, like 12-34567`);
  }
  return { session, sequence };
}
