import type { Actor } from "./actor.ts";
import { clocks } from "./clocks.ts";
import { guests } from "./guests.ts";
import { networks } from "./networks.ts";
import { operations } from "./operations.ts";
import { processes } from "./processes.ts";
import { scrubs } from "./scrubs.ts";
import { stores } from "./stores.ts";
import { tables } from "./tables.ts";
import { vpgs } from "./vpgs.ts";

/** Everything that may happen. A new kind of operation is a file here and a line below. */
export const actors: readonly Actor[] = [
  ...guests,
  ...operations,
  ...vpgs,
  ...processes,
  ...networks,
  ...clocks,
  ...stores,
  ...tables,
  ...scrubs,
];

export const faultNames: readonly string[] = actors.filter(({ kind }) => kind === "fault").map(({ name }) => name);
