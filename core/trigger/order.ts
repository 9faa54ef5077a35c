import { InvalidInput } from "#core/errors.ts";
import type { TriggerPolicy } from "./policy.ts";

/** A VPG that is to be failed over, by name. */
export interface Candidate {
  readonly name: string;
  readonly priority: number;
  readonly dependsOn: readonly string[];
}

export const candidateOf = ({ name, trigger: { priority, dependsOn } }: Ranked): Candidate => ({
  ...{ name, priority, dependsOn },
});

interface Ranked {
  readonly name: string;
  readonly trigger: Pick<TriggerPolicy, "priority" | "dependsOn">;
}

/**
 * Where a VPG stands among those failed over: free has no part in it; pending may start; held will start once something else is so;
 * running is being brought up; up can be relied on; failed can't.
 */
export type Standing = "free" | "pending" | "held" | "running" | "up" | "failed";

export interface Starts {
  /** In the order of starting. */
  readonly start: readonly string[];
  /** Why the others that are pending don't start now. */
  readonly waits: ReadonlyMap<string, string>;
  /** Those that can't start: something they depend on failed. */
  readonly blocked: ReadonlyMap<string, string>;
}

/**
 * Which pending VPGs start now: by priority, then name; each after all that it depends on are up; at most `concurrency` being
 * brought up at once. A failure stops those that depend on it, however far down, and nobody else.
 */
export function nextStarts(
  candidates: readonly Candidate[],
  standingOf: (name: string) => Standing,
  concurrency: number,
): Starts {
  const blocked = new Map<string, string>();
  const waits = new Map<string, string>();
  const start: string[] = [];
  const ordered = candidates.toSorted((a, b) => a.priority - b.priority || (a.name < b.name ? -1 : 1));
  const pending = ordered.filter(({ name }) => standingOf(name) === "pending");
  for (let grown = true; grown; ) {
    grown = false;
    for (const { name, dependsOn } of pending) {
      const broken = dependsOn.find((other) => standingOf(other) === "failed" || blocked.has(other));
      if (broken === undefined || blocked.has(name)) continue;
      blocked.set(name, `depends on ${broken}, which is not up: its failover failed or could not start`);
      grown = true;
    }
  }
  let running = ordered.filter(({ name }) => standingOf(name) === "running").length;
  for (const { name, dependsOn } of pending) {
    if (blocked.has(name)) continue;
    const first = dependsOn.find((other) => ["pending", "held", "running"].includes(standingOf(other)));
    if (first !== undefined) waits.set(name, `waits for ${first}`);
    else if (running >= concurrency) waits.set(name, `waits for one of ${concurrency} that are being brought up`);
    else {
      start.push(name);
      running += 1;
    }
  }
  return { start, waits, blocked };
}

/**
 * Throws `InvalidInput` when `added` would depend on itself by way of others, or on a VPG that isn't there.
 * `known` are the site's VPGs.
 */
export function checkDependencies(added: Candidate, known: readonly Candidate[]): void {
  const byName = new Map([...known, added].map((one) => [one.name, one]));
  const field = "trigger.dependsOn";
  const missing = added.dependsOn.find((name) => !byName.has(name));
  if (missing !== undefined) throw new InvalidInput(`${field}: no VPG "${missing}" at this site`, { field });
  const seen = new Set<string>();
  const open = [...added.dependsOn];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (name === added.name) {
      throw new InvalidInput(`${field}: ${added.name} would wait for itself, by way of what it depends on`, { field });
    }
    if (seen.has(name)) continue;
    seen.add(name);
    open.push(...(byName.get(name)?.dependsOn ?? []));
  }
}
