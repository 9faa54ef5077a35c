/** Waits for SIGTERM or SIGINT, then closes; a second signal does not wait. */
export async function untilStopped(running: { close(): Promise<void> }): Promise<void> {
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.once(signal, () => {
        process.once(signal, () => process.exit(1));
        resolve();
      });
    }
  });
  await running.close();
}
