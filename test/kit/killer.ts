import { readFileSync } from "node:fs";
import type { Processes } from "../../scripts/demo/processes.ts";
import { until } from "../../scripts/demo/stage.ts";
import type { SeededRandom } from "./seeded-random.ts";

/** How often one deed may be hit: it must come to its end within a test's time. */
const killsOfDeedMax = 3;

/** What may be killed in the midst of a deed. */
export interface Victim {
  /** By SIGKILL; what was hit, or undefined when it did nothing that could be cut off. */
  kill(random: SeededRandom): Promise<string | undefined>;
  /** Starts again what doesn't do so by itself; resolves when it runs. */
  revive?(): Promise<void>;
}

/** A process that says in its log when it runs: a site's or a gateway's. */
export function processVictim(
  { processes, directory }: { readonly processes: Processes; readonly directory: string },
  name: string,
  start: () => void | Promise<void>,
): Victim {
  const lives = (): number =>
    readFileSync(`${directory}/${name}.log`, "utf8").match(/^gateway runs;|^site .* serves /gm)?.length ?? 0;
  return {
    async kill() {
      await processes.stop(name, "SIGKILL");
      return name;
    },
    async revive() {
      const before = lives();
      await start();
      await until(`${name} again`, 120_000, async () => lives() > before || undefined);
    },
  };
}

/** Ends one after the other by SIGKILL while something is done, and starts it again; each runs again before the next is killed. */
export class Killer {
  readonly #victims: readonly Victim[];
  readonly #random: SeededRandom;
  #running: Promise<unknown> = Promise.resolve();
  #quiet = true;

  constructor(victims: readonly Victim[], random: SeededRandom) {
    this.#victims = victims;
    this.#random = random;
  }

  /** Does it while victims die at random; all of them run again when it resolves. Says what was killed, for whoever reads a failure. */
  async during<T>(what: string, deed: () => Promise<T>): Promise<T> {
    const kills: string[] = [];
    const began = performance.now();
    this.#quiet = false;
    this.#running = this.#kill(kills);
    try {
      return await deed();
    } finally {
      await this.stop();
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      console.info(`${what}: ${seconds} s, killed ${kills.join(", ") || "nothing"}`);
    }
  }

  /** Nothing is killed or started any more once it resolves. */
  async stop(): Promise<void> {
    this.#quiet = true;
    await this.#running;
  }

  async #kill(kills: string[]): Promise<void> {
    while (kills.length < killsOfDeedMax) {
      await this.#pause(2000);
      if (this.#quiet) return;
      const victim = this.#victims[this.#random.below(this.#victims.length)];
      const hit = await victim?.kill(this.#random);
      if (hit !== undefined) kills.push(hit);
      if (victim?.revive === undefined) continue;
      await this.#pause(1200);
      await victim.revive();
    }
  }

  #pause(msMax: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 50 + this.#random.below(msMax)));
  }
}
