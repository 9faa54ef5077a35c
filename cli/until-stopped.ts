/** Waits for SIGTERM or SIGINT, then closes; a second signal does not wait. When `lost` aborts it closes and throws the reason. */
export async function untilStopped(running: { close(): Promise<void> }, lost?: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.once(signal, () => {
        process.once(signal, () => process.exit(1));
        resolve();
      });
    }
    if (lost?.aborted === true) resolve();
    lost?.addEventListener("abort", () => resolve(), { once: true });
  });
  await running.close();
  lost?.throwIfAborted();
}
