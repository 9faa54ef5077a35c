/** Runs `act` for each item, at most `limit` at a time; rejects with the first error once all that run have ended. */
export async function concurrently<T>(
  items: readonly T[],
  limit: number,
  act: (item: T, index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next;
      next += 1;
      const item = items[index];
      if (item !== undefined) await act(item, index);
    }
  };
  const workers = Array.from({ length: Math.min(limit, items.length) }, worker);
  const ended = await Promise.allSettled(workers);
  for (const result of ended) if (result.status === "rejected") throw result.reason;
}
