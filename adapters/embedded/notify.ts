import { spawn } from "node:child_process";
import { Transient } from "#core/errors.ts";
import type { Log, Notice, Notify } from "#core/ports.ts";
import { notifyCommandMs } from "./limits.ts";

/** Tells people by a line in the site's log, and by a program of theirs that gets the notice as JSON on its standard input. */
export class LogNotify implements Notify {
  readonly #log: Log;
  readonly #command: string | undefined;

  /** `command` is run without a shell and without arguments. */
  constructor(log: Log, command?: string) {
    this.#log = log;
    this.#command = command;
  }

  async publish(notice: Notice): Promise<void> {
    this.#log.warn("notice", { ...notice });
    if (this.#command !== undefined) await run(this.#command, notice);
  }
}

/** Throws `Transient` when the program can't be started, fails, or takes too long: the notice is told again. */
function run(command: string, notice: Notice): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [], { stdio: ["pipe", "ignore", "ignore"], timeout: notifyCommandMs });
    const fail = (why: string, cause?: unknown): void =>
      reject(new Transient(`the notify command ${command} ${why}`, { noticeId: notice.noticeId }, { cause }));
    child.once("error", (cause) => fail("could not be run", cause));
    child.once("exit", (code, signal) => (code === 0 ? resolve() : fail(`ended with ${code ?? signal}`)));
    // It need not read what it is told.
    child.stdin.once("error", () => undefined);
    child.stdin.end(`${JSON.stringify(notice)}\n`);
  });
}
