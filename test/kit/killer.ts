import { readFileSync } from "node:fs";
import { until } from "../../scripts/demo/stage.ts";
import type { SeededRandom } from "../kit/seeded-random.ts";
import type { WholeStage } from "../kit/whole-stage.ts";

/** How often one deed may be hit: it must come to its end within a test's time. */
const killsOfDeedMax = 3;
const names = ["site-berlin", "site-paris", "gateway-paris", "gateway-berlin"] as const;

/** Ends one process after the other by SIGKILL while something is done, and starts it again; each runs again before the next is killed. */
export class Killer {
  readonly #stage: WholeStage;
  readonly #random: SeededRandom;
  #running: Promise<unknown> = Promise.resolve();
  #quiet = true;

  constructor(stage: WholeStage, random: SeededRandom) {
    this.#stage = stage;
    this.#random = random;
  }

  /** Does it while processes die at random; all of them run again when it resolves. Says what was killed, for whoever reads a failure. */
  async during<T>(what: string, deed: () => Promise<T>): Promise<T> {
    const kills: string[] = [];
    this.#quiet = false;
    this.#running = this.#kill(kills);
    try {
      return await deed();
    } finally {
      await this.stop();
      console.info(`${what}: killed ${kills.join(", ") || "nothing"}`);
    }
  }

  /** Nothing is killed or started any more once it resolves. */
  async stop(): Promise<void> {
    this.#quiet = true;
    await this.#running;
  }

  async #kill(kills: string[]): Promise<void> {
    const { processes, restart } = this.#stage;
    const starts = {
      ...{ "site-berlin": restart.site, "site-paris": restart.home },
      ...{ "gateway-paris": restart.source, "gateway-berlin": restart.recovery },
    };
    while (kills.length < killsOfDeedMax) {
      await this.#pause(2000);
      if (this.#quiet) return;
      const name = names[this.#random.below(names.length)] ?? "site-berlin";
      await processes.stop(name, "SIGKILL");
      kills.push(name);
      await this.#pause(1200);
      const lives = this.#livesOf(name);
      starts[name]();
      await until(`${name} again`, 60_000, async () => this.#livesOf(name) > lives || undefined);
    }
  }

  /** How often it has said that it runs. */
  #livesOf(name: string): number {
    const log = readFileSync(`${this.#stage.directory}/${name}.log`, "utf8");
    return log.match(/^gateway runs;|^site .* serves /gm)?.length ?? 0;
  }

  #pause(msMax: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 50 + this.#random.below(msMax)));
  }
}
