import { Abandoned } from "./failure.ts";
import type { Json } from "./json.ts";

/**
 * Runs `count` pieces of work, at most `atOnce` at a time, in order of their start. The outputs in order; or the first
 * failure, once the others have been abandoned by the signal they were given and have come to rest.
 */
export async function runGroup(
  count: number,
  atOnce: number,
  signal: AbortSignal,
  one: (index: number, signal: AbortSignal) => Promise<Json>,
): Promise<readonly Json[]> {
  const siblings = new AbortController();
  const inner = AbortSignal.any([signal, siblings.signal]);
  const outputs: Json[] = Array.from({ length: count }, () => null);
  let next = 0;
  let failure: { readonly reason: unknown } | undefined;
  const worker = async (): Promise<void> => {
    try {
      while (next < count) {
        inner.throwIfAborted();
        const index = next++;
        outputs[index] = await one(index, inner);
      }
    } catch (reason) {
      failure ??= { reason };
      siblings.abort(new Abandoned("a sibling failed"));
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
  if (failure !== undefined) throw failure.reason;
  return outputs;
}
