import type { Log } from "#core/ports.ts";

/**
 * Runs `work` again and again with `everyMs` between an end and the next start; stops at once or after the run under way.
 * A run that fails is logged as `<name>-failed`.
 */
export function schedule(
  name: string,
  work: () => Promise<unknown>,
  everyMs: number,
  log: Log,
): { stop(): Promise<void> } {
  const stopped = Promise.withResolvers<void>();
  let stopping = false;
  const pause = () =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, everyMs);
      void stopped.promise.then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  const running = (async () => {
    while (!stopping) {
      try {
        await work();
      } catch (error) {
        // The next round looks at everything anew; this is where the round's trouble is told.
        log.error(`${name}-failed`, { error });
      }
      await pause();
    }
  })();
  return {
    stop: () => {
      stopping = true;
      stopped.resolve();
      return running;
    },
  };
}
