import { InvalidInput } from "#core/errors.ts";
import type { CheckpointSelector } from "#core/protection/operation.ts";

/** `latest`, `tag:TEXT`, a checkpoint id such as `12-3456`, or a time such as `2026-11-21T20:47:00Z`. Throws `InvalidInput`. */
export function parseSelector(text: string): CheckpointSelector {
  if (text === "latest") return { kind: "latest" };
  if (text.startsWith("tag:")) return { kind: "tag", tag: text.slice(4) };
  if (/^\d+-\d+$/.test(text)) return { kind: "id", id: text };
  if (isTime(text)) return { kind: "time", time: parseTime(text) };
  throw new InvalidInput(
    `"${text}" is no checkpoint: write latest, tag:TEXT, an id such as 12-3456, or a time with its zone such as 2026-11-21T20:47:00Z`,
  );
}

const isTime = (text: string): boolean =>
  /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/.test(text) &&
  !Number.isNaN(Date.parse(text));

/** An ISO 8601 time with a zone, in ms since the epoch: a time without one would mean another instant on another machine. */
export function parseTime(text: string): number {
  if (isTime(text)) return Date.parse(text);
  throw new InvalidInput(`"${text}" is no time: write it with its zone, such as 2026-11-21T20:47:00Z`);
}
